"""`params.yaml` as typed values: a section for each stage, and some for several of them.

Each section is defined in the package of its stage. Unknown keys, wrong types and impossible
combinations are errors before any stage begins. The data set must be described in `datasets/`.
"""

from pathlib import Path
from typing import Self

from mnist_cnn import yaml_files
from mnist_cnn.datasets import description
from mnist_cnn.datasets.params import Download
from mnist_cnn.evaluation.params import Evaluate
from mnist_cnn.learning.params import Compute, Model, Train
from mnist_cnn.search import proposals
from mnist_cnn.search.params import Tune, check_networks

from pydantic import model_validator


class Params(yaml_files.Section):
    """All of `params.yaml`."""

    compute: Compute
    download: Download
    model: Model
    tune: Tune
    train: Train
    evaluate: Evaluate

    @model_validator(mode="after")
    def _check(self) -> Self:
        check_networks(self.tune, self.model.network, description.load(self.download.dataset).form)
        proposals.check(self.tune)
        return self


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and validate the parameters. Raises `UserError` that names every wrong key."""
    return yaml_files.validate(path, yaml_files.read(path), Params)
