"""Objectives that take no time. A worker imports this module, but never the script."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_cnn.learning.training import Epoch

import numpy as np


def trivial(
    hyperparameters: dict[str, Any], _seed: int, _epochs: int, _checkpoint: Path | None
) -> Iterator[Epoch]:
    """A trial of two epochs that takes no time."""
    rate = hyperparameters["learning_rate"]
    for epoch in (1, 2):
        yield Epoch(epoch, 0.0, 0.0, 0.0, 1 - (rate - 0.01) ** 2 - 0.1 / epoch)


# The Hartmann function of six variables (Dixon and Szegö 1978).
_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8],
     [17, 8, 0.05, 10, 0.1, 14]]
)  # fmt: skip
_P = 1e-4 * np.array(
    [[1312, 1696, 5569, 124, 8283, 5886], [2329, 4135, 8307, 3736, 1004, 9991],
     [2348, 1451, 3522, 2883, 3047, 6650], [4047, 8828, 8732, 5743, 1091, 381]]
)  # fmt: skip
_MINIMUM = -3.32237


def hartmann(
    hyperparameters: dict[str, Any], _seed: int, _epochs: int, _checkpoint: Path | None
) -> Iterator[Epoch]:
    """A trial of one epoch that takes no time; its loss is how far it is above the minimum."""
    x = np.array([hyperparameters[f"x{i}"] for i in range(6)])
    value = -float(_ALPHA @ np.exp(-(_A * (x - _P) ** 2).sum(1)))
    yield Epoch(1, 0.0, 0.0, value - _MINIMUM, 0.0)
