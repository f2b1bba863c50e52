"""Search spaces: the ranges in `params.yaml`, and the same as Optuna's distributions."""

import fractions
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from mnist_cnn.yaml_files import Section

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator


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
    """Numbers from `low` to `high`, on a logarithmic scale if `log`, in multiples of any `step`."""

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
    raise ValueError("expected a finite number, a string, true or false")


class Choices(Section):
    """One of several values, without an order."""

    type: Literal["categorical"]
    choices: Annotated[
        tuple[Annotated[Any, AfterValidator(_check_choice)], ...], Field(min_length=1, strict=False)
    ]


Range = Annotated[IntRange | FloatRange | Choices, Field(discriminator="type")]


def _check_range(range_: IntRange | FloatRange, no_step: int | None) -> None:
    if range_.low > range_.high:
        raise ValueError(f"low {range_.low} is more than high {range_.high}")
    if range_.log and range_.low <= 0:
        raise ValueError(f"low is {range_.low}, but a logarithmic range starts above 0")
    if range_.log and range_.step != no_step:
        raise ValueError(f"step is {range_.step}, but a logarithmic range has no step")
    if range_.step:
        # In decimal: 0.3 is three times 0.1, which their binary values are not.
        low, high, step = (
            fractions.Fraction(str(number)) for number in (range_.low, range_.high, range_.step)
        )
        if (high - low) % step:
            raise ValueError(f"steps of {range_.step} from {range_.low} do not reach {range_.high}")


def extremes(range_: IntRange | FloatRange | Choices) -> tuple[Any, ...]:
    """The lowest and the highest value of a range, or all choices."""
    return range_.choices if isinstance(range_, Choices) else (range_.low, range_.high)


def distributions(space: Mapping[str, Range]) -> dict[str, BaseDistribution]:
    """A search space as Optuna's distributions, in order of name: the order decides proposals."""
    return {name: _distribution(space[name]) for name in sorted(space)}


def _distribution(range_: Range) -> BaseDistribution:
    if isinstance(range_, Choices):
        return CategoricalDistribution(range_.choices)
    if isinstance(range_, IntRange):
        return IntDistribution(range_.low, range_.high, log=range_.log, step=range_.step)
    return FloatDistribution(range_.low, range_.high, log=range_.log, step=range_.step)
