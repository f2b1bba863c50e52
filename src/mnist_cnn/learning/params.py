"""The sections `compute`, `model` and `train` of `params.yaml`."""

from typing import Annotated

from mnist_cnn.learning.arithmetic import Arithmetic
from mnist_cnn.yaml_files import Section

from pydantic import Field, PositiveInt

MAX_TRAIN_SIZE = 60_000

Seed = Annotated[int, Field(ge=0, lt=2**64)]
TrainSize = Annotated[int, Field(ge=1, le=MAX_TRAIN_SIZE)]


class Compute(Section):
    """How every stage computes."""

    arithmetic: Arithmetic
    """`portable`: the same bytes on every x86-64 CPU with AVX2 and FMA. `native`: the fastest
    kernels for the CPU, whose results differ between CPUs."""


class Model(Section):
    """What is trained."""

    network: str
    """The name of a module in `mnist_cnn.networks`."""


class Train(Section):
    """The final training."""

    seed: Seed
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of PyTorch. Their number decides the order of sums, so it changes the result."""
    train_size: TrainSize
