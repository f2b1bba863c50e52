"""Trials under way in an executor."""

import time
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, Executor, Future, wait
from dataclasses import dataclass
from functools import partial

from mnist_cnn.search.trial import OutOfMemory, Trial


@dataclass(frozen=True)
class Running:
    """A trial under way, or one that has ended and whose result was not asked for yet."""

    task: partial[Trial]
    """A call of `trial.run`."""
    future: Future[Trial]


def start(task: partial[Trial], executor: Executor) -> Running:
    """Start a trial as soon as the executor has room for it."""
    return Running(task, executor.submit(task))


def ended(task: partial[Trial], trial: Trial) -> Running:
    """A trial whose result is known."""
    future: Future[Trial] = Future()
    future.set_result(trial)
    return Running(task, future)


def result(running: Running, executor: Executor, others: Iterable[Running]) -> Trial:
    """Wait for a trial. One that had too little memory runs again, with no other beside it.

    Else the number of workers would decide a result. If it happens again, the trial needs too much.
    """
    try:
        return running.future.result()
    except (BrokenExecutor, OutOfMemory):
        wait([other.future for other in others])
    begun = time.time()
    try:
        return executor.submit(running.task).result()
    except OutOfMemory as error:
        return error.trial
    except BrokenExecutor:
        _, number, hyperparameters, *_ = running.task.args
        cause = "its process was killed, as happens when memory runs out"
        return Trial(number, hyperparameters, "failed", (), (begun, time.time()), None, cause)
