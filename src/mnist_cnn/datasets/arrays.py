"""The canonical form of a data set: plain arrays in `data/<name>/`, whatever it was made from.

dataset.json              its metadata
train/images.npy          uint8 (n, channels, height, width)
train/labels.npy          int64 (n,)
test/…                    the same
"""

import hashlib
import io
from pathlib import Path
from typing import NamedTuple

from mnist_cnn import files, yaml_files
from mnist_cnn.datasets.description import Form, Metadata
from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray

SPLITS = ("train", "test")
METADATA = "dataset.json"


class Arrays(NamedTuple):
    """Images `uint8 (n, channels, height, width)` and labels `int64 (n,)`."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    @property
    def form(self) -> Form:
        """The form of the images, and the number of classes."""
        _, channels, height, width = self.images.shape
        return Form(channels, height, width, classes=int(self.labels.max()) + 1)

    def digest(self) -> str:
        """The MD5 of all pixels and labels, in hexadecimal."""
        content = hashlib.md5(np.ascontiguousarray(self.images).data, usedforsecurity=False)
        content.update(np.ascontiguousarray(self.labels).data)
        return content.hexdigest()


def folder(name: str) -> Path:
    """The folder of a data set."""
    return Path("data", name)


def check(arrays: Arrays, name: str, form: Form | None = None) -> None:
    """Raise `UserError`, naming `name`, unless images and labels belong together.

    Every class must occur. If a form is given, the images must have it.
    """
    images, labels = arrays
    shape = form[:3] if form else images.shape[1:]
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        expected = shape if form else "(n, channels, height, width)"
        raise UserError(f"{name}: images {images.dtype} {images.shape}, expected uint8 {expected}")
    if labels.dtype != np.int64 or labels.shape != images.shape[:1]:
        raise UserError(f"{name}: {len(images)} images, but labels {labels.dtype} {labels.shape}")
    found = set(np.unique(labels).tolist())
    classes = set(range(form.classes if form else max(found, default=0) + 1))
    if missing := classes - found:
        raise UserError(f"{name}: no image of class {', '.join(map(str, sorted(missing)))}")
    if unknown := found - classes:
        raise UserError(f"{name}: unknown label {', '.join(map(str, sorted(unknown)))}")


def write(arrays: Arrays, folder: Path) -> None:
    """Write the files of one split."""
    for name, array in arrays._asdict().items():
        content = io.BytesIO()
        np.save(content, array, allow_pickle=False)
        files.write_bytes(folder / f"{name}.npy", content.getvalue())


def read(split: str, folder: Path) -> Arrays:
    """The arrays of the split `train` or `test` of the data set in a folder.

    The images stay on disk, and are read when they are used. Raises `UserError` if a file is
    missing or is not what `write` writes.
    """
    found = []
    for name in Arrays._fields:
        path = folder / split / f"{name}.npy"
        try:
            # Copied on write: PyTorch takes no array that is read-only.
            found.append(np.load(path, mmap_mode="c", allow_pickle=False))
        except FileNotFoundError:
            raise UserError(f"{path}: missing; `dvc repro download` writes it") from None
        except (ValueError, EOFError, OSError):
            raise UserError(f"{path}: damaged; `dvc repro --force download` writes it") from None
    arrays = Arrays(*found)
    check(arrays, f"{folder / split}")
    return arrays


def read_metadata(folder: Path) -> Metadata:
    """The metadata of the data set in a folder. Raises `UserError`."""
    path = folder / METADATA
    if not path.exists():
        raise UserError(f"{path}: missing; `dvc repro download` writes it")
    return yaml_files.validate(path, yaml_files.read(path), Metadata)  # JSON is YAML
