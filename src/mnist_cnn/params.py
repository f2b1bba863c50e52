"""`params.yaml` as typed values: a section for each stage, and `compute` for all of them.

Each section is defined in the package of its stage. Unknown keys, wrong types and impossible
combinations are errors before any stage begins.
"""

from pathlib import Path

from mnist_cnn import yaml_files
from mnist_cnn.datasets.params import Download
from mnist_cnn.evaluation.params import Evaluate
from mnist_cnn.learning.params import Compute, Train
from mnist_cnn.search.params import Tune


class Params(yaml_files.Section):
    """All of `params.yaml`."""

    compute: Compute
    download: Download
    tune: Tune
    train: Train
    evaluate: Evaluate


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and validate the parameters. Raises `UserError` that names every wrong key."""
    return yaml_files.validate(path, yaml_files.read(path), Params)
