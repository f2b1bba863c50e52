"""What a study found: the best trial, a summary and tables."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from mnist_cnn.errors import UserError
from mnist_cnn.search.trial import State, Trial


def best(trials: Sequence[Trial]) -> Trial:
    """The complete trial with the highest validation accuracy, the first of equals.

    Raises `UserError` if no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        raise UserError("no trial is complete")
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """The number of trials in each state, and the metrics of the best one."""
    winner = best(trials)
    states = Counter(trial.state for trial in trials)
    return {
        "trials": len(trials),
        **{state: states[state] for state in get_args(State)},
        "best_trial": winner.number,
        "validation_accuracy": winner.value,
        "validation_loss": winner.history[-1].validation_loss,
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
