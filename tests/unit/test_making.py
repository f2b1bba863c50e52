"""Arrays are made from folders of images, archives and other clones, and checked."""

from functools import partial

from mnist_cnn.datasets import arrays, image_files, sources
from mnist_cnn.datasets.description import Description, resolve
from mnist_cnn.datasets.params import Download
from mnist_cnn.errors import UserError

import numpy as np
import pytest
import torchvision
from PIL import Image

DOWNLOAD = Download(dataset="dots", sources=("folder",), timeout=1)
BLACK = np.zeros((3, 12, 10), np.uint8)
COUNTS = {"blue": 9, "green": 20, "red": 5}  # images of each class


def colour(label, number, shape=(12, 10)):
    """An image `uint8 (height, width, 3)` in a shade of the colour of its class."""
    image = np.zeros((*shape, 3), np.uint8)
    image[..., 2 - label] = 120 + number
    return image


@pytest.fixture
def folder(tmp_path):
    """A folder of PNG files by class, of different sizes."""
    for label, (name, count) in enumerate(COUNTS.items()):
        (tmp_path / "dots" / name).mkdir(parents=True)
        for number in range(count):
            image = Image.fromarray(colour(label, number, (12 + number, 10)))
            image.save(tmp_path / "dots" / name / f"{number:02}.png")
    return tmp_path / "dots"


def describe(**changes):
    return Description.model_validate(
        {
            "name": "dots",
            "title": "Dots",
            "noun": "dot",
            "subject": "dot",
            "channels": 3,
            "height": 12,
            "width": 10,
            "classes": [*COUNTS],
            "model": "dots-cnn",
        }
        | changes
    )


def make(description, tmp_path):
    """Make the arrays, and return both splits and what was printed."""
    lines = []
    sources.make(description, DOWNLOAD, tmp_path / "data/dots", lines.append)
    return [arrays.read(split, tmp_path / "data/dots") for split in arrays.SPLITS], lines


def from_folder(folder, **changes):
    source = {"kind": "folder", "path": str(folder), "test_fraction": 0.25}
    return describe(source=source | changes)


def test_a_folder_becomes_arrays_with_a_part_of_each_class_as_the_test_set(folder, tmp_path):
    (train, test), lines = make(from_folder(folder), tmp_path)
    assert any(line.endswith(train.digest()) for line in lines), "not verified"
    assert train.images.shape == (26, 3, 12, 10)
    assert np.bincount(test.labels).tolist() == [2, 5, 1]
    assert np.bincount(train.labels).tolist() == [7, 15, 4]
    for images, labels in (train, test):
        assert (images.reshape(len(labels), 3, -1).max(2).argmax(1) == 2 - labels).all()
    assert "train: 26 images, 4 to 15 a class" in lines


def test_the_same_folder_gives_the_same_arrays(folder, tmp_path):
    first, second = (make(from_folder(folder), tmp_path / name)[0] for name in "ab")
    assert [each.digest() for each in first] == [each.digest() for each in second]


def test_another_image_moves_at_most_one_to_the_other_set(folder, tmp_path):
    (_, before), _ = make(from_folder(folder), tmp_path / "a")
    Image.fromarray(colour(1, 77)).save(folder / "green/000.png")
    (train, _), _ = make(from_folder(folder), tmp_path / "b")
    tested, trained = ({image.tobytes() for image in each.images} for each in (before, train))
    assert len(tested & trained) <= 1


def test_a_folder_with_its_own_test_set_keeps_it(folder, tmp_path):
    for split in ("train", "test"):
        (folder / split).mkdir()
    for name in COUNTS:
        (folder / name).rename(folder / "train" / name)
        (folder / "test" / name).mkdir()
        (folder / "train" / name / "00.png").rename(folder / "test" / name / "00.png")
    (train, test), _ = make(from_folder(folder, test_fraction=None), tmp_path)
    assert (len(train.labels), test.labels.tolist()) == (31, [0, 1, 2])


@pytest.mark.usefixtures("folder")
def test_a_path_may_have_a_variable_and_starts_at_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("DOTS", "dots")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    (train, _), _ = make(from_folder("$DOTS"), tmp_path)
    assert len(train.labels) == 26


def test_the_home_of_the_user_is_not_searched_in_the_project(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", "/somewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/pictures") == tmp_path / "pictures"


def test_grey_images_have_one_channel(folder, tmp_path):
    source = {"kind": "folder", "path": str(folder), "test_fraction": 0.25}
    (train, _), _ = make(describe(source=source, channels=1), tmp_path)
    assert train.images.shape == (26, 1, 12, 10)


@pytest.mark.parametrize(
    ("break_", "reason"),
    [
        (lambda f: (f / "red/00.png").write_bytes(b"text"), "red/00.png: not an image"),
        (lambda f: (f / "purple").mkdir(), "folders that are no classes: purple"),
        (lambda f: (f / "red").rename(f.parent / "red"), "has no folder 'red'"),
        (lambda f: [p.unlink() for p in (f / "red").iterdir()], "red: no images"),
        (lambda f: f.rename(f.parent / "moved"), "dots: no such folder"),
        (lambda f: (f / "val/red").mkdir(parents=True), "val is not a class"),
        (
            lambda f: [p.unlink() for p in (f / "red").iterdir() if p.stem != "00"],
            "class 2 .* has one example",
        ),
    ],
)
def test_a_folder_with_a_fault_is_rejected_and_nothing_is_written(folder, tmp_path, break_, reason):
    break_(folder)
    with pytest.raises(UserError, match=reason):
        make(from_folder(folder), tmp_path)
    assert not (tmp_path / "data").exists()


def test_a_folder_without_a_test_set_needs_a_fraction(folder, tmp_path):
    with pytest.raises(UserError, match="there is no test set; `test_fraction`"):
        make(from_folder(folder, test_fraction=None), tmp_path)


def test_changed_images_are_noticed(folder, tmp_path):
    (train, test), _ = make(from_folder(folder), tmp_path)
    digests = {"train": train.digest(), "test": test.digest()}
    described = from_folder(folder).model_copy(
        update={"digests": describe(source={"kind": "npz", "path": ""}, digests=digests).digests}
    )
    make(described, tmp_path)
    Image.fromarray(colour(0, 99)).save(folder / "blue/00.png")
    with pytest.raises(UserError, match=r"the examples are not those of datasets/dots.yaml"):
        make(described, tmp_path)


@pytest.fixture
def archive(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (30, 12, 10), dtype=np.uint8)
    np.savez(tmp_path / "dots.npz", images=images, labels=np.arange(30, dtype=np.uint8) % 3)
    return tmp_path / "dots.npz"


def from_archive(path, **changes):
    source = {"kind": "npz", "path": str(path), "test_fraction": 0.2}
    return describe(source=source | changes, channels=1)


def test_an_archive_becomes_arrays(archive, tmp_path):
    (train, test), _ = make(from_archive(archive), tmp_path)
    assert train.images.shape == (24, 1, 12, 10)
    assert np.bincount(test.labels).tolist() == [2, 2, 2]


def test_an_archive_may_have_its_own_test_set(tmp_path):
    images = np.zeros((6, 12, 10), np.uint8)
    labels = np.arange(6) % 3
    names = ("train_images", "train_labels", "test_images", "test_labels")
    splits = (images, labels, images[:3], labels[:3])
    np.savez(tmp_path / "own.npz", **dict(zip(names, splits, strict=True)))
    (train, test), _ = make(from_archive(tmp_path / "own.npz", test_fraction=None), tmp_path)
    assert (len(train.labels), len(test.labels)) == (6, 3)


def test_an_archive_may_have_its_channels_last(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (9, 12, 10, 3), dtype=np.uint8)
    np.savez(tmp_path / "last.npz", images=images, labels=np.arange(9) % 3)
    source = {"kind": "npz", "path": str(tmp_path / "last.npz"), "test_fraction": 0.3}
    (train, _), _ = make(describe(source=source), tmp_path)
    assert train.images.shape == (6, 3, 12, 10)


def test_an_array_in_a_file_of_another_kind_is_rejected(tmp_path):
    with (tmp_path / "wrong.npz").open("wb") as file:
        np.save(file, BLACK)
    with pytest.raises(UserError, match="not an archive of plain arrays"):
        make(from_archive(tmp_path / "wrong.npz"), tmp_path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "missing"),
        (b"text", "not an archive of plain arrays"),
        ({"pictures": [1]}, "has no array train_images"),
        ({"images": [{}], "labels": [0]}, "not an archive of plain arrays"),
        ({"images": BLACK, "labels": [0, 1]}, "3 images, but labels"),
        ({"images": BLACK, "labels": [0.9, 1.0, 2.0]}, "labels are float64, expected whole num"),
        ({"images": BLACK.astype(float), "labels": [0, 1, 2]}, "images float64"),
    ],
)
def test_a_wrong_archive_is_rejected(tmp_path, content, reason):
    path = tmp_path / "wrong.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content:
        np.savez(path, **{name: np.array(value) for name, value in content.items()})
    with pytest.raises(UserError, match=f"wrong.npz: .*{reason}"):
        make(from_archive(path), tmp_path)


def test_the_arrays_of_another_clone_are_taken_if_they_are_the_described_ones(
    archive, tmp_path, monkeypatch
):
    (train, test), _ = make(from_archive(archive), tmp_path)
    digests = {"train": train.digest(), "test": test.digest()}
    archive.unlink()
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    described = from_archive(archive).model_dump() | {"digests": digests}
    _, lines = make(Description.model_validate(described), tmp_path / "clone")
    assert lines[0] == f"dots: from {tmp_path}/data/dots"

    described["digests"] = None
    with pytest.raises(UserError, match=r"dots.npz: missing"):
        make(Description.model_validate(described), tmp_path / "other")
    described["digests"] = digests | {"test": "0" * 32}
    with pytest.raises(UserError, match=r"dots.npz: missing"):
        make(Description.model_validate(described), tmp_path / "other")


def test_images_are_resized_with_anti_aliasing():
    stripes = np.tile(np.array([0, 255], np.uint8), (1, 8, 8))
    assert set(image_files.resize(stripes, 4, 4)[0, :, 1:3].ravel()) <= {127, 128}
    assert image_files.resize(stripes, 8, 16) is stripes


def test_torchvision_without_a_connection_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    source = {"kind": "torchvision", "name": "CIFAR10", "train": {"train": True}, "test": {}}
    with pytest.raises(UserError, match=r"^torchvision's CIFAR10: "):
        make(describe(source=source), tmp_path)
    with pytest.raises(UserError, match="torchvision has no data set 'Cats'"):
        make(describe(source=source | {"name": "Cats"}), tmp_path)


class Pictures:
    """A data set as torchvision has them."""

    def __init__(self, root, *, train, download, first_label=0):
        assert download
        assert root.is_dir()
        self.count = 6 if train else 3
        self.first = first_label

    def __iter__(self):
        for number in range(self.count):
            yield Image.fromarray(colour(number % 3, number, (24, 20))), number % 3 + self.first


def test_a_data_set_of_torchvision_is_resized_to_its_description(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "CIFAR10", Pictures)
    splits = {"train": {"train": True}, "test": {"train": False}}
    source = {"kind": "torchvision", "name": "CIFAR10"} | splits
    (train, test), _ = make(describe(source=source), tmp_path)
    assert train.images.shape == (6, 3, 12, 10)
    assert (train.images.reshape(6, 3, -1).max(2).argmax(1) == 2 - train.labels).all()
    assert test.labels.tolist() == [0, 1, 2]


def test_labels_of_torchvision_that_begin_at_1_are_counted_from_0(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "EMNIST", partial(Pictures, first_label=1))
    splits = {"train": {"train": True}, "test": {"train": False}}
    source = {"kind": "torchvision", "name": "EMNIST"} | splits
    (train, test), _ = make(describe(source=source | {"first_label": 1}), tmp_path)
    assert (train.labels.tolist(), test.labels.tolist()) == ([0, 1, 2, 0, 1, 2], [0, 1, 2])
    with pytest.raises(UserError, match="no image of class 0"):
        make(describe(source=source), tmp_path)
