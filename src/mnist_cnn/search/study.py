"""Runs a study so that neither workers nor interruptions can change its result.

A trial is proposed from the trials up to a fixed distance before it, the lag, and compared with
them for pruning; those between count as running. Optuna's storage gets finished trials only, each
added whole and in order of number, so a kill leaves no state to repair.
"""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mnist_cnn import faults, stores
from mnist_cnn.errors import FailedJobError, UserError
from mnist_cnn.learning.training import Epoch, derive_seed
from mnist_cnn.search.params import Tune
from mnist_cnn.search.proposals import STATES, Proposals
from mnist_cnn.search.space import suggest
from mnist_cnn.search.trial import ObjectiveFunction, OutOfMemory, Trial, study_in_memory
from mnist_cnn.search.trial import run as run_trial

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

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

    There are fewer than `tune.trials` if the sampler has a grid and has proposed all of it.

    Args:
        tune: trials, lag, search space, sampler, pruner and seed.
        objective: must be picklable if the executor has processes.
        study: Optuna's record of finished trials; it may have some already.
        executor: runs the trials. How many it runs at once changes only the time.
        checkpoints: a folder for the state of running trials, which makes them resumable.

    Raises `UserError` if another program has added a trial to the study, and `FailedJobError` if
    every trial failed.
    """
    recorded = _recorded_trials(study)
    proposals = Proposals(tune)
    compared: list[FrozenTrial] = []
    running: deque[_Running] = deque()

    def start(number: int, hyperparameters: dict[str, Any]) -> _Running:
        seed = derive_seed(tune.seed, number, 1)
        earlier = compared + [create_trial(state=TrialState.RUNNING)] * len(running)
        checkpoint = checkpoints / f"trial-{number:03}.pt" if checkpoints else None
        task = partial(
            run_trial, objective, number, hyperparameters, seed, earlier, tune, checkpoint
        )
        if number < len(recorded):
            if recorded[number].hyperparameters != hyperparameters:
                raise _foreign(number, study)
            return _Running(task, checkpoint, _done(recorded[number]))
        faults.point("trial proposed")
        return _Running(task, checkpoint, executor.submit(task))

    def finish() -> Trial:
        first = running.popleft()
        trial = _result(first, executor, running)
        frozen = to_frozen_trial(trial, tune)
        if trial.number >= len(recorded):
            faults.point("trial ended")
            with _storage_errors():
                if len(study.get_trials(deepcopy=False)) > trial.number:
                    raise _foreign(trial.number, study)
                study.add_trial(frozen)
            if first.checkpoint:
                first.checkpoint.unlink(missing_ok=True)
        proposals.record(trial)
        compared.append(_without_hyperparameters(frozen))
        return trial

    for number in range(tune.trials):
        if len(running) == tune.lag:
            yield finish()
        hyperparameters = proposals.propose()
        if hyperparameters is None:
            break
        running.append(start(number, hyperparameters))
    trial = None
    while running:
        yield (trial := finish())
    if trial and all(each.state == TrialState.FAIL for each in compared):
        raise FailedJobError(f"all {len(compared)} trials failed, the last one with: {trial.cause}")


@dataclass(frozen=True)
class _Running:
    """A trial under way, or one that was recorded before a kill."""

    task: "partial[Trial]"
    checkpoint: Path | None
    future: Future[Trial]


def _done(trial: Trial) -> Future[Trial]:
    future: Future[Trial] = Future()
    future.set_result(trial)
    return future


def _result(first: _Running, executor: Executor, others: Iterable[_Running]) -> Trial:
    """Wait for a trial. One that had too little memory runs again, with no other beside it.

    Else the number of workers would decide a result. If it happens again, the trial needs too much.
    """
    try:
        return first.future.result()
    except (BrokenExecutor, OutOfMemory):
        wait([other.future for other in others])
    begun = time.time()
    try:
        return executor.submit(first.task).result()
    except OutOfMemory as error:
        return error.trial
    except BrokenExecutor:
        _, number, hyperparameters, *_ = first.task.args
        cause = "its process was killed, as happens when memory runs out"
        return Trial(number, hyperparameters, "failed", (), (begun, time.time()), None, cause)


def _recorded_trials(study: optuna.Study) -> list[Trial]:
    with _storage_errors():
        stored = study.get_trials()
    for frozen in stored:
        if "history" not in frozen.user_attrs:
            raise _foreign(frozen.number, study)
    return [from_frozen_trial(frozen) for frozen in stored]


def _foreign(number: int, study: optuna.Study) -> UserError:
    return UserError(
        f"Optuna's study {study.study_name} has a trial {number} that this search did not make; "
        f"delete the study in `make dashboard`, or name another store in OPTUNA_STORAGE"
    )


def _without_hyperparameters(frozen: FrozenTrial) -> FrozenTrial:
    """What a pruner reads of a trial. A process receives this 100 times faster."""
    return create_trial(
        state=frozen.state,
        values=frozen.values,
        intermediate_values=frozen.intermediate_values,
        system_attrs=frozen.system_attrs,
    )


def study_of(finished: Sequence[Trial], tune: Tune) -> optuna.Study:
    """A study with these trials that is not stored, for plots."""
    study = study_in_memory(tune, RandomSampler(), NopPruner())
    study.add_trials([to_frozen_trial(trial, tune) for trial in finished])
    return study


def to_frozen_trial(trial: Trial, tune: Tune) -> FrozenTrial:
    """A trial as Optuna stores it; user attributes hold what Optuna has no field for."""
    fixed = FixedTrial(trial.hyperparameters)
    suggest(fixed, tune.search_space, tune.hyperparameters)
    frozen = create_trial(
        state=STATES[trial.state],
        value=trial.value,
        params=trial.hyperparameters,
        distributions=fixed.distributions,
        intermediate_values={
            epoch.epoch: epoch.metrics()[tune.objective.metric] for epoch in trial.history
        },
        user_attrs={
            "history": [epoch.metrics() for epoch in trial.history],
            "times": trial.times,
            "error": trial.error,
        },
        system_attrs=dict(trial.pruner_attrs),
    )
    frozen.datetime_start = datetime.fromtimestamp(trial.times[0])
    frozen.datetime_complete = datetime.fromtimestamp(trial.times[-1])
    return frozen


def from_frozen_trial(frozen: FrozenTrial) -> Trial:
    """The inverse of `to_frozen_trial`."""
    return Trial(
        number=frozen.number,
        hyperparameters=frozen.params,
        state=next(name for name, state in STATES.items() if state == frozen.state),
        history=tuple(Epoch(**epoch) for epoch in frozen.user_attrs["history"]),
        times=tuple(frozen.user_attrs["times"]),
        value=frozen.values[0] if frozen.values else None,
        error=frozen.user_attrs["error"],
        pruner_attrs=frozen.system_attrs,
    )
