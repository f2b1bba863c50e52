"""The sections `compute`, `model` and `train` of `params.yaml`."""

from typing import Annotated, Any, Literal, Self

from mnist_cnn import networks
from mnist_cnn.learning.arithmetic import Arithmetic
from mnist_cnn.learning.compute import Device
from mnist_cnn.learning.training import Precision
from mnist_cnn.yaml_files import Section

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt, model_validator

Seed = Annotated[int, Field(ge=0, lt=2**64)]


def _check_size(size: Any) -> Any:
    if size == "all" or (type(size) is int and size >= 1):
        return size
    raise ValueError("expected a whole number, 1 or more, or all")


Size = Annotated[int | Literal["all"], BeforeValidator(_check_size)]
"""A number of examples, or all that are left."""


class Compute(Section):
    """How every stage computes."""

    arithmetic: Arithmetic
    """`portable`: the same bytes on every x86-64 CPU with AVX2 and FMA. `native`: the fastest
    kernels for the CPU, whose results differ between CPUs."""
    device: Device
    """`cpu`, `cuda` (a GPU), or `auto`: a GPU if there is one. A GPU gives other results, the same
    twice on the same model."""
    precision: Precision
    """Of convolutions and matrix products in a training on a GPU. A CPU uses `float32`."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.precision == "bfloat16" and self.device == "cpu":
            raise ValueError("precision bfloat16 needs device cuda or auto")
        return self


def _check_network(name: str) -> str:
    networks.config(name)
    return name


class Model(Section):
    """What is trained."""

    network: Annotated[str, AfterValidator(_check_network)]
    """The name of a module in `mnist_cnn.networks`."""


class Train(Section):
    """The final training."""

    ensemble: PositiveInt
    """The number of networks, each with a seed of its own, whose probabilities are averaged."""
    seed: Seed
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of PyTorch. Their number decides the order of sums, so it changes the result."""
    train_size: Size
