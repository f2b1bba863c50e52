"""A test of two finalists: which of them predicts validation images better.

It is paired if they have the same validation images. No test image has a part in it.
"""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray
from scipy.stats import fisher_exact


@dataclass(frozen=True)
class Validated:
    """How well a finalist's networks, one for each seed, classify the validation images."""

    examples: tuple[tuple[str, str], ...]
    """The MD5 of the pixels and the label of each image."""
    correct: NDArray[np.int64]
    """How many of the networks classify each image correctly, `(n,)`, 0 to `seeds`."""
    seeds: int
    """The number of the networks."""

    @property
    def accuracy(self) -> float:
        """The mean accuracy of the networks."""
        return float(self.correct.mean()) / self.seeds


class PairedTest(NamedTuple):
    """The result of a comparison on the same images."""

    better: int
    """Images that more of the challenger's networks classify correctly."""
    worse: int
    """Images that fewer of them do."""
    p_value: float
    """The probability of a lead at least as large if both were equally good."""

    def __str__(self) -> str:
        """The result in a few words."""
        return (
            f"better on {self.better} validation images, worse on {self.worse}, "
            f"p = {self.p_value:.2g}"
        )


class UnpairedTest(NamedTuple):
    """The result of a comparison on different images."""

    accuracy: float
    """Of the challenger."""
    images: int
    """Its validation images."""
    former_accuracy: float
    """Of the champion."""
    former_images: int
    p_value: float
    """The probability of a lead at least as large if both were equally good."""

    def __str__(self) -> str:
        """The result in a few words."""
        return (
            f"{self.accuracy:.2%} of {self.images:,} validation images against "
            f"{self.former_accuracy:.2%} of {self.former_images:,}, p = {self.p_value:.2g}"
        )


def read(path: Path) -> Validated:
    """Read `validation_predictions.csv`, as `search.finalists.predictions` describes it.

    Raises `UserError` if it has another form.
    """
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        columns, rows = reader.fieldnames or (), list(reader)
    seeds = columns[2:]
    if list(columns[:2]) != ["image", "label"] or not seeds or not rows:
        raise UserError(f"{path.name}: expected rows with image, label, seed_0, seed_1, …")
    correct = [sum(row[seed] == row["label"] for seed in seeds) for row in rows]
    examples = tuple((row["image"], row["label"]) for row in rows)
    return Validated(examples, np.array(correct), len(seeds))


def compare(challenger: Validated, champion: Validated) -> PairedTest | UnpairedTest:
    """A one-sided, exact test of their mean accuracy.

    With the same images and as many seeds, a permutation test: if both were equally good, the
    difference on each image would be as likely to have the other sign. With one seed this is
    McNemar's exact test (McNemar 1947). Else it is Fisher's exact test (Fisher 1935).
    """
    if (challenger.examples, challenger.seeds) != (champion.examples, champion.seeds):
        return _compare_unpaired(challenger, champion)
    differences = challenger.correct - champion.correct
    differences = differences[differences != 0]
    # The distribution of their sum, from its lowest to its highest value in steps of 1.
    distribution = np.ones(1)
    for size in abs(differences):
        signs = np.zeros(2 * size + 1)
        signs[[0, -1]] = 0.5
        distribution = np.convolve(distribution, signs)
    lowest = -int(abs(differences).sum())
    p_value = float(distribution[int(differences.sum()) - lowest :].sum())
    return PairedTest(int((differences > 0).sum()), int((differences < 0).sum()), p_value)


def _compare_unpaired(challenger: Validated, champion: Validated) -> UnpairedTest:
    """Fisher's exact test, in which an image counts once, whatever the number of seeds."""
    images, former_images = len(challenger.examples), len(champion.examples)
    # Means over seeds are rounded in favour of the champion.
    correct = math.floor(challenger.correct.sum() / challenger.seeds)
    former = math.ceil(champion.correct.sum() / champion.seeds)
    table = [[correct, images - correct], [former, former_images - former]]
    p_value = float(fisher_exact(table, alternative="greater").pvalue)
    return UnpairedTest(challenger.accuracy, images, champion.accuracy, former_images, p_value)
