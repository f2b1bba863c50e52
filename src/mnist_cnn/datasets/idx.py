"""The four IDX files of MNIST and of data sets of its form, as NumPy arrays."""

import math
from pathlib import Path

from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray

IMAGE_SIZE = 28  # pixels, height and width
CLASSES = 10

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
"""Images and labels of each split."""

# In the magic number, the third byte is the type and the fourth the number of dimensions.
_UNSIGNED_BYTE = 0x08


def folder(dataset: str) -> Path:
    """The folder with the files of a data set, the same as torchvision's."""
    return Path("data", dataset, "raw")


def paths(split: str, raw: Path) -> tuple[Path, Path]:
    """The files with the images and the labels of the split `train` or `test`."""
    images, labels = FILES[split]
    return raw / images, raw / labels


def read(split: str, raw: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images and labels of the split `train` or `test`; see `decode`.

    Raises `UserError` if a file is missing or invalid.
    """
    images, labels = paths(split, raw)
    try:
        return decode(images.read_bytes(), labels.read_bytes(), split)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: missing; `dvc repro download` gets it") from None


def decode(images: bytes, labels: bytes, name: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Decode a file of images and a file of labels.

    Returns:
        Images `uint8 (n, 28, 28)`, 0 black to 255 white, and labels `uint8 (n,)`, 0 to 9.

    Raises `UserError`, naming `name`, unless there are as many 28 × 28 images as labels in range.
    """
    pixels = decode_array(images, f"{name} images")
    classes = decode_array(labels, f"{name} labels")
    if pixels.ndim != 3 or pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise UserError(
            f"{name} images: shape {pixels.shape}, expected (n, {IMAGE_SIZE}, {IMAGE_SIZE})"
        )
    if classes.shape != pixels.shape[:1]:
        raise UserError(f"{name}: {len(pixels)} images but labels of shape {classes.shape}")
    if classes.size and classes.max() >= CLASSES:
        raise UserError(f"{name} labels: found {classes.max()}, expected 0 to {CLASSES - 1}")
    return pixels, classes


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
