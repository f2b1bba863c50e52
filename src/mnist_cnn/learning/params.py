"""The sections `compute`, `model` and `train` of `params.yaml`."""

from typing import Annotated, Any, Literal

from mnist_cnn import networks
from mnist_cnn.learning.arithmetic import Arithmetic
from mnist_cnn.yaml_files import Section

from pydantic import AfterValidator, BeforeValidator, Field, PositiveInt

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


def _check_network(name: str) -> str:
    networks.config(name)
    return name


class Model(Section):
    """What is trained."""

    network: Annotated[str, AfterValidator(_check_network)]
    """The name of a module in `mnist_cnn.networks`."""


class Train(Section):
    """The final training."""

    seed: Seed
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of PyTorch. Their number decides the order of sums, so it changes the result."""
    train_size: Size
