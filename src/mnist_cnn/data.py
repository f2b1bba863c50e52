"""MNIST as tensors in memory: reading and checking the files, splitting, augmenting a batch.

Any data set of its form is read so, and its examples are called digits whatever they show.
The whole data set is one `uint8` tensor, and everything is done to a batch at a time. Where the
files come from is the business of `sources`.
"""

import hashlib
import math
from pathlib import Path
from typing import NamedTuple

from mnist_cnn.errors import UserError
from mnist_cnn.params import IMAGE_SIZE

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

CLASSES = 10

FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}

# The third byte of an IDX magic number is the type (8: unsigned byte), the fourth the dimensions.
_UNSIGNED_BYTE = 0x08


class Digits(NamedTuple):
    """Images `uint8 (n, 1, 28, 28)`, 0 black to 255 white, and labels `int64 (n,)`, 0 to 9."""

    images: Tensor
    labels: Tensor

    def select(self, indices: Tensor) -> "Digits":
        """The examples at `indices`, copied."""
        return Digits(self.images[indices], self.labels[indices])

    def digest(self) -> str:
        """The MD5 of all pixels and labels, in hexadecimal."""
        content = hashlib.md5(self.images.numpy().tobytes(), usedforsecurity=False)
        content.update(self.labels.numpy().tobytes())
        return content.hexdigest()

    def to(self, device: torch.device) -> "Digits":
        """The same examples on `device`."""
        return Digits(self.images.to(device), self.labels.to(device))


def parse_idx(content: bytes, name: str) -> np.ndarray:
    """Decode an IDX file of unsigned bytes: magic, sizes in big-endian 32 bits, then the values.

    Raises `UserError`, naming `name`, when the header is not of that form or when the content is
    not exactly as long as its header says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] != _UNSIGNED_BYTE:
        raise UserError(f"{name}: not an IDX file of unsigned bytes")
    dimensions = content[3]
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise UserError(f"{name}: truncated in its header ({len(content)} of {start} bytes)")
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    expected = start + math.prod(shape)
    if len(content) != expected:
        raise UserError(f"{name}: {len(content)} bytes, where its header promises {expected}")
    try:
        return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    except ValueError as error:  # more or larger dimensions than an array can have
        raise UserError(f"{name}: {error}") from None


def parse_digits(images: bytes, labels: bytes, name: str) -> Digits:
    """Decode a pair of IDX files into `Digits`.

    Raises `UserError` when they are not as many 28 × 28 images as labels from 0 to 9.
    """
    pixels = parse_idx(images, f"{name} images")
    classes = parse_idx(labels, f"{name} labels")
    if pixels.ndim != 3 or pixels.shape[1:] != (IMAGE_SIZE, IMAGE_SIZE):
        raise UserError(
            f"{name} images: shape {pixels.shape}, expected (n, {IMAGE_SIZE}, {IMAGE_SIZE})"
        )
    if classes.shape != pixels.shape[:1]:
        raise UserError(f"{name}: {len(pixels)} images but labels of shape {classes.shape}")
    if classes.size and classes.max() >= CLASSES:
        raise UserError(f"{name} labels: found {classes.max()}, expected 0 to {CLASSES - 1}")
    return Digits(
        torch.from_numpy(pixels.copy()).unsqueeze(1), torch.from_numpy(classes.astype(np.int64))
    )


def folder(dataset: str) -> Path:
    """The folder of the files of a data set, where torchvision looks for them too."""
    return Path("data", dataset, "raw")


def paths(split: str, raw: Path) -> tuple[Path, Path]:
    """The files of images and labels of the split `train` or `test`."""
    images, labels = FILES[split]
    return raw / images, raw / labels


def load(split: str, raw: Path) -> Digits:
    """Read the split `train` or `test` from the folder `raw`, and no other file.

    Raises `UserError` when a file is missing or is not what `download` wrote.
    """
    images, labels = paths(split, raw)
    try:
        return parse_digits(images.read_bytes(), labels.read_bytes(), split)
    except FileNotFoundError as error:
        raise UserError(f"{error.filename}: missing; run `dvc repro download`") from None


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random permutation `int64 (n,)` in which every slice has the proportions of the whole.

    The i-th example of a class of m, in random order, is placed at (i + ½) / m of the way. A prefix
    of k examples then holds k·m/n of that class to within a few, whatever k is, so that one order
    serves for splits and subsets of any size.
    """
    generator = torch.Generator().manual_seed(seed)
    position = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        ranks = torch.randperm(len(members), generator=generator).double()
        position[members] = (ranks + 0.5) / len(members)
    # Equal positions, as of classes of equal size, are broken at random rather than by label.
    shuffled = torch.randperm(len(labels), generator=generator)
    return shuffled[position[shuffled].argsort(stable=True)]


def subset(digits: Digits, sizes: tuple[int, ...], seed: int) -> tuple[Digits, ...]:
    """Disjoint stratified subsets of the given sizes, the same for the same seed.

    Each keeps the order of the whole.

    Raises `UserError` when there are fewer examples than the sizes add up to.
    """
    if sum(sizes) > len(digits.labels):
        raise UserError(
            f"{' + '.join(map(str, sizes))} examples asked for, of {len(digits.labels)}"
        )
    order = stratified_order(digits.labels, seed)
    parts = order[: sum(sizes)].split(sizes)
    return tuple(digits.select(part.sort().values) for part in parts)


def augment(
    images: Tensor, *, rotation: float, translation: float, interpolation: str = "nearest"
) -> Tensor:
    """Turn every image of a batch by a random amount of its own, then shift it, in one resampling.

    Args:
        images: pixel values `(n, 1, height, width)`, of any type.
        rotation: the largest angle in degrees; each angle is uniform in ±rotation.
        translation: the largest shift as a fraction of height and of width; the two shifts are
            independent and uniform in ±translation.
        interpolation: `nearest` or `bilinear`.

    Returns:
        `float32` pixel values of the same shape and range; what comes from outside is black (0).
        Draws from PyTorch's global generator of the images' device, unless nothing is to move.
    """
    if not rotation and not translation:
        return images.float()
    count, _, height, width = images.shape
    angle, dx, dy = (torch.rand(3, count, device=images.device) * 2 - 1).unbind()
    cos, sin = torch.cos(angle * math.radians(rotation)), torch.sin(angle * math.radians(rotation))
    # `affine_grid` maps places in the result to places in the image, both from -1 to 1, so a shift
    # by the whole width is 2, and the two axes differ in scale when the image is not square.
    # Turning comes last in this direction, so it is applied to the shift too.
    turn = torch.stack(
        [torch.stack([cos, -sin * height / width], 1), torch.stack([sin * width / height, cos], 1)],
        1,
    )
    shift = 2 * translation * torch.stack([dx, dy], 1).unsqueeze(2)
    theta = torch.cat([turn, turn @ shift], 2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode=interpolation, align_corners=False)
