"""Examples as tensors in memory: loading, splitting, selecting a batch."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from mnist_cnn.datasets import idx
from mnist_cnn.errors import UserError
from mnist_cnn.networks import Form

import numpy as np
import torch
from torch import Tensor

FORM = Form(channels=1, height=idx.IMAGE_SIZE, width=idx.IMAGE_SIZE, classes=idx.CLASSES)
"""Of every data set."""


class Examples(NamedTuple):
    """Images `uint8 (n, 1, 28, 28)`, 0 black to 255 white, and labels `int64 (n,)`, 0 to 9."""

    images: Tensor
    labels: Tensor

    def select(self, indices: Tensor) -> "Examples":
        """The examples at `indices`, copied."""
        return Examples(self.images[indices], self.labels[indices])

    def digest(self) -> str:
        """The MD5 of all pixels and labels, in hexadecimal. The examples must be on the CPU."""
        content = hashlib.md5(self.images.numpy().tobytes(), usedforsecurity=False)
        content.update(self.labels.numpy().tobytes())
        return content.hexdigest()

    def to(self, device: torch.device) -> "Examples":
        """The same examples on `device`."""
        return Examples(self.images.to(device), self.labels.to(device))


def load(split: str, raw: Path) -> Examples:
    """Load the split `train` or `test` from the folder `raw`.

    Raises `UserError` if a file is missing or invalid.
    """
    images, labels = idx.read(split, raw)
    return Examples(
        torch.from_numpy(images.copy()).unsqueeze(1), torch.from_numpy(labels.astype(np.int64))
    )


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


def subset(examples: Examples, sizes: tuple[int, ...], seed: int) -> tuple[Examples, ...]:
    """Disjoint stratified subsets of the given sizes, each in the order of the whole.

    `seed` decides which examples are in which subset.

    Raises `UserError` if there are fewer examples than the sizes add up to.
    """
    if sum(sizes) > len(examples.labels):
        raise UserError(
            f"{' + '.join(map(str, sizes))} examples wanted, but there are {len(examples.labels)}"
        )
    order = stratified_order(examples.labels, seed)
    parts = order[: sum(sizes)].split(sizes)
    return tuple(examples.select(part.sort().values) for part in parts)
