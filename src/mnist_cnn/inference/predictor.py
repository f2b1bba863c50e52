"""Loading a model by name, and predicting what images show. Shared by `predict` and the demo."""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mnist_cnn.datasets.descriptions import DESCRIPTIONS, Description
from mnist_cnn.errors import UserError
from mnist_cnn.inference import image_files
from mnist_cnn.inference.preprocessing import preprocess
from mnist_cnn.learning import model
from mnist_cnn.learning.data import FORM
from mnist_cnn.networks import Classifier

import numpy as np
import torch
from numpy.typing import NDArray

DEFAULT_MODEL = "models/best_model.pth"
STANDARD_INPUT = "-"


class Prediction(NamedTuple):
    """The input of the network, `uint8 (1, 28, 28)`, and its probabilities, `float64 (10,)`."""

    name: str
    pixels: NDArray[np.uint8]
    probabilities: NDArray[np.float64]

    def ranked(self) -> list[tuple[int, float]]:
        """Labels with their probabilities, the most probable first."""
        order = (-self.probabilities).argsort(kind="stable")
        return [(int(label), float(self.probabilities[label])) for label in order]


@dataclass(frozen=True)
class Predictor:
    """A model, and the description of the data set that it was trained on."""

    model: Classifier
    dataset: Description

    def preprocess(self, grey: NDArray[Any], name: str) -> NDArray[np.uint8]:
        """The input of the network, `uint8 (1, 28, 28)`, for grey values `(height, width)`.

        Raises `UserError`, naming `name`, if the image shows nothing.
        """
        return preprocess(
            grey, name, object_size=self.dataset.object_size, strokes=self.dataset.strokes
        )

    def predict(self, inputs: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Probabilities `float64 (n, 10)` of inputs `uint8 (n, 1, 28, 28)`."""
        probabilities: NDArray[np.float64] = model.predict(
            self.model, torch.from_numpy(inputs)
        ).numpy()
        return probabilities

    def predict_files(self, names: Iterable[str]) -> tuple[list[Prediction], list[UserError]]:
        """Predictions for the image files that can be read, and errors for the others.

        The name `-` stands for standard input.
        """
        inputs, errors = [], []
        for name in names:
            try:
                inputs.append((name, self.preprocess(_read(name), name)))
            except UserError as error:
                errors.append(error)
        if not inputs:
            return [], errors
        probabilities = self.predict(np.stack([pixels for _, pixels in inputs]))
        return [
            Prediction(*pair, row) for pair, row in zip(inputs, probabilities, strict=True)
        ], errors


def _read(name: str) -> NDArray[np.uint8]:
    if name == STANDARD_INPUT:
        return image_files.decode(sys.stdin.buffer.read(image_files.MAX_BYTES + 1), name)
    return image_files.read(Path(name))


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
        raise UserError(f"{name}: missing; `make repro` in the root of the project creates it")
    if name.endswith(".pth"):
        return _load(Path(name), name)
    # MLflow takes seconds to import, and a file does not need it.
    from mnist_cnn.tracking import registry  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        return _load(registry.download_model(name, Path(folder)), name)


def _load(path: Path, name: str) -> Predictor:
    network, dataset = model.load(path)
    if dataset not in DESCRIPTIONS:
        raise UserError(f"{name}: trained on {dataset!r}, which this release does not know")
    description = DESCRIPTIONS[dataset]
    if network.form != FORM:
        raise UserError(f"{name}: made for {network.form}, but {dataset} has {FORM}")
    return Predictor(network, description)
