"""The arrays of a data set: written as plain files, and checked when they are read."""

from mnist_cnn import files
from mnist_cnn.datasets import arrays
from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.datasets.description import Form, Metadata
from mnist_cnn.errors import UserError

import numpy as np
import pytest

FORM = Form(channels=3, height=2, width=4, classes=2)
METADATA = Metadata(
    name="dots", title="Dots", noun="dot", channels=3, height=2, width=4, classes=("no", "yes")
)


def make(count=6):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3, 2, 4), dtype=np.uint8)
    return Arrays(pixels, np.arange(count) % 2)


@pytest.fixture
def folder(tmp_path):
    """A data set with a training set only."""
    arrays.write(make(), tmp_path / "train")
    files.write_json(tmp_path / "dataset.json", METADATA.model_dump(mode="json"))
    return tmp_path


def test_what_is_written_is_read_and_stays_on_disk(folder):
    written, found = make(), arrays.read("train", folder)
    assert isinstance(found.images, np.memmap)
    assert (found.images == written.images).all()
    assert (found.labels == written.labels).all()
    assert found.digest() == written.digest()
    assert arrays.read_metadata(folder) == METADATA
    assert METADATA.form == found.form == FORM


def test_any_programme_can_read_the_files(folder):
    assert np.load(folder / "train/images.npy").shape == (6, 3, 2, 4)
    assert np.load(folder / "train/labels.npy").dtype == np.int64


@pytest.mark.parametrize("change", [lambda a: a.images, lambda a: a.labels])
def test_the_digest_changes_with_every_value(change):
    before, changed = make(), make()
    change(changed).ravel()[-1] += 1
    assert changed.digest() != before.digest()


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        ((2, 3, 2, 5), [0, 1], r"images uint8 \(2, 3, 2, 5\), expected uint8 \(3, 2, 4\)"),
        ((2, 1, 2, 4), [0, 1], r"images uint8 \(2, 1, 2, 4\)"),
        ((2, 3, 2, 4), [0, 1, 1], r"2 images, but labels int64 \(3,\)"),
        ((2, 3, 2, 4), [0, 0], "no image of class 1"),
        ((3, 3, 2, 4), [0, 1, 2], "unknown label 2"),
    ],
)
def test_arrays_of_another_form_are_rejected_with_the_reason(images, labels, reason):
    with pytest.raises(UserError, match=f"^test: {reason}"):
        arrays.check(Arrays(np.zeros(images, np.uint8), np.array(labels)), "test", FORM)


def test_a_missing_file_is_named_with_the_command_that_writes_it(folder):
    with pytest.raises(UserError, match=r"test/images.npy: missing; `dvc repro download`"):
        arrays.read("test", folder)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00"])
def test_a_damaged_file_is_named(folder, content):
    (folder / "train/images.npy").write_bytes(content)
    with pytest.raises(UserError, match=r"train/images.npy: damaged"):
        arrays.read("train", folder)


def test_an_array_of_objects_is_not_unpickled(folder):
    np.save(folder / "train/labels.npy", np.array([{}, {}], object), allow_pickle=True)
    with pytest.raises(UserError, match=r"train/labels.npy: damaged"):
        arrays.read("train", folder)
