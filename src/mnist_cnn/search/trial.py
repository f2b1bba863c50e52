"""A trial: a pure function of hyperparameters, seed, earlier results and data.

It touches no study and no storage.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from mnist_cnn.datasets.description import Form
from mnist_cnn.learning import compute
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import parse
from mnist_cnn.learning.training import Epoch, build, fit
from mnist_cnn.search.params import Objective, Pruner, Tune

import optuna
from optuna.trial import FrozenTrial

State = Literal["complete", "pruned", "failed"]

ObjectiveFunction = Callable[[dict[str, Any], int, Path | None], Iterator[Epoch]]
"""Takes hyperparameters, a seed and the file for a checkpoint; yields each epoch when it ends."""


@dataclass(frozen=True)
class Trial:
    """A finished trial."""

    number: int  # from 0
    hyperparameters: dict[str, Any]
    """The tuned ones."""
    state: State
    history: tuple[Epoch, ...]
    times: tuple[float, ...]
    """Unix times in seconds: the start, the end of each epoch, the end.

    Of a resumed trial they are those of its last part, in which finished epochs take no time.
    """
    value: float | None = None
    """The metric of the objective after the last epoch; None if the trial failed."""
    error: str | None = None
    """The traceback of a failed trial."""

    @property
    def cause(self) -> str:
        """The last line of the traceback; empty unless the trial failed."""
        return (self.error or "").strip().rsplit("\n", 1)[-1]

    def describe(self, objective: Objective) -> str:
        """The trial in one line."""
        value = "" if self.value is None else f" {objective.format(self.value)}"
        cause = f" ({self.cause})" if self.error else ""
        return f"trial {self.number:3}: {self.state}{value}{cause}"


def train_network(
    hyperparameters: dict[str, Any],
    seed: int,
    checkpoint: Path | None,
    *,
    tune: Tune,
    network: str,
    form: Form,
    train: Examples,
    validation: Examples,
) -> Iterator[Epoch]:
    """The objective of this project: train a network with these and the fixed hyperparameters."""
    device = compute.configure(tune.threads)
    complete = parse(tune.hyperparameters | hyperparameters, network)
    return fit(
        build(complete, form, seed).to(device),
        complete,
        train.to(device),
        validation.to(device),
        epochs=tune.epochs,
        seed=seed,
        checkpoint=checkpoint,
    )


def run(
    objective: ObjectiveFunction,
    number: int,
    hyperparameters: dict[str, Any],
    seed: int,
    earlier: Sequence[FrozenTrial],
    tune: Tune,
    checkpoint: Path | None,
) -> Trial:
    """Run a trial until it ends or is pruned.

    Args:
        objective: computes the epochs.
        number: of the trial.
        hyperparameters: the tuned ones.
        seed: of the training.
        earlier: complete trials of earlier rounds to compare with; only their values are used.
        tune: for the pruner and the number of epochs.
        checkpoint: the file for the state of the training.

    An exception in the objective makes the trial failed. Only `OSError` is raised.
    """
    # A study in memory, for the pruner.
    study = optuna.create_study(direction=tune.objective.direction, pruner=_pruner(tune.pruner))
    study.add_trials(earlier)
    running = study.ask()
    history: list[Epoch] = []
    times = [time.time()]
    state: State = "complete"
    value: float | None = None
    error = None
    try:
        for epoch in objective(hyperparameters, seed, checkpoint):
            history.append(epoch)
            times.append(time.time())
            value = epoch.metrics()[tune.objective.metric]
            running.report(value, epoch.epoch)
            if epoch.epoch < tune.epochs and running.should_prune():
                state = "pruned"
                break
    except OSError:
        raise  # a fault of the machine: the search stops, and continues when it is fixed
    except Exception:
        state, value, error = "failed", None, traceback.format_exc()
    times.append(time.time())
    return Trial(number, hyperparameters, state, tuple(history), tuple(times), value, error)


def _pruner(pruner: Pruner) -> optuna.pruners.BasePruner:
    if pruner.name == "none":
        return optuna.pruners.NopPruner()
    # Optuna counts steps from 0; epochs count from 1.
    return optuna.pruners.MedianPruner(
        n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.warmup_epochs + 1
    )
