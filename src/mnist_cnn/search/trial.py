"""A trial: a pure function of hyperparameters, seed, earlier results and data.

It touches no study and no storage.
"""

import errno
import re
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from mnist_cnn.datasets.description import Form
from mnist_cnn.errors import FailedJobError
from mnist_cnn.learning import compute
from mnist_cnn.learning.compute import Device
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import parse
from mnist_cnn.learning.training import Epoch, Precision, build, fit
from mnist_cnn.search import algorithms
from mnist_cnn.search.params import Objective, Tune

import optuna
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import FrozenTrial

optuna.logging.set_verbosity(optuna.logging.WARNING)

State = Literal["complete", "pruned", "failed"]

ObjectiveFunction = Callable[[dict[str, Any], int, int, Path | None], Iterator[Epoch]]
"""Takes hyperparameters, a seed, the number of epochs and the file for a checkpoint. Yields each
epoch when it ends."""


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
    """Of a failed trial: why it diverged, or the traceback of another exception."""
    pruner_attrs: Mapping[str, Any] = field(default_factory=dict)
    """What the pruner keeps with the trial, to compare later ones with."""

    @property
    def cause(self) -> str:
        """The error in one line; empty unless the trial failed."""
        return (self.error or "").strip().rsplit("\n", 1)[-1]

    @property
    def traceback(self) -> str:
        """The traceback of a trial that failed unexpectedly; else empty."""
        error = (self.error or "").rstrip()
        return error if "\n" in error else ""

    def describe(self, objective: Objective) -> str:
        """The trial in one line."""
        value = "" if self.value is None else f" {objective.format(self.value)}"
        after = f" after {count(len(self.history), 'epoch')}" if self.state == "pruned" else ""
        cause = f" ({self.cause})" if self.error else ""
        return f"trial {self.number:3}: {self.state}{value}{after}{cause}"


def count(number: int, noun: str) -> str:
    """A number and a noun: `1 epoch`, `2 epochs`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def train_network(
    hyperparameters: dict[str, Any],
    seed: int,
    epochs: int,
    checkpoint: Path | None,
    *,
    tune: Tune,
    device: Device,
    precision: Precision,
    network: str,
    form: Form,
    train: Examples,
    validation: Examples,
) -> Iterator[Epoch]:
    """The objective of this project: train a network with these and the fixed hyperparameters."""
    compute.configure(tune.threads)
    where = compute.device(device)
    complete = parse(tune.hyperparameters | hyperparameters, network)
    return fit(
        build(complete, form, seed).to(where),
        complete,
        train.to(where),
        validation.to(where),
        epochs=epochs,
        seed=seed,
        precision=precision,
        checkpoint=checkpoint,
    )


@dataclass(frozen=True)
class Task:
    """A trial to run, with all that determines it. Calling it runs the trial."""

    objective: ObjectiveFunction
    number: int
    hyperparameters: dict[str, Any]
    """The tuned ones."""
    seed: int
    """Of the training."""
    earlier: Sequence[FrozenTrial]
    """All trials with a lower number. The pruner compares with their values; those that count as
    running have none."""
    tune: Tune
    """For the pruner and the number of epochs."""
    checkpoint: Path | None
    """The file for the state of the training."""

    def __call__(self) -> Trial:
        """Run the trial until it ends or is pruned. Raises what `run` raises."""
        *_, trial = self.run()
        return cast(Trial, trial)

    def run(self) -> Iterator[Epoch | Trial]:
        """Run the trial: yield each epoch when it ends, and at last the trial.

        An exception in the objective makes the trial failed. Only faults of the machine are raised:
        `OSError`, and `OutOfMemory`.
        """
        study = study_in_memory(self.tune, RandomSampler(), algorithms.pruner(self.tune.pruner))
        study.add_trials(self.earlier)
        running = study.ask()
        if running.number != self.number:  # Hyperband chooses the bracket by it
            raise ValueError(f"trial {self.number} has {len(self.earlier)} earlier trials")
        history: list[Epoch] = []
        times = [time.time()]
        state: State = "complete"
        value: float | None = None
        error, out_of_memory = None, False
        try:
            for epoch in self.objective(
                self.hyperparameters, self.seed, self.tune.epochs, self.checkpoint
            ):
                history.append(epoch)
                times.append(time.time())
                value = epoch.metrics()[self.tune.objective.metric]
                yield epoch
                running.report(value, epoch.epoch)
                if epoch.epoch < self.tune.epochs and running.should_prune():
                    state = "pruned"
                    break
        except Exception as cause:
            out_of_memory = _is_out_of_memory(cause)
            if isinstance(cause, OSError) and not out_of_memory:
                raise  # the search stops, and continues when it is fixed
            # How a training diverged needs no traceback.
            expected = isinstance(cause, FailedJobError)
            error = str(cause) if expected else traceback.format_exc()
            state, value = "failed", None
        times.append(time.time())
        attrs = study.get_trials(deepcopy=False)[-1].system_attrs
        trial = Trial(
            number=self.number,
            hyperparameters=self.hyperparameters,
            state=state,
            history=tuple(history),
            times=tuple(times),
            value=value,
            error=error,
            pruner_attrs=dict(attrs),
        )
        if out_of_memory:
            raise OutOfMemory(trial)
        yield trial


class OutOfMemory(Exception):  # noqa: N818
    """A trial failed for want of memory, perhaps because of those that ran beside it."""

    def __init__(self, trial: Trial) -> None:
        super().__init__(trial)
        self.trial = trial


# What PyTorch and the libraries below it say; only the memory of a GPU has a class of its own.
_LACK = re.compile(
    "out of memory|(can't|cannot) allocate memory|ALLOC_FAILED|bad_alloc", re.IGNORECASE
)


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    lacks = isinstance(error, RuntimeError) and _LACK.search(str(error))
    return bool(lacks) or isinstance(error, MemoryError)


def study_in_memory(tune: Tune, sampler: BaseSampler, pruner: BasePruner) -> optuna.Study:
    """An empty study that is not stored.

    Its name is fixed, because Hyperband chooses the bracket of a trial by it.
    """
    study = optuna.create_study(
        study_name="mnist-cnn", direction=tune.objective.direction, sampler=sampler, pruner=pruner
    )
    # A sampler with a grid calls this at its end. Optuna refuses that outside of `optimize`.
    study.stop = lambda: None
    return study
