"""The hyperparameter search: a study that advances in rounds and ends the same however it is run.

What is tried in a round is a function of the seed and of the trials of earlier rounds alone, and so
is what a trial makes of it. Neither touches a database. Optuna's storage holds nothing but finished
trials, each added whole, so there is no state in which a kill could leave it that matters.

Optuna keeps the history of a study but not the random state of its sampler; therefore the sampler
is made afresh for every trial, from the study's seed and the trial's number.
"""

import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, wait
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mnist_cnn import compute, stores
from mnist_cnn.data import Digits
from mnist_cnn.errors import FailedWorkError
from mnist_cnn.params import Choices, Distribution, Hyperparameters, IntRange, Pruner, Sampler, Tune
from mnist_cnn.results import State, Trial, cause_of
from mnist_cnn.training import Epoch, build, derive_seed, fit

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState, create_trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

Objective = Callable[[dict[str, Any], int, Path | None], Iterator[Epoch]]
"""From hyperparameters, a seed and a path for checkpoints to the figures of each epoch, as it ends.

The validation accuracy of the last epoch is what is maximised.
"""

_STATES: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

_asking = partial(stores.asking, "Optuna's storage", StorageInternalError)


@_asking()
def open_study(name: str, storage: str) -> optuna.Study:
    """The study `mnist-cnn-{name}`, or a new one."""
    with stores.opening(storage):
        return optuna.create_study(
            storage=storage,
            study_name=f"mnist-cnn-{name}",
            direction="maximize",
            load_if_exists=True,
        )


def search(
    tune: Tune,
    objective: Objective,
    study: optuna.Study,
    executor: Executor,
    checkpoints: Path | None = None,
) -> Iterator[Trial]:
    """Run what is missing of the study, and yield all its trials in order of their numbers.

    Args:
        tune: the size of the study and of its rounds, its search space, sampler, pruner and seed.
        objective: called in the executor, so it must pickle where that has processes.
        study: Optuna's record, to which finished trials are added; it may hold some already.
        executor: runs the trials of a round. How many it runs at once changes nothing but time.
        checkpoints: a folder for the state of running trials, which lets a search that was killed
            go on within a trial.

    Raises `FailedWorkError` when every trial has failed.
    """

    def path(number: int) -> Path | None:
        return checkpoints / f"trial-{number:03}.pt" if checkpoints else None

    with _asking():
        trials = [_thaw(frozen) for frozen in study.get_trials()]
    yield from trials
    earlier: list[FrozenTrial] = []
    for start in range(0, tune.trials, tune.round_size):
        numbers = range(start, min(start + tune.round_size, tune.trials))
        earlier += [_freeze(trial, tune.search_space) for trial in trials[len(earlier) : start]]
        if numbers[-1] < len(trials):
            continue
        completed = [
            create_trial(value=trial.value, intermediate_values=trial.intermediate_values)
            for trial in earlier
            if trial.state == TrialState.COMPLETE
        ]
        proposals = zip(numbers, propose(tune, earlier, numbers), strict=True)
        tasks = {
            number: partial(
                run_trial,
                objective,
                number,
                hyperparameters,
                derive_seed(tune.seed, number, 1),
                completed,
                tune,
                path(number),
            )
            for number, hyperparameters in proposals
            if number >= len(trials)  # else it was recorded before a kill
        }
        futures = {number: executor.submit(task) for number, task in tasks.items()}
        for number, future in futures.items():
            try:
                trial = future.result()
            except BrokenExecutor:
                wait(futures.values())
                trial = _run_alone(tasks[number], executor)
            with _asking():
                study.add_trial(_freeze(trial, tune.search_space))
            if checkpoint := path(number):
                checkpoint.unlink(missing_ok=True)
            trials.append(trial)
            yield trial
    if all(trial.state == "failed" for trial in trials):
        raise FailedWorkError(
            f"all {len(trials)} trials failed, the last one: {cause_of(trials[-1])}"
        )


def _run_alone(task: "partial[Trial]", executor: Executor) -> Trial:
    """Run a trial again whose process died, when no other trial wants memory.

    If that kills its process too, it is the trial that does, and not how many there were at once.
    """
    begun = time.time()
    try:
        return executor.submit(task).result()
    except BrokenExecutor:
        _, number, hyperparameters, *_ = task.args
        error = "its process was killed, as happens when memory runs out"
        return Trial(number, hyperparameters, "failed", (), (begun, time.time()), error)


def propose(
    tune: Tune, earlier: Sequence[FrozenTrial], numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """The hyperparameters of the trials of a round, from the trials of earlier rounds."""
    study = optuna.create_study(direction="maximize")
    study.add_trials(earlier)
    space = distributions(tune.search_space)
    proposals = []
    for number in numbers:
        study.sampler = _sampler(tune.sampler, derive_seed(tune.seed, number, 0))
        proposed = study.ask(space).params
        proposals.append({name: _rounded(value, space[name]) for name, value in proposed.items()})
    return proposals


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    """A proposal with 6 significant digits: the last ones depend on the version of the C library.

    Its `erf`, from which TPE draws, rounds differently from glibc 2.43 on.
    """
    if not isinstance(distribution, FloatDistribution) or distribution.step:
        return value
    return min(max(float(f"{value:.6g}"), distribution.low), distribution.high)


def run_trial(
    objective: Objective,
    number: int,
    hyperparameters: dict[str, Any],
    seed: int,
    completed: Sequence[FrozenTrial],
    tune: Tune,
    checkpoint: Path | None,
) -> Trial:
    """Run a trial to its end, or until it is pruned by comparison with those of earlier rounds.

    Of these it is given the completed ones, and of each the values alone: they are all that a
    pruner reads, and a process reads them from another 100 times as fast.

    An exception in the objective makes a failed trial; it is not raised, but for `OSError`.
    """
    study = optuna.create_study(direction="maximize", pruner=_pruner(tune.pruner))
    study.add_trials(completed)
    judge = study.ask()
    history: list[Epoch] = []
    times = [time.time()]
    state: State = "complete"
    error = None
    try:
        for epoch in objective(hyperparameters, seed, checkpoint):
            history.append(epoch)
            times.append(time.time())
            if epoch.validation_accuracy is not None:
                judge.report(epoch.validation_accuracy, epoch.epoch)
            if epoch.epoch < tune.epochs and judge.should_prune():
                state = "pruned"
                break
    except OSError:
        raise  # of the machine, not of the trial: the search stops, and goes on when it is mended
    except Exception:
        state, error = "failed", traceback.format_exc()
    times.append(time.time())
    return Trial(number, hyperparameters, state, tuple(history), tuple(times), error)


def train_network(
    hyperparameters: dict[str, Any],
    seed: int,
    checkpoint: Path | None,
    *,
    tune: Tune,
    train: Digits,
    validation: Digits,
) -> Iterator[Epoch]:
    """The objective of this project: train a network with these and the fixed hyperparameters."""
    device = compute.configure(tune.threads)
    complete = Hyperparameters.model_validate(tune.hyperparameters | hyperparameters)
    return fit(
        build(complete, seed).to(device),
        complete,
        train.to(device),
        validation.to(device),
        epochs=tune.epochs,
        seed=seed,
        checkpoint=checkpoint,
    )


def in_memory(trials: Sequence[Trial], space: Mapping[str, Distribution]) -> optuna.Study:
    """A study that has these trials and is kept nowhere, for pictures of it."""
    study = optuna.create_study(study_name="mnist-cnn", direction="maximize")
    study.add_trials([_freeze(trial, space) for trial in trials])
    return study


def distributions(space: Mapping[str, Distribution]) -> dict[str, BaseDistribution]:
    """The search space in Optuna's terms, by name: its order would decide what is drawn."""
    return {name: _distribution(space[name]) for name in sorted(space)}


def _distribution(range_: Distribution) -> BaseDistribution:
    if isinstance(range_, Choices):
        return CategoricalDistribution(range_.choices)
    if isinstance(range_, IntRange):
        return IntDistribution(range_.low, range_.high, log=range_.log, step=range_.step)
    return FloatDistribution(range_.low, range_.high, log=range_.log, step=range_.step)


def _sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    if sampler.name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=sampler.startup_trials)


def _pruner(pruner: Pruner) -> optuna.pruners.BasePruner:
    if pruner.name == "none":
        return optuna.pruners.NopPruner()
    # Optuna counts steps from 0 and ours are epochs from 1.
    return optuna.pruners.MedianPruner(
        n_startup_trials=pruner.startup_trials, n_warmup_steps=pruner.warmup_epochs + 1
    )


def _freeze(trial: Trial, space: Mapping[str, Distribution]) -> FrozenTrial:
    """The trial as Optuna records it; what Optuna has no place for goes into user attributes."""
    frozen = create_trial(
        state=_STATES[trial.state],
        value=None if trial.state == "failed" else trial.value,
        params=trial.hyperparameters,
        distributions=distributions(space),
        intermediate_values={
            epoch.epoch: epoch.validation_accuracy
            for epoch in trial.history
            if epoch.validation_accuracy is not None
        },
        user_attrs={
            "history": [epoch.row() for epoch in trial.history],
            "times": trial.times,
            "error": trial.error,
        },
    )
    frozen.datetime_start = datetime.fromtimestamp(trial.times[0])
    frozen.datetime_complete = datetime.fromtimestamp(trial.times[-1])
    return frozen


def _thaw(frozen: FrozenTrial) -> Trial:
    return Trial(
        number=frozen.number,
        hyperparameters=frozen.params,
        state=next(name for name, state in _STATES.items() if state == frozen.state),
        history=tuple(Epoch(**epoch) for epoch in frozen.user_attrs["history"]),
        times=tuple(frozen.user_attrs["times"]),
        error=frozen.user_attrs["error"],
    )
