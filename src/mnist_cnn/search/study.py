"""Runs a study so that neither workers nor interruptions can change its result.

A trial is proposed from the trials up to a fixed distance before it, the lag, and compared with
them for pruning; those between count as running. Optuna's storage gets finished trials only, each
added whole and in order of number, so a kill leaves no state to repair.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from mnist_cnn import faults, stores
from mnist_cnn.errors import FailedJobError, UserError
from mnist_cnn.learning.training import Epoch, derive_seed
from mnist_cnn.search import running
from mnist_cnn.search.params import Tune
from mnist_cnn.search.proposals import STATES, Proposals
from mnist_cnn.search.running import Executor, Running
from mnist_cnn.search.space import suggest
from mnist_cnn.search.trial import ObjectiveFunction, Task, Trial, study_in_memory
from mnist_cnn.stores import StoreError

import optuna
from optuna.exceptions import StorageInternalError
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler
from optuna.trial import FixedTrial, FrozenTrial, TrialState, create_trial

_storage_errors = partial(stores.store_errors, "Optuna's storage", StorageInternalError)


@_storage_errors()
def open_study(name: str, storage: str, direction: str) -> optuna.Study:
    """The study `mnist-cnn-{name}` in a storage; created if it does not exist.

    Raises `StoreError` if the storage has the tables of another version of Optuna.
    """
    try:
        with stores.creation_lock(storage):
            return optuna.create_study(
                storage=storage,
                study_name=f"mnist-cnn-{name}",
                direction=direction,
                load_if_exists=True,
            )
    except RuntimeError as error:
        # Optuna's advice has no address, and for a newer storage another version of Optuna.
        upgrade = f"`optuna storage upgrade --storage '{stores.hide_password(storage)}'` or "
        raise StoreError(
            f"Optuna's storage: the tables of another version than Optuna {optuna.__version__}; "
            f"{upgrade if 'storage upgrade' in str(error) else ''}name another in OPTUNA_STORAGE"
        ) from error


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
    under_way: deque[Running] = deque()

    def checkpoint(number: int) -> Path | None:
        return checkpoints / f"trial-{number:03}.pt" if checkpoints else None

    def start(number: int, hyperparameters: dict[str, Any]) -> Running:
        seed = derive_seed(tune.seed, number, 1)
        earlier = compared + [create_trial(state=TrialState.RUNNING)] * len(under_way)
        task = Task(objective, number, hyperparameters, seed, earlier, tune, checkpoint(number))
        if number < len(recorded):
            if recorded[number].hyperparameters != hyperparameters:
                raise _foreign(number, study)
            return running.ended(task, recorded[number])
        faults.point("trial proposed")
        return running.start(task, executor)

    def finish() -> Trial:
        trial = running.result(under_way.popleft(), executor, under_way)
        frozen = to_frozen_trial(trial, tune)
        if trial.number >= len(recorded):
            faults.point("trial ended")
            with _storage_errors():
                if len(study.get_trials(deepcopy=False)) > trial.number:
                    raise _foreign(trial.number, study)
                study.add_trial(frozen)
            if path := checkpoint(trial.number):
                path.unlink(missing_ok=True)
        proposals.record(trial)
        compared.append(_without_hyperparameters(frozen))
        return trial

    for number in range(tune.trials):
        if len(under_way) == tune.lag:
            yield finish()
        hyperparameters = proposals.propose()
        if hyperparameters is None:
            break
        under_way.append(start(number, hyperparameters))
    trial = None
    while under_way:
        yield (trial := finish())
    if trial and all(each.state == TrialState.FAIL for each in compared):
        raise FailedJobError(f"all {len(compared)} trials failed, the last one with: {trial.cause}")


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
