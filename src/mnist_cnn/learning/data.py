"""Examples as tensors: loading, splitting, selecting a batch."""

import hashlib
from pathlib import Path
from typing import Literal, NamedTuple

from mnist_cnn.datasets import arrays
from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.datasets.description import Form
from mnist_cnn.errors import UserError

import torch
from torch import Tensor


class Examples(NamedTuple):
    """Images `uint8 (n, channels, height, width)`, 0 to 255, and labels `int64 (n,)` from 0."""

    images: Tensor
    labels: Tensor

    @property
    def form(self) -> Form:
        """The form of the images, and the number of classes; every class must occur."""
        return Arrays(self.images.numpy(), self.labels.numpy()).form

    def select(self, indices: Tensor) -> "Examples":
        """The examples at `indices`, copied."""
        return Examples(self.images[indices], self.labels[indices])

    def digest(self) -> str:
        """The MD5 of all pixels and labels, in hexadecimal. The examples must be on the CPU."""
        return Arrays(self.images.numpy(), self.labels.numpy()).digest()

    def image_digests(self) -> list[str]:
        """The MD5 of the pixels of each image, in hexadecimal. They must be on the CPU."""
        return [
            hashlib.md5(image.data, usedforsecurity=False).hexdigest()
            for image in self.images.contiguous().numpy()
        ]

    def to(self, device: torch.device) -> "Examples":
        """The same examples on `device`."""
        return Examples(self.images.to(device), self.labels.to(device))


def load(split: str, folder: Path) -> Examples:
    """The split `train` or `test` of the data set in a folder.

    Images stay on disk until they are used. Raises `UserError` if a file is missing or invalid.
    """
    found = arrays.read(split, folder)
    return Examples(torch.from_numpy(found.images), torch.from_numpy(found.labels))


def stratified_order(labels: Tensor, seed: int) -> Tensor:
    """A random permutation `int64 (n,)` of which every prefix has the class proportions of all.

    The i-th of m examples of a class, in random order, is placed at (i + ½) / m of the way. So one
    permutation serves for splits and subsets of any size.
    """
    generator = torch.Generator().manual_seed(seed)
    position = torch.empty(len(labels), dtype=torch.float64)
    for label in labels.unique():
        members = (labels == label).nonzero().squeeze(1)
        ranks = torch.randperm(len(members), generator=generator).double()
        position[members] = (ranks + 0.5) / len(members)
    # Classes of equal size share positions; ties are broken at random instead of by label.
    shuffled = torch.randperm(len(labels), generator=generator)
    return shuffled[position[shuffled].argsort(stable=True)]


def subset(
    examples: Examples, sizes: tuple[int | Literal["all"], ...], seed: int
) -> tuple[Examples, ...]:
    """Disjoint stratified subsets of the given sizes, each in the order of the whole.

    `seed` decides which examples are in which subset. The size `all` means all that are left; a
    subset with every example is not copied.

    Raises `UserError` if there are fewer examples than the sizes add up to.
    """
    total = len(examples.labels)
    left = total - sum(size for size in sizes if size != "all")
    if left < sizes.count("all"):
        raise UserError(f"{' + '.join(map(str, sizes))} examples wanted, but there are {total:,}")
    counts = [left if size == "all" else size for size in sizes]
    if counts == [total]:
        return (examples,)
    order = stratified_order(examples.labels, seed)
    parts = order[: sum(counts)].split(counts)
    return tuple(examples.select(part.sort().values) for part in parts)
