"""A folder of images by class, as arrays."""

from pathlib import Path

from mnist_cnn.datasets import image_files
from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.datasets.description import Description, ImageFolder, resolve
from mnist_cnn.datasets.split import split
from mnist_cnn.errors import UserError

import numpy as np

_SPLITS = {"train", "test", "val", "valid", "validation"}


def read(description: Description, source: ImageFolder) -> dict[str, Arrays]:
    """Both splits of a data set.

    Images are taken in order of their names, and resized to the form of the description. Raises
    `UserError` if a class has no folder or no images, or an image cannot be read.
    """
    folder = resolve(source.path)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if has_splits(folder):
        return {name: _read(description, folder / name) for name in ("train", "test")}
    return split(_read(description, folder), source.test_fraction)


def has_splits(folder: Path) -> bool:
    """Whether a folder has its own training and test set."""
    return (folder / "train").is_dir() and (folder / "test").is_dir()


def classes(folder: Path) -> list[str]:
    """The names of the sub-folders, sorted; those of `train` if there is one."""
    parent = folder / "train" if has_splits(folder) else folder
    names = _folders(parent)
    if nested := [name for name in names if name in _SPLITS and _folders(parent / name)]:
        raise UserError(f"{parent}: {nested[0]} is not a class; name the sets `train` and `test`")
    return names


def _folders(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir() if path.is_dir() and path.name[0] != ".")


def _read(description: Description, folder: Path) -> Arrays:
    if unknown := set(classes(folder)) - set(description.classes):
        raise UserError(f"{folder}: has folders that are no classes: {', '.join(sorted(unknown))}")
    images, labels = [], []
    for label, name in enumerate(description.classes):
        if not (folder / name).is_dir():
            raise UserError(f"{folder}: has no folder {name!r}")
        for path in image_files.find(folder / name):
            pixels = image_files.read_planes(path, description.channels)
            images.append(image_files.resize(pixels, description.height, description.width))
            labels.append(label)
    return Arrays(np.stack(images), np.array(labels))
