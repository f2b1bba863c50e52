"""A trial ends complete, pruned or failed, and continues from its checkpoint."""

import errno
from itertools import islice

from mnist_cnn.learning import data, training
from mnist_cnn.learning.training import DivergedError
from mnist_cnn.search import trial

import pytest
import torch
from optuna.trial import TrialState, create_trial
from small_networks import objective
from studies import bowl, make_tune

# Two trials at the best rotation, 10 degrees, and five that count as running.
EARLIER = [
    *[create_trial(value=1.0, intermediate_values={1: 0.3, 2: 0.6, 3: 0.9})] * 2,
    *[create_trial(state=TrialState.RUNNING)] * 5,
]
MEDIAN = {"name": "MedianPruner", "n_startup_trials": 2}


def run(objective=bowl, rotation=30.0, **pruner):
    tune = make_tune(pruner=pruner if "name" in pruner else MEDIAN | pruner)
    return trial.Task(objective, 7, {"rotation": rotation}, 0, EARLIER, tune, None)()


@pytest.mark.parametrize(
    ("pruner", "epochs"),
    [
        ({}, 1),
        ({"n_warmup_steps": 2}, 2),
        ({"n_warmup_steps": 3}, 3),
        ({"n_startup_trials": 3}, 3),
        ({"name": "NopPruner"}, 3),
    ],
)
def test_a_trial_below_the_median_is_pruned_after_warm_up_and_startup(pruner, epochs):
    ended = run(**pruner)
    assert len(ended.history) == epochs
    assert ended.state == ("complete" if epochs == 3 else "pruned")
    assert ended.value == pytest.approx(epochs / 9, abs=0.01)
    assert (ended.error, ended.cause) == (None, "")
    after = {1: " after 1 epoch", 2: " after 2 epochs", 3: ""}[epochs]
    assert ended.describe(make_tune().objective).endswith(f"%{after}")
    assert len(ended.times) == epochs + 2
    assert list(ended.times) == sorted(ended.times)


def test_a_trial_needs_all_that_come_before_it():
    with pytest.raises(ValueError, match="trial 3 has 7 earlier trials"):
        trial.Task(bowl, 3, {"rotation": 1.0}, 0, EARLIER, make_tune(), None)()


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: out of memory"),
        RuntimeError("CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_a_lack_of_memory_is_told_apart_from_other_errors(error):
    def objective(*_):
        raise error
        yield

    with pytest.raises(trial.OutOfMemory) as caught:
        run(objective)
    assert caught.value.trial.state == "failed"


def test_a_trial_above_the_median_is_not_pruned():
    ended = run(rotation=10.0)
    assert (ended.state, len(ended.history)) == ("complete", 3)


def test_an_error_makes_the_trial_failed_and_keeps_its_epochs():
    def objective(*arguments):
        yield from islice(bowl(*arguments), 2)
        raise ArithmeticError("the loss is nan")

    ended = run(objective, rotation=10.0)

    assert (ended.number, ended.state, len(ended.history)) == (7, "failed", 2)
    assert ended.error.startswith("Traceback (most recent call last):\n")
    assert ended.traceback == ended.error.rstrip()
    assert ended.cause == "ArithmeticError: the loss is nan"
    assert ended.value is None
    assert (
        ended.describe(make_tune().objective)
        == "trial   7: failed (ArithmeticError: the loss is nan)"
    )


def test_a_training_that_diverged_has_a_message_and_no_traceback():
    def objective(*_arguments):
        raise DivergedError("epoch 1: the loss is not finite")
        yield

    ended = run(objective)
    assert (ended.error, ended.traceback) == ("epoch 1: the loss is not finite", "")
    assert (
        ended.describe(make_tune().objective)
        == "trial   7: failed (epoch 1: the loss is not finite)"
    )


@pytest.fixture(scope="module")
def train(real_train):
    """Train a network with a learning rate; yields its 2 epochs."""
    train, validation = data.subset(real_train, (200, 100), 0)
    tune = make_tune(epochs=2)
    trained = objective(tune, train, validation)
    return lambda rate, checkpoint=None: trained({"learning_rate": rate}, 1, 2, checkpoint)


def test_the_tuned_hyperparameters_have_an_effect(train):
    assert next(train(0.01)) != next(train(0.02))


def test_a_network_continues_from_its_checkpoint(train, tmp_path, monkeypatch):
    points = []
    monkeypatch.setattr(training.faults, "point", lambda name, **_: points.append(name))
    uninterrupted = list(train(0.01))

    first = next(train(0.01, tmp_path / "trial.pt"))
    continued = list(train(0.01, tmp_path / "trial.pt"))

    assert [first] == uninterrupted[:1]
    assert continued == uninterrupted
    assert points.count("epoch begun") == 2 + 1 + 1
