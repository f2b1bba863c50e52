"""A paired test of two finalists: which of them predicts the validation images better.

No test image has a part in it.
"""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray


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
    """The result of a comparison."""

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


def compare(challenger: Validated, champion: Validated) -> PairedTest | None:
    """A one-sided, exact permutation test of their mean accuracy; None if they are not comparable.

    They are comparable if they have the same images and as many seeds. If both were equally good,
    the difference on each image would be as likely to have the other sign. With one seed this is
    McNemar's exact test (McNemar 1947).
    """
    if (challenger.examples, challenger.seeds) != (champion.examples, champion.seeds):
        return None
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
