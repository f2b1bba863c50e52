"""The study advances in rounds, and ends the same however it is run."""

import os
import signal
import sqlite3
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from functools import partial

from mnist_cnn import data, results, search, stores, training, workers
from mnist_cnn.errors import UserError
from mnist_cnn.params import Tune
from mnist_cnn.training import Epoch

import optuna
import pytest
import torch

SETTINGS = {
    "seed": 0,
    "trials": 12,
    "round_size": 4,
    "epochs": 3,
    "threads": 1,
    "train_size": 200,
    "validation_size": 100,
    "sampler": {"name": "tpe", "startup_trials": 4},
    "pruner": {"name": "median", "startup_trials": 2, "warmup_epochs": 0},
    "hyperparameters": {"conv1_out_channels": 4, "fc1_out_features": 8},
    "search_space": {
        "learning_rate": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "batch_size": {"type": "categorical", "choices": [20, 50]},
        "rotation": {"type": "float", "low": 0.0, "high": 30.0, "step": 5.0},
    },
}


def settings(**changes) -> Tune:
    return Tune.model_validate(SETTINGS | changes)


def bowl(hyperparameters, seed, _checkpoint):
    """An objective without a network: best at a rotation of 10, and noisy by the seed."""
    for epoch in range(1, 4):
        distance = abs(hyperparameters["rotation"] - 10) / 30
        accuracy = (1 - distance) * epoch / 3 + seed % 1000 / 1e5
        yield Epoch(epoch, 1.0, 0.5, 1 - accuracy, accuracy)


def broken_at_high_rates(hyperparameters, seed, checkpoint):
    if hyperparameters["learning_rate"] > 0.01:
        raise MemoryError("out of memory")
    yield from bowl(hyperparameters, seed, checkpoint)


def always_broken(_hyperparameters, _seed, _checkpoint):
    raise RuntimeError("no such layer")
    yield


class Serial(Executor):
    """Runs what is submitted at once, in the order in which it is submitted, up to a limit."""

    def __init__(self, limit: float = float("inf")) -> None:
        self.left = limit
        self.ran = 0

    def submit(self, function, /, *args, **kwargs):
        if self.ran >= self.left:
            raise InterruptedError("killed")
        self.ran += 1
        future: Future = Future()
        future.set_result(function(*args, **kwargs))
        return future


def new_study(storage="sqlite://", name="one"):
    return search.open_study(name, storage)


def run(tune=None, objective=bowl, study=None, executor=None, checkpoints=None):
    tune = tune or settings()
    study = study or new_study()
    return list(search.search(tune, objective, study, executor or Serial(), checkpoints))


def outcome(trials):
    """All of a study but its times."""
    return results.table(trials)


@pytest.fixture(scope="module")
def undisturbed():
    return outcome(run())


def test_a_study_is_the_same_twice_and_another_for_another_seed(undisturbed):
    assert outcome(run()) == undisturbed
    assert outcome(run(settings(seed=1))) != undisturbed


@pytest.mark.parametrize("threads", [1, 2, 4, 8])
def test_the_number_of_workers_changes_nothing(undisturbed, threads):
    with ThreadPoolExecutor(threads) as executor:
        assert outcome(run(executor=executor)) == undisturbed


def test_the_size_of_a_round_is_part_of_the_study(undisturbed):
    assert outcome(run(settings(round_size=6))) != undisturbed


@pytest.mark.parametrize("limit", range(13))
def test_a_study_stopped_after_any_trial_ends_as_if_it_had_not_been(undisturbed, tmp_path, limit):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    if limit < 12:
        with pytest.raises(InterruptedError):
            run(study=new_study(storage), executor=Serial(limit))

    assert outcome(run(study=new_study(storage))) == undisturbed


@pytest.mark.parametrize("kept", [1, 3, 4, 6, 11])
def test_a_study_of_any_length_is_continued_to_the_same_end(undisturbed, kept):
    study = new_study()
    donor = new_study()
    run(study=donor)
    study.add_trials(donor.get_trials()[:kept])

    assert outcome(run(study=study)) == undisturbed


@pytest.mark.parametrize("recorded", [4, 6, 7])
def test_recorded_trials_are_not_run_again(tmp_path, recorded):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    donor, study = new_study(), new_study(storage)
    run(study=donor)
    study.add_trials(donor.get_trials()[:recorded])
    second = Serial()
    run(study=new_study(storage), executor=second)

    assert second.ran == 12 - recorded


def out_of_disk(hyperparameters, seed, _checkpoint):
    if seed == training.derive_seed(0, 5, 1):
        raise OSError(28, "no space left on device")
    yield from bowl(hyperparameters, seed, _checkpoint)


def test_a_fault_of_the_machine_stops_the_search_and_spoils_no_trial(undisturbed, tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    with pytest.raises(OSError, match="no space left"):
        run(objective=out_of_disk, study=new_study(storage))

    assert outcome(run(study=new_study(storage))) == undisturbed


def test_another_name_is_another_study(tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    run(study=new_study(storage))

    assert new_study(storage, "two").get_trials() == []


def test_a_storage_that_does_not_answer_is_told_in_one_line(undisturbed, tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db?timeout=0.1"
    study = new_study(storage)
    other = sqlite3.connect(tmp_path / "optuna.db")
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(stores.StoreError, match=r"^Optuna's storage: database is locked; run"):
        run(study=study)
    other.rollback()

    assert outcome(run(study=new_study(storage))) == undisturbed


def test_the_order_in_which_a_search_space_is_written_changes_nothing(undisturbed):
    space = settings().search_space
    turned = settings().model_copy(update={"search_space": dict(reversed(space.items()))})

    assert outcome(run(turned)) == undisturbed


def test_what_a_round_tries_depends_on_earlier_rounds_alone():
    donor = new_study()
    trials = run(study=donor)

    proposals = search.propose(settings(), donor.get_trials()[:8], range(8, 12))

    assert proposals == [trial.hyperparameters for trial in trials[8:]]


def test_every_proposal_is_in_the_search_space():
    space = search.distributions(settings().search_space)
    for trial in run():
        for name, distribution in space.items():
            value = distribution.to_internal_repr(trial.hyperparameters[name])
            assert distribution._contains(value)


def test_the_sampler_learns_from_earlier_rounds():
    """After many trials TPE stays near the best rotation; a random search does not."""

    def mean_distance(name):
        tune = settings(trials=40, sampler={"name": name, "startup_trials": 4})
        last = [trial.hyperparameters["rotation"] for trial in run(tune)[20:]]
        return sum(abs(rotation - 10) for rotation in last) / len(last)

    assert mean_distance("tpe") < 0.7 * mean_distance("random")


def test_pruned_trials_were_below_the_median_of_earlier_rounds():
    trials = run()
    pruned = [trial for trial in trials if trial.state == "pruned"]
    assert pruned
    for trial in pruned:
        stop = len(trial.history)
        start = trial.number // 4 * 4
        others = [
            max(epoch.validation_accuracy for epoch in other.history[:stop])
            for other in trials[:start]
            if other.state == "complete"
        ]
        own = max(epoch.validation_accuracy for epoch in trial.history)
        assert own < torch.tensor(others, dtype=torch.float64).quantile(0.5)
        assert stop < 3


@pytest.mark.parametrize(
    "pruner",
    [
        {"name": "none", "startup_trials": 0, "warmup_epochs": 0},
        {"name": "median", "startup_trials": 12, "warmup_epochs": 0},
        {"name": "median", "startup_trials": 0, "warmup_epochs": 2},
    ],
    ids=["none", "startup", "warm-up"],
)
def test_no_trial_is_pruned_before_it_may_be(pruner):
    for trial in run(settings(pruner=pruner)):
        assert len(trial.history) == 3


def test_a_failed_trial_is_recorded_with_its_cause_and_the_search_goes_on():
    trials = run(objective=broken_at_high_rates)
    failed = [trial for trial in trials if trial.state == "failed"]

    assert len(trials) == 12
    assert 0 < len(failed) < 12
    assert "MemoryError: out of memory" in failed[0].error
    assert "out of memory" in results.describe(failed[0])
    assert results.best(trials).state == "complete"


def greedy(hyperparameters, seed, checkpoint):
    """Its process is killed when it asks for too much, or is the first to come by."""
    first = checkpoint.parent / "first"
    if hyperparameters["learning_rate"] > 0.01 or not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield from bowl(hyperparameters, seed, checkpoint)


@pytest.mark.parametrize("size", [1, 3])
def test_a_trial_that_kills_its_process_twice_has_failed(tmp_path, size):
    with workers.pool(size) as executor:
        trials = run(objective=greedy, executor=executor, checkpoints=tmp_path)

    assert outcome(trials) == outcome(run(objective=broken_at_high_rates))
    failed = [trial for trial in trials if trial.state == "failed"]
    assert {results.cause_of(trial) for trial in failed} == {
        "its process was killed, as happens when memory runs out"
    }


def test_the_search_fails_in_one_line_when_every_trial_does():
    study = new_study()
    with pytest.raises(UserError, match=r"^all 12 trials failed.*RuntimeError: no such layer$"):
        run(objective=always_broken, study=study)


def test_the_best_trial_is_the_earliest_of_equals():
    def trial(number, state, accuracy):
        return results.Trial(number, {}, state, (Epoch(1, 1, 0.5, 1, accuracy),), (0.0, 1.0))

    trials = [trial(0, "complete", 0.8), trial(1, "pruned", 0.99), trial(2, "complete", 0.9)]
    trials.append(trial(3, "complete", 0.9))

    assert results.best(trials).number == 2
    assert results.describe_best(trials) == "best 90.00%"
    assert results.summary(trials) == {
        "trials": 4,
        "complete": 3,
        "pruned": 1,
        "failed": 0,
        "best_trial": 2,
        "validation_accuracy": 0.9,
        "validation_loss": 1,
    }


def test_no_complete_trial_is_an_error():
    with pytest.raises(UserError, match="no trial was completed"):
        results.best([])
    assert results.describe_best([]) == ""  # beside the bar of a search that has just begun


def test_the_study_is_readable_by_optuna_itself(tmp_path):
    storage = f"sqlite:///{tmp_path}/optuna.db"
    trials = run(study=new_study(storage))

    study = optuna.load_study(study_name="mnist-cnn-one", storage=storage)

    assert study.best_trial.number == results.best(trials).number
    assert study.best_value == pytest.approx(results.best(trials).value)
    assert len(study.trials[0].intermediate_values) == 3


@pytest.fixture(scope="module")
def network_objective(real_train):
    tune = settings(trials=4, round_size=2, epochs=2)
    train, validation = data.subset(real_train, (200, 100), 0)
    return tune, partial(search.train_network, tune=tune, train=train, validation=validation)


def test_networks_trained_in_one_process_or_two_make_the_same_study(network_objective, tmp_path):
    tune, objective = network_objective
    outcomes = []
    for size in (1, 2):
        with workers.pool(size) as executor:
            trials = run(tune, objective, executor=executor, checkpoints=tmp_path / str(size))
            outcomes.append(outcome(trials))

    assert outcomes[0] == outcomes[1]
    assert {row["state"] for row in outcomes[0]} <= {"complete", "pruned"}


def test_a_trial_is_continued_from_its_checkpoint(network_objective, tmp_path):
    _, objective = network_objective
    undisturbed = list(objective({"learning_rate": 0.01}, 1, None))
    checkpoint = tmp_path / "trial.pt"

    stopped = next(objective({"learning_rate": 0.01}, 1, checkpoint))
    continued = list(objective({"learning_rate": 0.01}, 1, checkpoint))

    assert stopped == undisturbed[0]
    assert continued == undisturbed
