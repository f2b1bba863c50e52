"""The descriptions of the data sets in `datasets/`."""

import os
from pathlib import Path

from mnist_cnn.datasets import description

# Descriptions are found in the root of the project, and some tests work elsewhere.
_before = Path.cwd()
os.chdir(Path(__file__).parents[2])
DESCRIPTIONS = {
    path.stem: description.load(path.stem) for path in sorted(Path("datasets").glob("*.yaml"))
}
os.chdir(_before)

MNIST = DESCRIPTIONS["MNIST"]
FORM = MNIST.form
