"""Loading a model by name, and predicting what images show. Shared by `predict` and the demo."""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from mnist_cnn.datasets import image_files
from mnist_cnn.datasets.description import Metadata
from mnist_cnn.errors import UserError
from mnist_cnn.inference.contrast import grey_values
from mnist_cnn.inference.preprocessing import preprocess
from mnist_cnn.learning import calibration, model
from mnist_cnn.learning.calibration import Calibration, Predictions
from mnist_cnn.networks import Classifier

import numpy as np
import torch
from numpy.typing import NDArray

DEFAULT_MODEL = "models/best_model.pth"
STANDARD_INPUT = "-"


class Prediction(NamedTuple):
    """The prediction for an image file."""

    name: str
    pixels: NDArray[np.uint8]
    """The input of the network, `(channels, height, width)`."""
    probabilities: NDArray[np.float64]
    """`(classes,)`."""
    familiarity: float = 1.0
    """At most 1; negative if the image is unlike those that the network was trained on."""

    def ranked(self) -> list[tuple[int, float]]:
        """Labels with their probabilities, the most probable first."""
        order = (-self.probabilities).argsort(kind="stable")
        return [(int(label), float(self.probabilities[label])) for label in order]


@dataclass(frozen=True)
class Predictor:
    """A model, and the data set that it was trained on."""

    model: Classifier
    dataset: Metadata
    calibration: Calibration | None = None

    def preprocess(self, planes: NDArray[Any], name: str) -> NDArray[np.uint8]:
        """The input of the network for an image of any size.

        Args:
            planes: `(channels, height, width)`, 0 to 255.
            name: the name of the image in messages.

        Returns:
            `uint8 (channels, height, width)` of the size of the data set.

        Raises `UserError`, naming `name`, if an object is wanted and the image shows nothing.
        """
        form, wanted = self.dataset.form, self.dataset.object
        if wanted is None:
            return image_files.resize(planes.astype(np.uint8), form.height, form.width)
        return preprocess(
            planes[0],
            name,
            size=form.height,
            object_size=wanted.size,
            strokes=wanted.strokes,
            one_piece=self.dataset.noun == "digit",
        )

    def predict(self, inputs: NDArray[np.uint8]) -> Predictions:
        """Predictions for inputs `uint8 (n, channels, height, width)`."""
        return calibration.predict(self.model, self.calibration, torch.from_numpy(inputs))

    def predict_files(self, names: Iterable[str]) -> tuple[list[Prediction], list[UserError]]:
        """Predictions for the image files that can be read, and errors for the others.

        The name `-` stands for standard input.
        """
        inputs, errors = [], []
        for name in names:
            try:
                inputs.append((name, self.preprocess(self._read(name), name)))
            except UserError as error:
                errors.append(error)
        if not inputs:
            return [], errors
        probabilities, familiarity = self.predict(np.stack([pixels for _, pixels in inputs]))
        return [
            Prediction(*pair, row, value)
            for pair, row, value in zip(
                inputs, probabilities.numpy(), familiarity.tolist(), strict=True
            )
        ], errors

    def _read(self, name: str) -> NDArray[np.uint8]:
        """The planes of an image file; see `preprocess`."""
        if name == STANDARD_INPUT:
            content = sys.stdin.buffer.read(image_files.MAX_BYTES + 1)
            read = partial(image_files.decode_planes, content, name)
        else:
            read = partial(image_files.read_planes, Path(name))
        planes = read(self.dataset.channels)
        if self.dataset.object is None:
            return planes
        return grey_values(planes[0], read(3))[np.newaxis]


def add_model_option(parser: argparse.ArgumentParser) -> None:
    """Add the option `--model`, whose value `load` takes."""
    parser.add_argument(
        "--model",
        default=DEFAULT_MODEL,
        help="a .pth file, or a registered model such as mnist-cnn@champion or mnist-cnn/3 "
        "(default: %(default)s)",
    )


def load(name: str) -> Predictor:
    """Load a model from a `.pth` file or from the model registry.

    Raises `UserError` if there is no such model.
    """
    if name == DEFAULT_MODEL and not Path(name).exists():
        raise UserError(f"{name}: missing; restore it by `git checkout {name}`, or `make repro`")
    if name.endswith(".pth"):
        return Predictor(*model.load(Path(name)))
    # MLflow takes seconds to import, and a file does not need it.
    from mnist_cnn.tracking import registry  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        return Predictor(*model.load(registry.download_model(name, Path(folder))))
