"""Data sets of torchvision, as arrays."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mnist_cnn.datasets import image_files
from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.datasets.description import Description, Torchvision
from mnist_cnn.errors import UserError

import numpy as np


def read(description: Description, source: Torchvision) -> dict[str, Arrays]:
    """Both splits, downloaded by torchvision, which has no timeout.

    Raises `UserError` if torchvision has no such data set, or cannot download it.
    """
    from torchvision import datasets  # noqa: PLC0415  # it loads PyTorch

    if source.name not in datasets.__all__:
        raise UserError(f"torchvision has no data set {source.name!r}")
    with TemporaryDirectory() as folder:
        try:
            return {
                name: _arrays(
                    description,
                    getattr(datasets, source.name)(Path(folder), download=True, **options),
                    source.first_label,
                )
                for name, options in (("train", source.train), ("test", source.test))
            }
        except Exception as error:  # its data sets raise anything
            reason = " ".join(str(error).split())
            raise UserError(f"torchvision's {source.name}: {reason}") from None


def _arrays(description: Description, examples: Any, first_label: int) -> Arrays:
    images, labels = [], []
    for image, label in examples:
        pixels = image_files.planes(image, description.channels)
        images.append(image_files.resize(pixels, description.height, description.width))
        labels.append(int(label) - first_label)
    return Arrays(np.stack(images), np.array(labels))
