"""Making the arrays of a data set from whatever its description names.

No source is trusted: arrays are written only if they have the form and the digests of the
description. But torchvision unpickles some of its own files.
"""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from mnist_cnn import faults, files
from mnist_cnn.datasets import arrays, idx_sources, image_folder, npz, torchvision_sets
from mnist_cnn.datasets.arrays import Arrays
from mnist_cnn.datasets.description import (
    Description,
    IdxFiles,
    ImageFolder,
    Npz,
    Torchvision,
    path,
    resolve,
)
from mnist_cnn.datasets.params import Download
from mnist_cnn.errors import UserError

import numpy as np

Tell = Callable[[str], None]
"""Takes a line for the user."""


def make(description: Description, download: Download, folder: Path, tell: Tell) -> None:
    """Write the arrays and the metadata of a data set to a folder.

    Raises `UserError`, and writes nothing, if no source has the data set, or has another one.
    """
    splits = _from_other_clone(description, tell)
    if splits is None:
        splits = read(description, download, tell)
        _verify(description, splits, tell)
    for name, split in splits.items():
        counts = np.bincount(split.labels)
        tell(f"{name}: {len(split.labels):,} images, {counts.min():,} to {counts.max():,} a class")
    faults.point("data downloaded")
    for name, split in splits.items():
        arrays.write(split, folder / name)
    metadata = description.metadata().model_dump(mode="json")
    files.write_json(folder / arrays.METADATA, metadata)


def read(description: Description, download: Download, tell: Tell) -> dict[str, Arrays]:
    """Both splits from the source that the description names, in its form.

    Raises `UserError` if the source does not have them.
    """
    splits = _read(description, download, tell)
    for name, split in splits.items():
        arrays.check(split, name, description.form)
    return splits


def _read(description: Description, download: Download, tell: Tell) -> dict[str, Arrays]:
    match description.source:
        case IdxFiles():
            return idx_sources.download(
                description.source, download.sources, download.timeout, tell
            )
        case ImageFolder():
            return image_folder.read(description, description.source)
        case Npz():
            return npz.read(description.source)
        case Torchvision():
            return torchvision_sets.read(description, description.source)


def _from_other_clone(description: Description, tell: Tell) -> dict[str, Arrays] | None:
    """The arrays in the folder `data` of another clone, if `DATA_DIR` names one that has them."""
    setting = os.environ.get("DATA_DIR")
    if not setting:
        return None
    folder = resolve(setting) / description.name
    try:
        if not description.digests:
            raise UserError(f"{path(description.name)} has no digests to verify its arrays")
        splits = {name: arrays.read(name, folder) for name in arrays.SPLITS}
        _verify(description, splits, tell)
    except UserError as error:
        tell(f"skipped DATA_DIR: {error}")
        return None
    tell(f"{description.name}: from {folder}")
    return splits


def _verify(description: Description, splits: Mapping[str, Arrays], tell: Tell) -> None:
    """Raise `UserError` unless the digests are those of the description; without any, tell them."""
    for name, split in splits.items():
        digest = split.digest()
        if not description.digests:
            tell(f"{name}: not verified; its digest for {path(description.name)}: {digest}")
        elif digest != getattr(description.digests, name):
            raise UserError(
                f"{name}: the examples are not those of {path(description.name)} (their digest is "
                f"{digest}); if they changed on purpose, run `python src/describe.py SOURCE "
                "--force`"
            )
