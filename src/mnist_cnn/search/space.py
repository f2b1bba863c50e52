"""Search spaces: the ranges in `params.yaml`, and which of them a trial has."""

import math
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Literal, Self

from mnist_cnn.yaml_files import Section

from optuna.trial import BaseTrial
from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, model_validator


class Conditional(Section):
    """The base of all ranges."""

    only_if: dict[str, Any] = Field(default_factory=dict)
    """Other hyperparameters, with the value of each, or a list of values, at which this one is
    tuned. Otherwise the trial does not have it."""

    def is_met(self, known: Mapping[str, Any]) -> bool:
        """Whether hyperparameters have such values."""
        return all(known.get(key) in _as_list(values) for key, values in self.only_if.items())


class IntRange(Conditional):
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

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """The value that Optuna proposes."""
        return int(trial.suggest_int(name, self.low, self.high, step=self.step, log=self.log))

    def values(self) -> list[int]:
        """All values."""
        return list(range(self.low, self.high + 1, self.step))


class FloatRange(Conditional):
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

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """The value that Optuna proposes."""
        return float(trial.suggest_float(name, self.low, self.high, step=self.step, log=self.log))

    def values(self) -> list[float]:
        """All values. Raises `ValueError` if there is no step."""
        if not self.step:
            raise ValueError("GridSampler takes no float without a step")
        low, high, step = _exact(self)
        return [float(low + i * step) for i in range(int((high - low) / step) + 1)]


def _check_choice(choice: Any) -> Any:
    if isinstance(choice, str) or (isinstance(choice, int | float) and math.isfinite(choice)):
        return choice
    raise ValueError("expected a finite number, a string, true or false")


class Choices(Conditional):
    """One of several values, without an order."""

    type: Literal["categorical"]
    choices: Annotated[
        tuple[Annotated[Any, AfterValidator(_check_choice)], ...], Field(min_length=1, strict=False)
    ]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if len(set(self.choices)) < len(self.choices):
            raise ValueError("two choices are equal")
        return self

    def suggest(self, trial: BaseTrial, name: str) -> Any:
        """The value that Optuna proposes."""
        return trial.suggest_categorical(name, self.choices)

    def values(self) -> list[Any]:
        """All values."""
        return list(self.choices)


Range = Annotated[IntRange | FloatRange | Choices, Field(discriminator="type")]


def _check_range(range_: IntRange | FloatRange, no_step: int | None) -> None:
    if range_.low > range_.high:
        raise ValueError(f"low {range_.low} is more than high {range_.high}")
    if range_.log and range_.low <= 0:
        raise ValueError(f"low is {range_.low}, but a logarithmic range starts above 0")
    if range_.log and range_.step != no_step:
        raise ValueError(f"step is {range_.step}, but a logarithmic range has no step")
    if range_.step:
        low, high, step = _exact(range_)
        if (high - low) % step:
            raise ValueError(f"steps of {range_.step} from {range_.low} do not reach {range_.high}")


def _exact(range_: IntRange | FloatRange) -> tuple[Fraction, Fraction, Fraction]:
    """Low, high and step in decimal: 0.3 is three times 0.1, which their binary values are not."""
    low, high, step = (Fraction(str(x)) for x in (range_.low, range_.high, range_.step))
    return low, high, step


def extremes(range_: IntRange | FloatRange | Choices) -> tuple[Any, ...]:
    """The lowest and the highest value of a range, or all choices."""
    return range_.choices if isinstance(range_, Choices) else (range_.low, range_.high)


def choose(
    space: Mapping[str, Range], fixed: Mapping[str, Any], value: Callable[[str, Range], Any]
) -> dict[str, Any]:
    """The tuned hyperparameters of a trial: a value for each whose conditions are met.

    Args:
        space: the ranges by name.
        fixed: the other hyperparameters, on which conditions can depend as well.
        value: chooses one, given the name and the range.
    """
    chosen: dict[str, Any] = {}
    for name in _in_order(space):
        if space[name].is_met({**fixed, **chosen}):
            chosen[name] = value(name, space[name])
    return chosen


def suggest(
    trial: BaseTrial, space: Mapping[str, Range], fixed: Mapping[str, Any]
) -> dict[str, Any]:
    """The hyperparameters that Optuna proposes for a trial.

    Raises `ValueError` if a value is out of range, as Optuna allows a sampler's arguments to be.
    """

    def value(name: str, range_: Range) -> Any:
        suggested = range_.suggest(trial, name)
        if not isinstance(range_, Choices) and not range_.low <= suggested <= range_.high:
            raise ValueError(f"{name}: {suggested} is not from {range_.low} to {range_.high}")
        return suggested

    return choose(space, fixed, value)


def corners(
    space: Mapping[str, Range], fixed: Mapping[str, Any]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Hyperparameters at the ends of each range, with words about where they are.

    Raises `ValueError` for a condition that no trial can meet.
    """
    ends = {name: extremes(space[name]) for name in _in_order(space)}
    lowest = {name: values[0] for name, values in ends.items()}
    highest = {name: values[-1] for name, values in ends.items()}

    def at(values: Mapping[str, Any]) -> dict[str, Any]:
        return choose(space, fixed, lambda name, _: values[name])

    yield "hyperparameters and search_space", at(lowest)
    for name, values in ends.items():
        needed = _conditions(name, space)
        for value in values:
            corner = at(lowest | needed | {name: value})
            if name not in corner:
                raise ValueError(f"search_space.{name}: its only_if is never met")
            yield f"search_space.{name} at {value}", corner
    # Two can be valid alone and invalid together, as many convolutions and a large crop.
    yield "search_space at its highest", at(highest)


def _in_order(space: Mapping[str, Range]) -> list[str]:
    """The names, each after those in its conditions.

    The order decides proposals, so it does not depend on the order in the file.
    """
    graph = {name: sorted(space[name].only_if.keys() & space.keys()) for name in sorted(space)}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = ", ".join(error.args[1])
        raise ValueError(f"search_space: conditions in a circle: {circle}") from None


def _conditions(name: str, space: Mapping[str, Range]) -> dict[str, Any]:
    """Values of other tuned hyperparameters at which this one is tuned; None if there is none."""
    allowed: dict[str, list[Any]] = {}
    for key in (name, *reversed(_in_order(space))):
        if key == name or key in allowed:
            for other, values in space[key].only_if.items():
                if other in space:
                    possible = [value for value in _as_list(values) if _has(space[other], value)]
                    allowed[other] = [v for v in allowed.get(other, possible) if v in possible]
    return {key: next(iter(values), None) for key, values in allowed.items()}


def _as_list(values: Any) -> list[Any]:
    return values if isinstance(values, list) else [values]


def _has(range_: Range, value: Any) -> bool:
    if isinstance(range_, FloatRange) and not range_.step:
        return False  # a trial would hardly ever have this value
    return value in range_.values()
