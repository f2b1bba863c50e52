"""Searches without networks, which take milliseconds."""

import os
import signal
import time
from concurrent.futures import Executor, Future

from mnist_cnn.learning.training import Epoch, derive_seed
from mnist_cnn.search.params import Tune
from mnist_cnn.search.study import open_study, search

TUNE = {
    "seed": 0,
    "trials": 12,
    "lag": 4,
    "epochs": 3,
    "threads": 1,
    "train_size": 200,
    "validation_size": 100,
    "objective": {"metric": "validation_accuracy", "direction": "maximize"},
    "sampler": {"name": "TPESampler", "n_startup_trials": 4},
    "pruner": {"name": "MedianPruner", "n_startup_trials": 2},
    "finalists": {"trials": 3, "seeds": 2},
    "rejected": 0.1,
    "hyperparameters": {"conv1_out_channels": 4, "fc1_out_features": 8},
    "search_space": {
        "learning_rate": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "batch_size": {"type": "categorical", "choices": [20, 50]},
        "rotation": {"type": "float", "low": 0.0, "high": 30.0, "step": 5.0},
    },
}


def make_tune(**changes) -> Tune:
    """The section `tune` with changes."""
    return Tune.model_validate(TUNE | changes)


def bowl(hyperparameters, seed, _epochs, _checkpoint):
    """An objective that is best at a rotation of 10 degrees, with noise from the seed."""
    for epoch in range(1, 4):
        distance = abs(hyperparameters["rotation"] - 10) / 30
        accuracy = (1 - distance) * epoch / 3 + seed % 1000 / 1e5
        yield Epoch(epoch, 1.0, 0.5, 1 - accuracy, accuracy)


def bowl_with_failures(hyperparameters, seed, epochs, checkpoint):
    """The same objective, which fails at high learning rates."""
    if hyperparameters["learning_rate"] > 0.01:
        raise ArithmeticError("the loss is nan")
    yield from bowl(hyperparameters, seed, epochs, checkpoint)


def bowl_with_kills(hyperparameters, seed, epochs, checkpoint):
    """The same objective, which kills its process at high learning rates."""
    if hyperparameters["learning_rate"] > 0.01:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from bowl(hyperparameters, seed, epochs, checkpoint)


def bowl_with_one_more_kill(hyperparameters, seed, epochs, checkpoint):
    """The same, but it also kills its process in the first trial to run."""
    first = checkpoint.parent / "first"
    if not first.exists():
        first.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    yield from bowl_with_kills(hyperparameters, seed, epochs, checkpoint)


def bowl_that_ends_its_node(hyperparameters, seed, epochs, checkpoint):
    """The same objective, which in the first trial kills the Ray node that runs it."""
    if seed == derive_seed(TUNE["seed"], 0, 1):
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    yield from bowl(hyperparameters, seed, epochs, checkpoint)


def bowl_without_memory(hyperparameters, seed, epochs, checkpoint):
    """The same, but the first trial to run lacks memory once."""
    first = checkpoint.parent / "first"
    if not first.exists():
        first.touch()
        raise MemoryError
    yield from bowl(hyperparameters, seed, epochs, checkpoint)


class SerialExecutor(Executor):
    """Runs tasks at once, in this process, and raises `InterruptedError` after a limit."""

    def __init__(self, limit: float = float("inf")) -> None:
        self.limit = limit
        self.submitted = 0

    def submit(self, function, /, *args, **kwargs):
        if self.submitted >= self.limit:
            raise InterruptedError
        self.submitted += 1
        future: Future = Future()
        try:
            future.set_result(function(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def run_search(tune=None, objective=bowl, *, study=None, executor=None, checkpoints=None):
    """Run a search, by default from its beginning; return its trials."""
    study = study or open_study("test", "sqlite://", "maximize")
    executor = executor or SerialExecutor()
    return list(search(tune or make_tune(), objective, study, executor, checkpoints))
