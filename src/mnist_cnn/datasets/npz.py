"""Arrays in a NumPy archive, as those of a data set."""

from pathlib import Path

from mnist_cnn.datasets.arrays import Arrays, check
from mnist_cnn.datasets.description import Npz, resolve
from mnist_cnn.datasets.split import split
from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray


def read(source: Npz) -> dict[str, Arrays]:
    """Both splits. Raises `UserError` if the file is missing, or has no such arrays."""
    path = resolve(source.path)
    splits = read_archive(path)
    return splits if "test" in splits else split(splits["train"], source.test_fraction)


def read_archive(path: Path) -> dict[str, Arrays]:
    """The arrays of an archive: `train` and `test`, or all as `train`. Raises `UserError`."""
    if not path.is_file():
        raise UserError(f"{path}: missing")
    try:
        with np.load(path, allow_pickle=False) as archive:
            found = dict(archive)
    except Exception:  # whatever the file is
        raise UserError(f"{path}: not an archive of plain arrays") from None
    prefixes = {"train": ""} if "images" in found else {"train": "train_", "test": "test_"}
    splits = {}
    for name, prefix in prefixes.items():
        images, labels = f"{prefix}images", f"{prefix}labels"
        if missing := {images, labels} - found.keys():
            raise UserError(f"{path}: has no array {min(missing)}")
        splits[name] = _arrays(found[images], found[labels], f"{path}: {name}")
    return splits


def _arrays(images: NDArray[np.uint8], labels: NDArray[np.int64], name: str) -> Arrays:
    if images.ndim == 3:
        images = images[:, np.newaxis]
    elif images.ndim == 4 and images.shape[1] not in (1, 3) and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if not np.issubdtype(labels.dtype, np.integer):
        raise UserError(f"{name}: labels are {labels.dtype}, expected whole numbers")
    arrays = Arrays(images, labels.astype(np.int64))
    check(arrays, name)
    return arrays
