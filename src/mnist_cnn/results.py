"""A finished trial, and what is told of those of a study: the best one, a summary, tables.

Knows nothing of how trials are chosen or run.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

from mnist_cnn.errors import UserError
from mnist_cnn.training import Epoch

State = Literal["complete", "pruned", "failed"]


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    number: int  # from 0
    hyperparameters: dict[str, Any]
    """Those searched."""
    state: State
    history: tuple[Epoch, ...]
    times: tuple[float, ...]
    """Unix time in seconds of the start and of the end of each epoch and of the trial.

    Of a trial that was continued, they are those of its last part, in which epochs that a
    checkpoint kept take no time.
    """
    error: str | None = None
    """The traceback of a trial that failed."""

    @property
    def value(self) -> float | None:
        """The validation accuracy after the last epoch."""
        return self.history[-1].validation_accuracy if self.history else None


def best(trials: Sequence[Trial]) -> Trial:
    """The complete trial of the highest validation accuracy, the earliest of equals.

    Raises `UserError` when no trial is complete.
    """
    complete = _complete(trials)
    if not complete:
        raise UserError("no trial was completed")
    return max(complete, key=lambda trial: (trial.value or 0.0, -trial.number))


def summary(trials: Sequence[Trial]) -> dict[str, Any]:
    """How many trials ended how, and the figures of the best one."""
    winner = best(trials)
    states = Counter(trial.state for trial in trials)
    return {
        "trials": len(trials),
        **{state: states[state] for state in get_args(State)},
        "best_trial": winner.number,
        "validation_accuracy": winner.value,
        "validation_loss": winner.history[-1].validation_loss,
    }


def describe(trial: Trial) -> str:
    """A trial in one line: how it ended, its validation accuracy, and why it failed."""
    figure = "" if trial.value is None else f" {trial.value:.2%}"
    cause = f" ({cause_of(trial)})" if trial.error else ""
    return f"trial {trial.number:3}: {trial.state}{figure}{cause}"


def describe_best(trials: Sequence[Trial]) -> str:
    """The highest validation accuracy of complete trials, in short; nothing where there is none."""
    complete = _complete(trials)
    return f"best {best(complete).value or 0.0:.2%}" if complete else ""


def _complete(trials: Sequence[Trial]) -> list[Trial]:
    return [trial for trial in trials if trial.state == "complete"]


def cause_of(trial: Trial) -> str:
    """The last line of the traceback of a failed trial."""
    return (trial.error or "").strip().rsplit("\n", 1)[-1]


def table(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A row a trial: its number, its state, the figures of its last epoch, its hyperparameters."""
    return [
        {"number": trial.number, "state": trial.state}
        | (trial.history[-1].row() if trial.history else {})
        | trial.hyperparameters
        for trial in trials
    ]


def epochs_table(trials: Sequence[Trial]) -> list[dict[str, Any]]:
    """A row an epoch of a trial: the trial's number and the figures of the epoch."""
    return [{"number": trial.number} | epoch.row() for trial in trials for epoch in trial.history]
