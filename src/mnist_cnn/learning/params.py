"""Hyperparameters, and the sections `compute` and `train` of `params.yaml`."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from mnist_cnn import yaml_files
from mnist_cnn.datasets.idx import IMAGE_SIZE
from mnist_cnn.learning.arithmetic import Arithmetic
from mnist_cnn.yaml_files import Section

from pydantic import Field, PositiveFloat, PositiveInt, model_validator

MAX_TRAIN_SIZE = 60_000

Seed = Annotated[int, Field(ge=0, lt=2**64)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
TrainSize = Annotated[int, Field(ge=1, le=MAX_TRAIN_SIZE)]

_WIDTHS = {
    "conv": re.compile(r"conv[1-9][0-9]*_out_channels"),
    "fc": re.compile(r"fc[1-9][0-9]*_out_features"),
}


class Compute(Section):
    """How every stage computes."""

    arithmetic: Arithmetic
    """`portable`: the same bytes on every x86-64 CPU with AVX2 and FMA. `native`: the fastest
    kernels for the CPU, whose results differ between CPUs."""


class Train(Section):
    """The final training."""

    seed: Seed
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of PyTorch. Their number decides the order of sums, so it changes the result."""
    train_size: TrainSize


class Hyperparameters(Section):
    """What decides how a network is built and trained, except for the seed and the epochs.

    In files they are flat, so that each can be fixed or tuned: `conv1_out_channels`,
    `conv2_out_channels`, … and `fc1_out_features`, …. There are as many layers as widths, or the
    first `n_conv_layers` and `n_fc_layers` of them.
    """

    conv_layers: tuple[PositiveInt, ...]
    """Output channels of each convolution. Each convolution halves height and width."""
    fc_layers: tuple[PositiveInt, ...]
    """Output features of each hidden linear layer."""
    batch_norm: bool = False
    dropout: Fraction = 0.0
    """Probability of dropping an input of a linear layer."""
    crop: Annotated[int, Field(ge=0, lt=IMAGE_SIZE // 2)] = 0
    """Pixels to cut off at each side. MNIST's digits fill 20 × 20 of 28 × 28 pixels."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    """With `one_cycle`, the highest rate."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    """`one_cycle` (Smith 2018) also moves the momentum (Adam's first beta) from 0.95 to 0.85 and
    back."""
    batch_size: PositiveInt = 64
    label_smoothing: Fraction = 0.0
    """Part of a label that is spread over all classes (Szegedy et al. 2016)."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Largest rotation by augmentation, in degrees."""
    translation: Fraction = 0.1
    """Largest translation by augmentation, as a fraction of the image size."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    @model_validator(mode="before")
    @classmethod
    def _gather_layers(cls, flat: Any) -> Any:
        if not isinstance(flat, dict):
            return flat
        layers = {f"{kind}_layers": _layers(flat, kind) for kind in _WIDTHS}
        if clash := flat.keys() & layers:
            raise ValueError(f"{min(clash)}: unknown; each layer has a key of its own")
        gathered = {f"n_{name}" for name in layers} | {
            key for key in flat for width in _WIDTHS.values() if width.fullmatch(str(key))
        }
        return {key: value for key, value in flat.items() if key not in gathered} | layers

    @model_validator(mode="after")
    def _check_size(self) -> Self:
        size = IMAGE_SIZE - 2 * self.crop
        most = size.bit_length() - 1
        if len(self.conv_layers) > most:
            raise ValueError(f"at most {most} convolutions, as each halves the {size} pixels")
        return self


def load_hyperparameters(path: Path) -> tuple[dict[str, Any], Hyperparameters]:
    """Read `best_params.json`: flat as in the file, and validated. Raises `UserError`."""
    flat = yaml_files.read(path)  # JSON is YAML
    return flat, yaml_files.validate(path, flat, Hyperparameters)


def _layers(flat: dict[str, Any], kind: str) -> tuple[int, ...]:
    """The widths of the layers of one kind, in order; the first `n_…_layers` if that is set."""
    widths = {key: flat[key] for key in flat if _WIDTHS[kind].fullmatch(str(key))}
    for key, width in widths.items():
        if type(width) is not int or width < 1:
            raise ValueError(f"{key} is {width!r}, expected a whole number, 1 or more")
    in_order = sorted(widths, key=lambda key: int(re.sub(r"\D", "", key)))
    numbered = [re.sub(r"\d+", str(i), key, count=1) for i, key in enumerate(in_order, 1)]
    if in_order != numbered:
        raise ValueError(f"{min(set(numbered) - set(in_order))} missing before {in_order[-1]}")
    count = flat.get(f"n_{kind}_layers", len(widths))
    if type(count) is not int or not 0 <= count <= len(widths):
        raise ValueError(
            f"n_{kind}_layers is {count!r}, expected 0 to {len(widths)}, the number of widths"
        )
    return tuple(widths[key] for key in in_order[:count])
