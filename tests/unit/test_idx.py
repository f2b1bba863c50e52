"""IDX files: whatever bytes they have, they are decoded or rejected with a reason."""

from contextlib import suppress

from mnist_cnn.datasets import idx
from mnist_cnn.errors import UserError

import examples
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays


def encode(array):
    return examples.idx(np.asarray(array, np.uint8))


IMAGES = examples.idx(np.arange(2 * 28 * 28, dtype=np.uint8).reshape(2, 28, 28))
LABELS = encode([9, 0])


def test_values_are_in_row_major_order():
    content = b"\0\0\x08\x02" + b"\0\0\0\x02" + b"\0\0\0\x03" + b"\x01\x02\x03\x04\x05\xff"
    assert idx.decode_array(content, "rows").tolist() == [[1, 2, 3], [4, 5, 255]]


def test_sizes_are_big_endian():
    assert idx.decode_array(b"\0\0\x08\x01" + b"\0\0\x01\x02" + bytes(258), "").shape == (258,)


@given(arrays(np.uint8, st.just(()) | array_shapes(max_dims=5, min_side=0, max_side=4)))
def test_a_decoded_array_is_the_encoded_one(array):
    decoded = idx.decode_array(encode(array), "array")
    assert (decoded.dtype, decoded.shape) == (np.uint8, array.shape)
    assert (decoded == array).all()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "not an IDX file", id="empty"),
        pytest.param(b"\0\0\x08", "not an IDX file", id="half a magic number"),
        pytest.param(b"<html>", "not an IDX file", id="HTML"),
        pytest.param(b"\x08\0\0\x01\0\0\0\x01\x07", "not an IDX file", id="wrong magic number"),
        pytest.param(b"\0\0\x0d\x01\0\0\0\x01\x07", "not an IDX file", id="floats"),
        pytest.param(b"\0\0\x08\x01", r"header cut short \(4 of 8 bytes\)", id="no sizes"),
        pytest.param(
            b"\0\0\x08\x02\0\0\0\1\0\0", r"header cut short \(10 of 12 bytes\)", id="half a size"
        ),
        pytest.param(b"\0\0\x08\x01\0\0\0\x02", "8 bytes, but its header says 10", id="no values"),
        pytest.param(
            b"\0\0\x08\x01\0\0\0\x02\x07", "9 bytes, but its header says 10", id="cut short"
        ),
        pytest.param(
            b"\0\0\x08\x01\0\0\0\x01\x07\x07", "10 bytes, but its header says 9", id="too long"
        ),
    ],
)
def test_an_invalid_array_is_rejected_with_its_name_and_the_reason(content, reason):
    with pytest.raises(UserError, match=f"^labels: {reason}"):
        idx.decode_array(content, "labels")


@st.composite
def plausible_idx(draw):
    """A valid magic number, with sizes and values that seldom belong together."""
    sizes = draw(st.lists(st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1]), max_size=70))
    header = bytes([0, 0, 8, draw(st.just(len(sizes)) | st.integers(0, 255))])
    return header + np.array(sizes, ">u4").tobytes() + draw(st.binary(max_size=16))


@given(st.binary() | plausible_idx())
@example(b"\0\0\x08\x41" + b"\0\0\0\x01" * 65 + b"x")
@example(b"\0\0\x08\x03" + b"\0\0\0\0" + b"\xff" * 8)
def test_any_bytes_are_decoded_or_rejected(content):
    with suppress(UserError):
        assert examples.idx(idx.decode_array(content, "bytes")) == content


def test_images_and_labels_are_decoded():
    images, labels = idx.decode(IMAGES, LABELS, "test")
    assert (images.dtype, images.shape) == (np.uint8, (2, 28, 28))
    assert images.ravel().tolist() == [pixel % 256 for pixel in range(2 * 28 * 28)]
    assert (labels.dtype, labels.tolist()) == (np.uint8, [9, 0])


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        pytest.param(IMAGES[:-1], LABELS, "test images: 1583 bytes", id="truncated images"),
        pytest.param(IMAGES, LABELS + b"\0", "test labels: 11 bytes", id="trailing label"),
        pytest.param(LABELS, IMAGES, r"test images: shape \(2,\)", id="files swapped"),
        pytest.param(
            encode(np.zeros((2, 28, 27))),
            LABELS,
            r"test images: shape \(2, 28, 27\), expected \(n, 28, 28\)",
            id="narrow images",
        ),
        pytest.param(
            IMAGES,
            encode([0, 0, 0]),
            r"test: 2 images but labels of shape \(3,\)",
            id="three labels",
        ),
        pytest.param(
            IMAGES,
            encode([[0], [0]]),
            r"test: 2 images but labels of shape \(2, 1\)",
            id="labels in a table",
        ),
        pytest.param(
            IMAGES, encode([0, 10]), "test labels: found 10, expected 0 to 9", id="label 10"
        ),
    ],
)
def test_an_invalid_split_is_rejected_with_the_reason(images, labels, reason):
    with pytest.raises(UserError, match=f"^{reason}"):
        idx.decode(images, labels, "test")


@given(
    st.sampled_from(["images", "labels"]),
    st.integers(0, 40),
    st.binary(max_size=3),
    st.integers(0, 3),
)
def test_a_damaged_split_is_decoded_or_rejected(file, start, inserted, removed):
    contents = {"images": IMAGES, "labels": LABELS}
    contents[file] = contents[file][:start] + inserted + contents[file][start + removed :]
    with suppress(UserError):
        images, labels = idx.decode(**contents, name="test")
        assert images.shape == (2, 28, 28)
        assert set(labels.tolist()) <= set(range(10))


@pytest.fixture
def raw(tmp_path):
    """A folder with the two files of the split `test` only."""
    for path, content in zip(idx.paths("test", tmp_path), (IMAGES, LABELS), strict=True):
        path.write_bytes(content)
    return tmp_path


def test_a_split_is_read_without_the_files_of_the_other(raw):
    images, labels = idx.read("test", raw)
    assert images[0, 0, :3].tolist() == [0, 1, 2]
    assert labels.tolist() == [9, 0]


@pytest.mark.parametrize("number", [0, 1], ids=["images", "labels"])
def test_a_missing_file_is_named_with_the_command_that_gets_it(raw, number):
    path = idx.paths("test", raw)[number]
    path.unlink()
    with pytest.raises(UserError) as caught:
        idx.read("test", raw)
    assert str(caught.value) == f"{path}: missing; `dvc repro download` gets it"
