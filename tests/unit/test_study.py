"""A search gives the same trials however it is run, interrupted or stored."""

import sqlite3
import time
from collections import Counter
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from threading import Barrier

from mnist_cnn import stores
from mnist_cnn.errors import FailedJobError, UserError
from mnist_cnn.learning.training import Epoch, derive_seed
from mnist_cnn.search import study as studies
from mnist_cnn.search import summary
from mnist_cnn.search.study import open_study
from mnist_cnn.search.summary import trials_table
from mnist_cnn.search.trial import Trial

import numpy as np
import optuna
import pytest
import torch
from studies import SerialExecutor, bowl, bowl_with_failures, make_tune, run_search


@pytest.fixture(scope="module")
def study():
    """A study with 12 trials."""
    study = open_study("finished", "sqlite://", "maximize")
    run_search(study=study)
    return study


@pytest.fixture(scope="module")
def expected(study):
    """The table of its trials."""
    return trials_table([studies.from_frozen_trial(frozen) for frozen in study.get_trials()])


@pytest.fixture
def storage(tmp_path):
    return f"sqlite:///{tmp_path}/optuna.db"


def test_only_the_seed_decides_a_search(expected):
    assert trials_table(run_search()) == expected
    assert trials_table(run_search(make_tune(seed=1))) != expected


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_the_number_of_workers_has_no_effect(expected, threads):
    with ThreadPoolExecutor(threads) as executor:
        assert trials_table(run_search(executor=executor)) == expected


def test_the_lag_has_an_effect(expected):
    assert trials_table(run_search(make_tune(lag=6))) != expected


def test_as_many_trials_run_at_once_as_the_lag_allows():
    together = Barrier(8)

    def objective(*arguments):
        together.wait(60)  # raises an error if fewer than eight trials run
        yield from bowl(*arguments)

    with ThreadPoolExecutor(8) as executor:
        trials = run_search(make_tune(lag=8, trials=16), objective, executor=executor)
    assert {trial.state for trial in trials} <= {"complete", "pruned"}


def test_the_order_of_the_search_space_has_no_effect(expected):
    space = make_tune().search_space
    reordered = make_tune().model_copy(update={"search_space": dict(reversed(space.items()))})
    assert trials_table(run_search(reordered)) == expected


@pytest.mark.parametrize("recorded", range(13))
def test_a_search_continues_after_any_recorded_trial(study, expected, recorded):
    continued, executor = open_study("continued", "sqlite://", "maximize"), SerialExecutor()
    continued.add_trials(study.get_trials()[:recorded])

    assert trials_table(run_search(study=continued, executor=executor)) == expected
    assert executor.submitted == 12 - recorded


@pytest.mark.parametrize("limit", [0, 3, 4, 11])
def test_an_interrupted_search_continues_from_its_storage(expected, storage, limit):
    with pytest.raises(InterruptedError):
        run_search(study=open_study("test", storage, "maximize"), executor=SerialExecutor(limit))
    executor = SerialExecutor()

    trials = run_search(study=open_study("test", storage, "maximize"), executor=executor)

    assert trials_table(trials) == expected
    # A trial is recorded when the one that waits for it is proposed.
    assert executor.submitted == 12 - max(0, limit - 3)
    assert open_study("another", storage, "maximize").get_trials() == []


def test_a_full_disk_stops_the_search_and_is_not_the_result_of_a_trial(expected, storage):
    def objective(hyperparameters, seed, epochs, checkpoint):
        if seed == derive_seed(0, 5, 1):
            raise OSError(28, "no space left on device")
        return bowl(hyperparameters, seed, epochs, checkpoint)

    with pytest.raises(OSError, match="no space left"):
        run_search(objective=objective, study=open_study("test", storage, "maximize"))
    assert trials_table(run_search(study=open_study("test", storage, "maximize"))) == expected


def test_a_locked_storage_is_reported_in_one_line(expected, storage, tmp_path):
    study = open_study("test", f"{storage}?timeout=0.1", "maximize")
    other = sqlite3.connect(tmp_path / "optuna.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(stores.StoreError, match=r"^Optuna's storage: database is locked; run"):
        run_search(study=study)
    other.rollback()

    assert trials_table(run_search(study=study)) == expected


@pytest.mark.parametrize(
    ("schema", "advice"),
    [
        ("v2.6.0.a", "`optuna storage upgrade --storage '{}'` or name another in OPTUNA_STORAGE"),
        ("v99.0.0.a", "name another in OPTUNA_STORAGE"),
    ],
)
def test_a_storage_of_another_version_of_optuna_is_reported_in_one_line(
    storage, tmp_path, schema, advice
):
    open_study("test", storage, "maximize")
    with sqlite3.connect(tmp_path / "optuna.db") as database:
        database.execute("UPDATE alembic_version SET version_num = ?", [schema])
    with pytest.raises(stores.StoreError) as error:
        open_study("test", storage, "maximize")
    version = f"the tables of another version than Optuna {optuna.__version__}"
    assert str(error.value) == f"Optuna's storage: {version}; {advice.format(storage)}"


class MemoryLimit(SerialExecutor):
    """Kills the process of each trial once, and at high learning rates every time."""

    def __init__(self):
        super().__init__()
        self.attempts = Counter()

    def submit(self, task, /):
        number, hyperparameters = task.number, task.hyperparameters
        self.attempts[number] += 1
        if self.attempts[number] > 1 and hyperparameters["learning_rate"] <= 0.01:
            return super().submit(task)
        killed = Future()
        killed.set_exception(BrokenExecutor())
        return killed


def test_a_trial_whose_process_is_killed_twice_fails():
    executor = MemoryLimit()
    trials = run_search(executor=executor)

    assert trials_table(trials) == trials_table(run_search(objective=bowl_with_failures))
    assert set(executor.attempts.values()) == {2}
    assert {trial.cause for trial in trials if trial.state == "failed"} == {
        "its process was killed, as happens when memory runs out"
    }


def test_a_search_continues_after_a_failed_trial():
    trials = run_search(objective=bowl_with_failures)

    failed = [trial for trial in trials if trial.state == "failed"]
    assert 0 < len(failed) < len(trials) == 12
    assert {trial.cause for trial in failed} == {"ArithmeticError: the loss is nan"}
    assert summary.ranked(trials, make_tune().objective)[0].state == "complete"


def test_a_search_of_failed_trials_fails_with_the_last_cause():
    def objective(_hyperparameters, _seed, _epochs, _checkpoint):
        raise RuntimeError("no such layer")

    message = "^all 12 trials failed, the last one with: RuntimeError: no such layer$"
    with pytest.raises(FailedJobError, match=message):
        run_search(objective=objective)


def test_a_trial_depends_on_those_up_to_the_lag_alone(expected):
    """Trial 8 is the first that can depend on trial 4, and none before it does."""

    def objective(hyperparameters, seed, epochs, checkpoint):
        better = 1.0 if seed == derive_seed(0, 4, 1) else 0.0
        for epoch in bowl(hyperparameters, seed, epochs, checkpoint):
            yield replace(epoch, validation_accuracy=epoch.validation_accuracy + better)

    changed = trials_table(run_search(objective=objective))
    assert [row for row in changed[:8] if row["number"] != 4] == [*expected[:4], *expected[5:8]]
    assert changed[8] != expected[8]


def test_proposals_are_in_the_search_space(expected):
    for row in expected:
        assert 0.001 <= row["learning_rate"] <= 0.1
        assert row["learning_rate"] == float(f"{row['learning_rate']:.6g}")
        assert row["batch_size"] in (20, 50)
        assert row["rotation"] in range(0, 31, 5)


def test_tpe_improves_on_random_search():
    """After 20 trials it stays near the best rotation, 10 degrees."""

    def mean_distance(name, **arguments):
        tune = make_tune(trials=40, sampler={"name": name, **arguments})
        rotations = [trial.hyperparameters["rotation"] for trial in run_search(tune)]
        return np.abs(np.array(rotations[20:]) - 10).mean()

    assert mean_distance("TPESampler", n_startup_trials=4) < 0.7 * mean_distance("RandomSampler")


def test_pruned_trials_were_below_the_median_of_the_trials_up_to_the_lag():
    trials = run_search()
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        epochs = len(trial.history)
        best, *others = (
            max(epoch.validation_accuracy for epoch in each.history[:epochs])
            for each in (trial, *trials[: max(0, trial.number - 3)])
            if each is trial or each.state == "complete"
        )
        assert epochs < 3
        assert best < np.median(others)


def test_a_stored_trial_is_restored(storage):
    history = (Epoch(1, 0.5, 0.75, 0.25, 0.875), Epoch(2, 0.25, 0.875, 0.125, 0.9375))
    tuned = {"learning_rate": 0.01, "batch_size": 20, "rotation": 5.0}
    trials = [
        Trial(0, tuned, "complete", history, (1.5, 2.5, 3.5, 4.5), 0.9375),
        Trial(1, tuned, "pruned", history[:1], (5.0, 6.0, 7.0), 0.875, None, {"rung": 0.875}),
        Trial(2, tuned, "failed", (), (8.0, 9.0), None, "Traceback …\nMemoryError: …\n"),
    ]
    tune = make_tune()
    open_study("test", storage, "maximize").add_trials(
        [studies.to_frozen_trial(trial, tune) for trial in trials]
    )

    stored = optuna.load_study(study_name="mnist-cnn-test", storage=storage)

    assert [studies.from_frozen_trial(frozen) for frozen in stored.trials] == trials
    assert (stored.best_trial.number, stored.best_value) == (0, 0.9375)
    assert stored.trials[0].intermediate_values == {1: 0.875, 2: 0.9375}
    assert stored.trials[0].duration.total_seconds() == 3


@pytest.mark.parametrize("number", [0, 5])
def test_a_trial_of_another_program_is_refused(study, number):
    own = study.get_trials()
    shared = open_study(f"shared {number}", "sqlite://", "maximize")
    shared.add_trials(own[:number])
    shared.enqueue_trial({"learning_rate": 0.01, "batch_size": 20, "rotation": 5.0})
    with pytest.raises(UserError, match=f"has a trial {number} that this search did not make;"):
        run_search(study=shared)


def test_a_trial_that_another_program_adds_during_the_search_is_refused():
    shared = open_study("added", "sqlite://", "maximize")

    def objective(hyperparameters, seed, epochs, checkpoint):
        if seed == derive_seed(0, 2, 1):
            shared.enqueue_trial({"learning_rate": 0.01})
        yield from bowl(hyperparameters, seed, epochs, checkpoint)

    with pytest.raises(UserError, match=r"has a trial \d that this search did not make;"):
        run_search(study=shared, objective=objective)


def test_a_trial_with_other_hyperparameters_is_refused(study):
    shared = open_study("of another seed", "sqlite://", "maximize")
    shared.add_trials(study.get_trials()[1:3])
    with pytest.raises(UserError, match="has a trial 0 that this search did not make;"):
        run_search(study=shared)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"
        ),
    ],
    ids=["Python", "GPU", "CPU"],
)
def test_a_trial_that_lacks_memory_beside_others_runs_again_alone(error):
    tune = make_tune(pruner={"name": "NopPruner"})  # which would end generators early
    attempts, running = Counter(), set()
    seeds = [derive_seed(0, number, 1) for number in range(12)]

    def objective(hyperparameters, seed, epochs, checkpoint):
        number = seeds.index(seed)
        attempts[number] += 1
        if (number, attempts[number]) == (1, 1):
            raise error
        assert number != 1 or not running
        running.add(number)
        time.sleep(0.05)
        yield from bowl(hyperparameters, seed, epochs, checkpoint)
        running.remove(number)

    with ThreadPoolExecutor(4) as executor:
        found = trials_table(run_search(tune, objective, executor=executor))

    assert found == trials_table(run_search(tune))
    assert attempts == Counter(range(12)) + Counter([1])


def test_a_trial_that_lacks_memory_alone_fails_with_its_epochs():
    def objective(hyperparameters, seed, epochs, checkpoint):
        yield from islice(bowl(hyperparameters, seed, epochs, checkpoint), 1)
        if seed == derive_seed(0, 2, 1):
            raise MemoryError("4 GiB")

    trials = run_search(objective=objective)
    assert [trial.number for trial in trials if trial.state == "failed"] == [2]
    assert (trials[2].cause, len(trials[2].history)) == ("MemoryError: 4 GiB", 1)
