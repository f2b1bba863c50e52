"""The predictions that an evaluation is computed from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from mnist_cnn.datasets.description import Description
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation import corruptions, out_of_distribution
from mnist_cnn.evaluation.metrics import Labels, Probabilities
from mnist_cnn.evaluation.params import Evaluate
from mnist_cnn.learning import calibration, data, model
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.model import Model

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Scores(NamedTuple):
    """Probabilities and familiarities of other images, as `Predicted` has them."""

    probabilities: Probabilities
    familiarity: NDArray[np.float64]


class Corrupted(NamedTuple):
    """Test images with a corruption: one of them, and whether each is predicted correctly."""

    example: NDArray[np.uint8]
    """`(channels, height, width)`."""
    correct: NDArray[np.bool_]
    """`(n,)`."""


@dataclass(frozen=True)
class Predicted:
    """The test set, and the predictions for it and for other images."""

    images: NDArray[np.uint8]
    """`(n, channels, height, width)`, 0 to 255."""
    labels: Labels
    """`int64 (n,)`; every class occurs."""
    probabilities: Probabilities
    """`float (n, classes)`, rows sum to 1; calibrated."""
    classes: Sequence[str]
    """The names of the classes."""
    uncalibrated: Probabilities
    """As `probabilities`, at the temperature 1."""
    familiarity: NDArray[np.float64]
    """`(n,)`, at most 1; an image is rejected if it is negative."""
    disputed: NDArray[np.bool_]
    """`(n,)`: whether the label is probably wrong."""
    unusual: Mapping[str, Scores]
    """For images unlike those of the data set, by kind."""
    corrupted: Mapping[str, Corrupted]
    """By corruption."""


def predict(
    loaded: Model,
    test: Examples,
    described: Description,
    evaluate: Evaluate,
    device: torch.device,
    *,
    complete: bool,
) -> Predicted:
    """Predict all that the evaluation needs.

    Args:
        loaded: the model.
        test: the test examples, on the CPU.
        described: their data set.
        evaluate: how many images are corrupted.
        device: the device to compute on.
        complete: whether `test` is the whole test set.

    Raises `UserError` if the description names a disputed image that does not exist.
    """
    network = loaded.network.to(device)

    def score(images: Tensor) -> Scores:
        return Scores(
            *(
                values.cpu().numpy()
                for values in calibration.predict(network, loaded.calibration, images.to(device))
            )
        )

    scores = score(test.images)
    disputed = np.zeros(len(test.labels), bool)
    if complete and described.disputed:
        if (last := max(described.disputed)) >= len(disputed):
            raise UserError(f"disputed: {last}, but the test set has {len(disputed):,} images")
        disputed[list(described.disputed)] = True
    (part,) = data.subset(test, (min(evaluate.corrupted_size, len(test.labels)),), seed=0)
    return Predicted(
        images=test.images.numpy(),
        labels=test.labels.numpy(),
        probabilities=scores.probabilities,
        classes=described.classes,
        uncalibrated=model.probabilities(network, test.images.to(device)).cpu().numpy(),
        familiarity=scores.familiarity,
        disputed=disputed,
        unusual={
            kind: score(images)
            for kind, images in out_of_distribution.unusual_images(
                test.images, described.noun, seed=0
            ).items()
        },
        corrupted={
            name: Corrupted(
                images[0].numpy(), score(images).probabilities.argmax(1) == part.labels.numpy()
            )
            for name, images in corruptions.corrupt(part.images, seed=0)
        },
    )
