"""The `.pth` file of a network, and the predictions of a network."""

import io
from pathlib import Path
from typing import Any, NamedTuple

from mnist_cnn import faults, networks
from mnist_cnn.datasets import description
from mnist_cnn.datasets.description import Metadata
from mnist_cnn.errors import UserError
from mnist_cnn.files import write_bytes
from mnist_cnn.learning import ensemble
from mnist_cnn.learning.calibration import Calibrated, Calibration
from mnist_cnn.networks import Classifier

import torch
from torch import Tensor

FORMAT = "mnist-cnn"
VERSION = 3


class Model(NamedTuple):
    """What a `.pth` file has."""

    network: Classifier
    dataset: Metadata
    """What the network was trained on."""
    calibration: Calibration | None
    """Files of earlier releases have none."""


@torch.inference_mode()
def probabilities(model: Classifier, images: Tensor, batch_size: int = 250) -> Tensor:
    """The softmax `float64 (n, classes)` for pixel values `(n, channels, height, width)`.

    It is not calibrated; see `calibration.predict`. Leaves the model in evaluation mode.
    """
    model.eval()
    return torch.cat([model(batch).double().softmax(1) for batch in images.split(batch_size)])


def save(
    model: Classifier, dataset: Metadata, path: Path, calibration: Calibration | None = None
) -> None:
    """Write a model for `torch.load(weights_only=True)`, as plain values and tensors.

    Args:
        model: on any device; one network or an ensemble.
        dataset: what it was trained on.
        path: the file.
        calibration: if there is one.
    """
    faults.point("model trained")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": dataset.model_dump(mode="json"),
        "network": model.name,
        "config": model.config.model_dump(mode="json"),
        "state_dict": {
            name: value.cpu().contiguous() for name, value in model.state_dict().items()
        },
        "calibration": calibration and calibration.content(),
    }
    if ensemble.size(model) > 1:
        content["ensemble"] = ensemble.size(model)
    # Through a buffer, because `torch.save` would store the name of a file.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> Model:
    """Read a `.pth` without executing code from it.

    The network is in evaluation mode, and on the CPU.

    Raises `UserError` if the file is missing or was not written by `save`.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # Anything can happen while a foreign file is read. The message of PyTorch is left out, because
    # it recommends to execute the file.
    except Exception:
        raise UserError(f"{path}: damaged, or not a PyTorch file of plain tensors") from None
    if not isinstance(content, dict) or str(content.get("format")) != FORMAT:
        raise UserError(f"{path}: not a model of this project (its format is not {FORMAT!r})")
    version = content.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        raise UserError(
            f"{path}: format version {version!r}, but this release reads 1 to {VERSION}"
        )
    try:
        content = _upgrade(content, version)
        name, dataset = content["network"], Metadata.model_validate(content["dataset"])
        config = networks.config(name).model_validate(content["config"])
        number = content.get("ensemble", 1)
        if type(number) is not int or not 1 <= number <= len(content["state_dict"]):
            raise ValueError(f"an ensemble of {number!r} networks")
        members = [networks.build(name, config, dataset.form) for _ in range(number)]
        model = ensemble.combine(members)
        model.load_state_dict(content["state_dict"])
        calibration = content["calibration"] and Calibration.of(content["calibration"])
        if calibration:
            with torch.inference_mode():  # its tensors fit the network
                Calibrated(model, calibration).eval()(torch.zeros(1, *dataset.form[:3]))
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: network and weights do not match ({reason})") from None
    tensors = [*model.state_dict().values(), *(calibration.detector if calibration else ())]
    if not all(torch.isfinite(value).all() for value in tensors):
        raise UserError(f"{path}: has weights that are not finite")
    return Model(model.eval(), dataset, calibration)


def _upgrade(content: dict[str, Any], version: int) -> dict[str, Any]:
    """The content of an earlier file, as this version has it.

    Version 2 had no calibration. Version 1 had a network of one class, for square grey images.
    Early files have the name of a data set, or none if it was MNIST.
    """
    dataset = content.get("dataset", "MNIST") if version == 1 else content["dataset"]
    if isinstance(dataset, str):
        content = content | {"dataset": description.load(dataset).metadata().model_dump()}
    content = {"calibration": None} | content
    if version > 1:
        return content
    config = dict(content["architecture"])
    size, classes = config.pop("image_size"), config.pop("classes")
    form = Metadata.model_validate(content["dataset"]).form
    if form != (1, size, size, classes):
        raise ValueError(f"{classes} classes, {size} pixels, but the data set has {form}")
    return content | {"network": "deep_cnn", "config": config}
