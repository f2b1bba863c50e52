"""What a study found: the best trial, a summary and tables."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from mnist_cnn.errors import UserError
from mnist_cnn.search.params import Objective
from mnist_cnn.search.trial import State, Trial


def best(trials: Sequence[Trial], objective: Objective) -> Trial:
    """The complete trial with the best value, the first of equals.

    Raises `UserError` if no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        raise UserError("no trial is complete")
    sign = 1 if objective.direction == "minimize" else -1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))


def summary(trials: Sequence[Trial], objective: Objective) -> dict[str, Any]:
    """The number of trials in each state, and the metrics of the best one."""
    winner = best(trials, objective)
    last = winner.history[-1]
    states = Counter(trial.state for trial in trials)
    return {
        "trials": len(trials),
        **{state: states[state] for state in get_args(State)},
        "best_trial": winner.number,
        "validation_accuracy": last.validation_accuracy,
        "validation_loss": last.validation_loss,
        objective.metric: last.metrics()[objective.metric],
    }


def trials_table(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A row for each trial: number, state, metrics of its last epoch, hyperparameters."""
    return [
        {"number": trial.number, "state": trial.state}
        | (trial.history[-1].metrics() if trial.history else {})
        | trial.hyperparameters
        for trial in trials
    ]


def epochs_table(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A row for each epoch of each trial: the trial's number and the epoch's metrics."""
    return [
        {"number": trial.number} | epoch.metrics() for trial in trials for epoch in trial.history
    ]
