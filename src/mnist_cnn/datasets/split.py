"""Dividing examples into a training and a test set."""

import hashlib

from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.errors import UserError

import numpy as np


def split(arrays: Arrays, test_fraction: float | None) -> dict[str, Arrays]:
    """Both splits: a part of each class, one example or more, is the test set.

    Examples are ordered by a digest of their pixels, which is as good as random. So another example
    moves at most one to the other set, wherever it is added.

    Raises `UserError` without a fraction, and for a class with fewer than two examples.
    """
    if test_fraction is None:
        raise UserError("there is no test set; `test_fraction` in the description divides one off")
    digests = np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in arrays.images])
    tested = np.zeros(len(arrays.labels), bool)
    for label in np.unique(arrays.labels):
        members = np.flatnonzero(arrays.labels == label)
        if len(members) < 2:
            raise UserError(f"class {label} (from 0) has one example, too few for two sets")
        count = min(max(1, round(test_fraction * len(members))), len(members) - 1)
        tested[members[np.argsort(digests[members], kind="stable")][:count]] = True
    return {
        "train": Arrays(arrays.images[~tested], arrays.labels[~tested]),
        "test": Arrays(arrays.images[tested], arrays.labels[tested]),
    }
