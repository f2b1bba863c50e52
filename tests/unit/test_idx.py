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


def test_images_get_a_channel_and_labels_are_int64():
    images, labels = idx.decode(IMAGES, LABELS, "test")
    assert (images.dtype, images.shape) == (np.uint8, (2, 1, 28, 28))
    assert images.ravel().tolist() == [pixel % 256 for pixel in range(2 * 28 * 28)]
    assert (labels.dtype, labels.tolist()) == (np.int64, [9, 0])


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        pytest.param(IMAGES[:-1], LABELS, "test images: 1583 bytes", id="truncated images"),
        pytest.param(IMAGES, LABELS + b"\0", "test labels: 11 bytes", id="trailing label"),
        pytest.param(LABELS, IMAGES, r"test images: shape \(2,\)", id="files swapped"),
    ],
)
def test_an_invalid_split_is_rejected_with_the_reason(images, labels, reason):
    with pytest.raises(UserError, match=f"^{reason}"):
        idx.decode(images, labels, "test")
