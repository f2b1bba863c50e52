"""The four IDX files of MNIST and of data sets of its form, as arrays."""

import math

from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray

# In the magic number, the third byte is the type and the fourth the number of dimensions.
_UNSIGNED_BYTE = 0x08


def decode(images: bytes, labels: bytes, name: str) -> Arrays:
    """Decode a file of grey images and a file of labels.

    Raises `UserError`, naming `name`, unless both are IDX files and the images have two dimensions.
    """
    pixels = decode_array(images, f"{name} images")
    classes = decode_array(labels, f"{name} labels")
    if pixels.ndim != 3:
        raise UserError(f"{name} images: shape {pixels.shape}, expected (n, height, width)")
    return Arrays(pixels[:, np.newaxis], classes.astype(np.int64))


def decode_array(content: bytes, name: str) -> NDArray[np.uint8]:
    """Decode an IDX file of unsigned bytes: magic number, sizes as big-endian uint32, values.

    Raises `UserError`, naming `name`, for another header or another length than the header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise UserError(f"{name}: not an IDX file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"{name}: header cut short ({len(content)} of {start} bytes)")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise UserError(f"{name}: {len(content)} bytes, but its header says {expected}")
    try:
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except ValueError as error:  # more or larger dimensions than an array can have
        raise UserError(f"{name}: {error}") from None
