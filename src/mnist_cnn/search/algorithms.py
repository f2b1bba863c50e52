"""Optuna's samplers and pruners by the name of their class, with their arguments."""

import collections.abc
import inspect
import math
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any, get_type_hints

from mnist_cnn.search.space import Range

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, GridSampler, nsgaii
from optuna.trial import FrozenTrial, TrialState
from pydantic import ConfigDict, TypeAdapter, ValidationError

_KINDS: dict[str, tuple[ModuleType, type]] = {
    "sampler": (optuna.samplers, BaseSampler),
    "pruner": (optuna.pruners, BasePruner),
    "crossover": (nsgaii, nsgaii.BaseCrossover),  # of NSGA-II
    "mutation": (nsgaii, nsgaii.BaseMutation),
}
"""Where the classes of each kind are, and the base of those that can be built."""

GRIDS = ("BruteForceSampler", "GridSampler")
"""Samplers that propose each combination once."""

_MAX_GRID = 100_000

# Names in annotations that Optuna imports for type checkers only.
_NAMES = {
    **vars(collections.abc),
    **{"np": np, "Study": optuna.Study, "FrozenTrial": FrozenTrial, "TrialState": TrialState},
    "BaseDistribution": BaseDistribution,
}


def sampler(described: Mapping[str, Any], seed: int, space: Mapping[str, Range]) -> BaseSampler:
    """A sampler whose proposals have 6 significant digits.

    Args:
        described: the name of a class in `optuna.samplers` under `name`, and its arguments. One
            that is an object itself, such as `base_sampler`, is described in the same way.
        seed: for each sampler that takes one.
        space: the grid of `GridSampler`, unless it is given one.

    Raises `ValueError` for a wrong name or argument.
    """
    defaults: dict[str, Any] = {"seed": seed}
    if described.get("name") == GridSampler.__name__ and "search_space" not in described:
        defaults["search_space"] = _grid(space)
    for value in described.values():
        if isinstance(value, Mapping) and value.get("name") in GRIDS:
            raise ValueError(f"sampler: {value['name']} cannot be part of {described['name']}")
    if unknown := set(described.get("fixed_params", ())) - space.keys():
        raise ValueError(f"sampler.fixed_params: {min(unknown)} is not tuned")
    return _Rounded(_build("sampler", described, defaults))


def _grid(space: Mapping[str, Range]) -> dict[str, list[Any]]:
    if any(range_.only_if for range_ in space.values()):
        raise ValueError("GridSampler takes no only_if; BruteForceSampler does")
    grid = {name: range_.values() for name, range_ in space.items()}
    if (size := math.prod(map(len, grid.values()))) > _MAX_GRID:
        raise ValueError(f"GridSampler: {size:,} combinations are more than {_MAX_GRID:,}")
    return grid


def pruner(described: Mapping[str, Any]) -> BasePruner:
    """A pruner, described in the same way by the name of a class in `optuna.pruners`.

    Raises `ValueError` for a wrong name or argument.
    """
    return _build("pruner", described, {})


def _build(kind: str, described: Mapping[str, Any], defaults: Mapping[str, Any]) -> Any:
    module, base = _KINDS[kind]
    classes = {
        name: found
        for name, found in vars(module).items()
        if inspect.isclass(found) and issubclass(found, base) and not inspect.isabstract(found)
    }
    name, arguments = described.get("name"), {k: v for k, v in described.items() if k != "name"}
    if not isinstance(name, str) or name not in classes:
        known = ", ".join(sorted(classes))
        raise ValueError(f"{kind}.name: {name!r} is unknown; there are {known}")
    if "seed" in arguments:
        raise ValueError(f"{kind}.seed: it is tune.seed")
    for key, value in arguments.items():
        if isinstance(value, Mapping) and (inner := key.rpartition("_")[2]) in _KINDS:
            arguments[key] = _build(inner, value, defaults)
    types = get_type_hints(classes[name].__init__, localns=_NAMES)
    given = {key: value for key, value in defaults.items() if key in types} | arguments
    if types.get("warn_independent_sampling") is bool:  # else it is deprecated
        given.setdefault("warn_independent_sampling", False)  # two lines for each trial
    try:
        for key, value in given.items():
            if key in types:
                _check_type(key, value, types[key])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return classes[name](**given)
    except Exception as error:  # Optuna checks arguments in any way, or not at all
        reason = " ".join(str(error).split()).removeprefix(f"{name}.__init__() ")
        raise ValueError(f"{kind}: {name}: {reason}") from None


def _check_type(name: str, value: Any, expected: Any) -> None:
    try:
        TypeAdapter(expected, config=ConfigDict(arbitrary_types_allowed=True)).validate_python(
            value, strict=True
        )
    except ValidationError as error:
        raise ValueError(f"{name}: {error.errors()[0]['msg']} (found {value!r})") from None


class _Rounded(BaseSampler):  # type: ignore[misc]
    """A sampler with its proposals of numbers rounded to 6 significant digits.

    Their last digits depend on the C library, from which TPE takes `erf`: glibc 2.43 changed it.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self.sampler = sampler

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        space: dict[str, BaseDistribution]
        space = self.sampler.infer_relative_search_space(study, trial)
        return space

    def sample_relative(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        search_space: dict[str, BaseDistribution],
    ) -> dict[str, Any]:
        proposed = self.sampler.sample_relative(study, trial, search_space)
        return {name: _rounded(value, search_space[name]) for name, value in proposed.items()}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        value = self.sampler.sample_independent(study, trial, param_name, param_distribution)
        return _rounded(value, param_distribution)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.sampler.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        self.sampler.after_trial(study, trial, state, values)


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    if not isinstance(distribution, FloatDistribution) or distribution.step:
        return value
    return min(max(float(f"{value:.6g}"), distribution.low), distribution.high)
