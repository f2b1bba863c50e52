"""Runs a study in rounds, so that workers and interruptions cannot change its result.

The trials of a round are a function of the seed and of the trials of earlier rounds. Optuna's
storage holds finished trials only, each added whole, so a kill leaves no state to repair. The
sampler is created anew for each trial, because Optuna stores the trials of a study but not the
random state of its sampler.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, wait
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mnist_cnn import faults, stores
from mnist_cnn.errors import FailedJobError
from mnist_cnn.learning.training import Epoch, derive_seed
from mnist_cnn.search.params import Sampler, Tune
from mnist_cnn.search.space import distributions
from mnist_cnn.search.trial import ObjectiveFunction, State, Trial
from mnist_cnn.search.trial import run as run_trial

import optuna
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.exceptions import StorageInternalError
from optuna.trial import FrozenTrial, TrialState, create_trial

optuna.logging.set_verbosity(optuna.logging.WARNING)

_STATES: dict[State, TrialState] = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}

_storage_errors = partial(stores.store_errors, "Optuna's storage", StorageInternalError)


@_storage_errors()
def open_study(name: str, storage: str, direction: str) -> optuna.Study:
    """The study `mnist-cnn-{name}` in a storage; created if it does not exist."""
    with stores.creation_lock(storage):
        return optuna.create_study(
            storage=storage,
            study_name=f"mnist-cnn-{name}",
            direction=direction,
            load_if_exists=True,
        )


def search(
    tune: Tune,
    objective: ObjectiveFunction,
    study: optuna.Study,
    executor: Executor,
    checkpoints: Path | None = None,
) -> Iterator[Trial]:
    """Run the trials that a study lacks, and yield all its trials in order of number.

    Args:
        tune: trials, round size, search space, sampler, pruner and seed.
        objective: must be picklable if the executor has processes.
        study: Optuna's record of finished trials; it may have some already.
        executor: runs the trials of a round. How many it runs at once changes only the time.
        checkpoints: a folder for the state of running trials, which makes them resumable.

    Raises `FailedJobError` if every trial failed.
    """

    def checkpoint_of(number: int) -> Path | None:
        return checkpoints / f"trial-{number:03}.pt" if checkpoints else None

    with _storage_errors():
        finished = [from_frozen_trial(frozen) for frozen in study.get_trials()]
    yield from finished
    earlier: list[FrozenTrial] = []
    for start in range(0, tune.trials, tune.round_size):
        numbers = range(start, min(start + tune.round_size, tune.trials))
        earlier += [to_frozen_trial(trial, tune) for trial in finished[len(earlier) : start]]
        if numbers[-1] < len(finished):
            continue
        # The pruner reads no more of them, and a process receives this 100 times faster.
        compared = [
            create_trial(value=trial.value, intermediate_values=trial.intermediate_values)
            for trial in earlier
            if trial.state == TrialState.COMPLETE
        ]
        tasks = {
            number: partial(
                run_trial,
                objective,
                number,
                hyperparameters,
                derive_seed(tune.seed, number, 1),
                compared,
                tune,
                checkpoint_of(number),
            )
            for number, hyperparameters in zip(
                numbers, propose(tune, earlier, numbers), strict=True
            )
            if number >= len(finished)  # else it was recorded before a kill
        }
        faults.point("round proposed")
        futures = {number: executor.submit(task) for number, task in tasks.items()}
        for number, future in futures.items():
            try:
                trial = future.result()
            except BrokenExecutor:
                wait(futures.values())
                trial = _run_alone(tasks[number], executor)
            faults.point("trial ended")
            with _storage_errors():
                study.add_trial(to_frozen_trial(trial, tune))
            if checkpoint := checkpoint_of(number):
                checkpoint.unlink(missing_ok=True)
            finished.append(trial)
            yield trial
    if all(trial.state == "failed" for trial in finished):
        raise FailedJobError(
            f"all {len(finished)} trials failed, the last one with: {finished[-1].cause}"
        )


def _run_alone(task: "partial[Trial]", executor: Executor) -> Trial:
    """Run a trial again whose process was killed, while no other trial needs memory.

    If its process is killed again, the trial itself needs too much.
    """
    begun = time.time()
    try:
        return executor.submit(task).result()
    except BrokenExecutor:
        _, number, hyperparameters, *_ = task.args
        error = "its process was killed, as happens when memory runs out"
        return Trial(number, hyperparameters, "failed", (), (begun, time.time()), None, error)


def propose(
    tune: Tune, earlier: Sequence[FrozenTrial], numbers: Sequence[int]
) -> list[dict[str, Any]]:
    """The hyperparameters of the trials of a round, given the trials of earlier rounds."""
    study = optuna.create_study(direction=tune.objective.direction)
    study.add_trials(earlier)
    space = distributions(tune.search_space)
    proposals = []
    for number in numbers:
        study.sampler = _sampler(tune.sampler, derive_seed(tune.seed, number, 0))
        proposed = study.ask(space).params
        proposals.append({name: _rounded(value, space[name]) for name, value in proposed.items()})
    return proposals


def _rounded(value: Any, distribution: BaseDistribution) -> Any:
    """A proposal with 6 significant digits.

    The last digits depend on the C library, from which TPE takes `erf`: glibc 2.43 changed it.
    """
    if not isinstance(distribution, FloatDistribution) or distribution.step:
        return value
    return min(max(float(f"{value:.6g}"), distribution.low), distribution.high)


def _sampler(sampler: Sampler, seed: int) -> optuna.samplers.BaseSampler:
    if sampler.name == "random":
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=sampler.startup_trials)


def study_in_memory(finished: Sequence[Trial], tune: Tune) -> optuna.Study:
    """A study with these trials that is not stored, for plots."""
    study = optuna.create_study(study_name="mnist-cnn", direction=tune.objective.direction)
    study.add_trials([to_frozen_trial(trial, tune) for trial in finished])
    return study


def to_frozen_trial(trial: Trial, tune: Tune) -> FrozenTrial:
    """A trial as Optuna stores it; user attributes hold what Optuna has no field for."""
    frozen = create_trial(
        state=_STATES[trial.state],
        value=trial.value,
        params=trial.hyperparameters,
        distributions=distributions(tune.search_space),
        intermediate_values={
            epoch.epoch: epoch.metrics()[tune.objective.metric] for epoch in trial.history
        },
        user_attrs={
            "history": [epoch.metrics() for epoch in trial.history],
            "times": trial.times,
            "error": trial.error,
        },
    )
    frozen.datetime_start = datetime.fromtimestamp(trial.times[0])
    frozen.datetime_complete = datetime.fromtimestamp(trial.times[-1])
    return frozen


def from_frozen_trial(frozen: FrozenTrial) -> Trial:
    """The inverse of `to_frozen_trial`."""
    return Trial(
        number=frozen.number,
        hyperparameters=frozen.params,
        state=next(name for name, state in _STATES.items() if state == frozen.state),
        history=tuple(Epoch(**epoch) for epoch in frozen.user_attrs["history"]),
        times=tuple(frozen.user_attrs["times"]),
        value=frozen.values[0] if frozen.values else None,
        error=frozen.user_attrs["error"],
    )
