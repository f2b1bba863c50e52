"""A search gives the same trials however it is run, interrupted or stored."""

import sqlite3
from collections import Counter
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor

from mnist_cnn import stores
from mnist_cnn.errors import FailedJobError
from mnist_cnn.learning.training import Epoch, derive_seed
from mnist_cnn.search import study as studies
from mnist_cnn.search import summary
from mnist_cnn.search.study import open_study
from mnist_cnn.search.summary import trials_table
from mnist_cnn.search.trial import Trial

import numpy as np
import optuna
import pytest
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


def test_the_round_size_has_an_effect(expected):
    assert trials_table(run_search(make_tune(round_size=6))) != expected


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
    assert executor.submitted == 12 - limit // 4 * 4  # the trials of a round end together
    assert open_study("another", storage, "maximize").get_trials() == []


def test_a_full_disk_stops_the_search_and_is_not_the_result_of_a_trial(expected, storage):
    def objective(hyperparameters, seed, checkpoint):
        if seed == derive_seed(0, 5, 1):
            raise OSError(28, "no space left on device")
        return bowl(hyperparameters, seed, checkpoint)

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


class MemoryLimit(SerialExecutor):
    """Kills the process of each trial once, and at high learning rates every time."""

    def __init__(self):
        super().__init__()
        self.attempts = Counter()

    def submit(self, task, /):
        _, number, hyperparameters, *_ = task.args
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
    assert {trial.cause for trial in failed} == {"MemoryError: out of memory"}
    assert summary.best(trials, make_tune().objective).state == "complete"


def test_a_search_of_failed_trials_fails_with_the_last_cause():
    def objective(_hyperparameters, _seed, _checkpoint):
        raise RuntimeError("no such layer")

    message = "^all 12 trials failed, the last one with: RuntimeError: no such layer$"
    with pytest.raises(FailedJobError, match=message):
        run_search(objective=objective)


def test_proposals_depend_on_earlier_rounds_alone(study):
    trials = study.get_trials()
    proposals = studies.propose(make_tune(), trials[:8], range(8, 12))
    assert proposals == [trial.params for trial in trials[8:]]


def test_proposals_are_in_the_search_space(expected):
    for row in expected:
        assert 0.001 <= row["learning_rate"] <= 0.1
        assert row["learning_rate"] == float(f"{row['learning_rate']:.6g}")
        assert row["batch_size"] in (20, 50)
        assert row["rotation"] in range(0, 31, 5)


def test_tpe_improves_on_random_search():
    """After 20 trials it stays near the best rotation, 10 degrees."""

    def mean_distance(name):
        tune = make_tune(trials=40, sampler={"name": name, "startup_trials": 4})
        rotations = [trial.hyperparameters["rotation"] for trial in run_search(tune)]
        return np.abs(np.array(rotations[20:]) - 10).mean()

    assert mean_distance("tpe") < 0.7 * mean_distance("random")


def test_pruned_trials_were_below_the_median_of_earlier_rounds():
    trials = run_search()
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        epochs = len(trial.history)
        best, *others = (
            max(epoch.validation_accuracy for epoch in each.history[:epochs])
            for each in (trial, *trials[: trial.number // 4 * 4])
            if each is trial or each.state == "complete"
        )
        assert epochs < 3
        assert best < np.median(others)


def test_a_stored_trial_is_restored(storage):
    history = (Epoch(1, 0.5, 0.75, 0.25, 0.875), Epoch(2, 0.25, 0.875, 0.125, 0.9375))
    tuned = {"learning_rate": 0.01, "batch_size": 20, "rotation": 5.0}
    trials = [
        Trial(0, tuned, "complete", history, (1.5, 2.5, 3.5, 4.5), 0.9375),
        Trial(1, tuned, "pruned", history[:1], (5.0, 6.0, 7.0), 0.875),
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
