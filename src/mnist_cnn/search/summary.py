"""What a study found: the best trials, a summary and tables."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, get_args

from mnist_cnn.errors import UserError
from mnist_cnn.search.params import Objective
from mnist_cnn.search.trial import State, Trial


def ranked(trials: Sequence[Trial], objective: Objective) -> list[Trial]:
    """The complete trials, the best first: by value, then by validation loss, then by number.

    Raises `UserError` if no trial is complete.
    """
    complete = [trial for trial in trials if trial.state == "complete"]
    if not complete:
        raise UserError("no trial is complete")
    return sorted(
        complete,
        key=lambda trial: (
            objective.sign * trial.history[-1].metrics()[objective.metric],
            trial.history[-1].validation_loss,
            trial.number,
        ),
    )


def summary(trials: Sequence[Trial]) -> dict[str, int]:
    """The number of trials, and of those in each state."""
    states = Counter(trial.state for trial in trials)
    return {"trials": len(trials), **{state: states[state] for state in get_args(State)}}


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
