"""The model that a person chooses: a file, or a version of the registry."""

import argparse
import tempfile
from pathlib import Path

from mnist_cnn import model
from mnist_cnn.datasets import INFO, DatasetInfo
from mnist_cnn.errors import UserError
from mnist_cnn.images import IMAGE_SIDE

DEFAULT = "models/best_model.pth"


def add_option(parser: argparse.ArgumentParser) -> None:
    """Let a script be told by `--model` what `load` is to load."""
    parser.add_argument(
        "--model",
        default=DEFAULT,
        help="a .pth file, or a registered model: mnist-cnn@champion, mnist-cnn/3 "
        "(default: %(default)s)",
    )


def load(name: str) -> tuple[model.DeepCNN, DatasetInfo]:
    """The network of that name, in evaluation mode, on the CPU; and what is to be told of its data.

    Raises `UserError` for what is neither a file of ours nor in the registry.
    """
    if name == DEFAULT and not Path(name).exists():
        raise UserError(f"{name}: missing; `make repro`, in the root of the project, makes it")
    if name.endswith(".pth"):
        return _read(Path(name), name)
    # Nothing else needs MLflow, which takes seconds to import.
    from mnist_cnn import registry  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        return _read(registry.download_model(name, Path(folder)), name)


def _read(path: Path, name: str) -> tuple[model.DeepCNN, DatasetInfo]:
    network, dataset = model.load(path)
    if dataset not in INFO:
        raise UserError(f"{name}: has learnt {dataset!r}, which this release does not know")
    about = INFO[dataset]
    side, classes = network.architecture["image_size"], network.architecture["classes"]
    if (side, classes) != (IMAGE_SIDE, len(about.classes)):
        raise UserError(
            f"{name}: is for images of {side} pixels and {classes} classes; {dataset} has "
            f"{IMAGE_SIDE} and {len(about.classes)}"
        )
    return network, about
