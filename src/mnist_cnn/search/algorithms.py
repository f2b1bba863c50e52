"""Optuna's samplers and pruners by the name of their class, with their arguments."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from mnist_cnn.search.space import Range

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, GridSampler, nsgaii
from optuna.trial import FrozenTrial, TrialState

_KINDS: dict[str, tuple[ModuleType, type]] = {
    "sampler": (optuna.samplers, BaseSampler),
    "pruner": (optuna.pruners, BasePruner),
    "crossover": (nsgaii, nsgaii.BaseCrossover),  # of NSGA-II
    "mutation": (nsgaii, object),
}
"""Where the classes of each kind are, and the base of those that can be built."""


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
    if described.get("name") == GridSampler.__name__:
        if any(range_.only_if for range_ in space.values()):
            raise ValueError("GridSampler takes no only_if; BruteForceSampler does")
        defaults["search_space"] = {name: range_.values() for name, range_ in space.items()}
    return _Rounded(_build("sampler", described, defaults))


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
    accepted = inspect.signature(classes[name]).parameters
    if "seed" in arguments:
        raise ValueError(f"{kind}.seed: it is tune.seed")
    for key, value in arguments.items():
        if isinstance(value, Mapping) and (inner := key.rpartition("_")[2]) in _KINDS:
            arguments[key] = _build(inner, value, defaults)
    given = {key: value for key, value in defaults.items() if key in accepted} | arguments
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            return classes[name](**given)
    except Exception as error:  # Optuna checks arguments in any way, or not at all
        reason = " ".join(str(error).split()).removeprefix(f"{name}.__init__() ")
        raise ValueError(f"{kind}: {name}: {reason}") from None


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
