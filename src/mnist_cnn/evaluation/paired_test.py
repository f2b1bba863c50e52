"""A paired test: whether one choice of hyperparameters is better than another.

It compares predictions for the same validation images. No test image has a part in it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest


@dataclass(frozen=True)
class Validated:
    """How well a finalist's networks, one for each seed, classify the validation images."""

    examples: tuple[tuple[str, str], ...]
    """The MD5 of the pixels and the label of each image."""
    correct: NDArray[np.float64]
    """The fraction of the networks that classify each image correctly, `(n,)`, 0 to 1."""
    seeds: int
    """The number of the networks."""

    @property
    def accuracy(self) -> float:
        """The mean accuracy of the networks."""
        return float(self.correct.mean())


class PairedTest(NamedTuple):
    """The result of a comparison."""

    better: int
    """Images that more of the newcomer's networks classify correctly, as a fraction of them."""
    worse: int
    """Images that fewer of them do."""
    p_value: float
    """The probability of at least so many better ones if both were equally good."""

    def __str__(self) -> str:
        """The result in a few words."""
        return (
            f"better on {self.better} validation images, worse on {self.worse}, "
            f"p = {self.p_value:.2g}"
        )


def read(path: Path) -> Validated:
    """Read `validation_predictions.csv`, as `search.finalists.predictions` describes it.

    Raises `UserError` if it has another form.
    """
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    try:
        examples = tuple((row.pop("image"), row.pop("label")) for row in rows)
    except KeyError as error:
        raise UserError(f"{path}: has no column {error}") from None
    labels = [label for _, label in examples]
    correct = [
        [prediction == label for prediction in row.values()]
        for row, label in zip(rows, labels, strict=True)
    ]
    return Validated(examples, np.mean(correct, 1), seeds=len(correct[0]))


def compare(newcomer: Validated, champion: Validated) -> PairedTest | None:
    """McNemar's test (McNemar 1947), exact and one-sided; None if the images differ.

    With several seeds it is the sign test, of which McNemar's is the case of one seed: an image
    counts once, for the side that more of its networks classify correctly.
    """
    if newcomer.examples != champion.examples:
        return None
    difference = newcomer.correct - champion.correct
    better, worse = int((difference > 0).sum()), int((difference < 0).sum())
    if better + worse == 0:
        return PairedTest(0, 0, 1.0)
    test = binomtest(better, better + worse, alternative="greater")
    return PairedTest(better, worse, float(test.pvalue))
