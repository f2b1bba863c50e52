"""What Optuna proposes for each trial: a function of the seed and of the results alone."""

from typing import Any

from mnist_cnn.search import algorithms
from mnist_cnn.search.params import Tune
from mnist_cnn.search.space import suggest
from mnist_cnn.search.trial import State, Trial, study_in_memory

import optuna
from optuna.trial import TrialState

STATES: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}
"""Optuna's name for each state."""


def check(tune: Tune) -> None:
    """Raise `ValueError` unless the sampler and the pruner can be built, and propose a trial."""
    try:
        Proposals(tune).propose()
    except Exception as error:  # an argument of the wrong type can raise anything
        raise ValueError(f"tune: {' '.join(str(error).split())}") from None


class Proposals:
    """Optuna's sampler with the results that it has seen, in a study in memory.

    Some samplers keep a state that Optuna stores nowhere. So a search that is continued proposes
    and records its finished trials again, which leads to the same state.
    """

    def __init__(self, tune: Tune) -> None:
        sampler = algorithms.sampler(tune.sampler, tune.seed, tune.search_space)
        self._study = study_in_memory(tune, sampler, algorithms.pruner(tune.pruner))
        self._tune = tune
        self._grid = tune.sampler["name"] in algorithms.GRIDS
        self._proposed: list[tuple[optuna.Trial, dict[str, Any]]] = []

    def propose(self) -> dict[str, Any] | None:
        """The hyperparameters of the next trial, or None if a sampler has proposed its whole grid.

        Trials that were proposed and are not recorded yet count as running.
        """
        asked = self._study.ask()
        chosen = suggest(asked, self._tune.search_space, self._tune.hyperparameters)
        if self._grid and any(chosen == earlier for _, earlier in self._proposed):
            return None
        self._proposed.append((asked, chosen))
        return chosen

    def record(self, trial: Trial) -> None:
        """Tell the sampler the result of a trial."""
        asked, _ = self._proposed[trial.number]
        for epoch in trial.history:
            asked.report(epoch.metrics()[self._tune.objective.metric], epoch.epoch)
        value = trial.value if trial.state == "complete" else None
        self._study.tell(asked, value, STATES[trial.state])
