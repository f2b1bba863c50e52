"""Dividing examples into a training and a test set."""

from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.errors import UserError

import numpy as np

SEED = 0  # of the division, which belongs to the data set


def split(arrays: Arrays, test_fraction: float | None) -> dict[str, Arrays]:
    """Both splits: a random part of each class, one example or more, is the test set.

    Raises `UserError` without a fraction, and for a class with fewer than two examples.
    """
    if test_fraction is None:
        raise UserError("there is no test set; `test_fraction` in the description divides one off")
    generator = np.random.default_rng(SEED)
    tested = np.zeros(len(arrays.labels), bool)
    for label in np.unique(arrays.labels):
        members = generator.permutation(np.flatnonzero(arrays.labels == label))
        if len(members) < 2:
            raise UserError(f"class {label} has one example, too few for two sets")
        count = min(max(1, round(test_fraction * len(members))), len(members) - 1)
        tested[members[:count]] = True
    return {
        "train": Arrays(arrays.images[~tested], arrays.labels[~tested]),
        "test": Arrays(arrays.images[tested], arrays.labels[tested]),
    }
