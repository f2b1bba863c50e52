"""Trials under way in an executor."""

import time
from collections.abc import Iterable
from concurrent.futures import BrokenExecutor, Future, wait
from dataclasses import dataclass
from typing import Protocol

from mnist_cnn.search.trial import OutOfMemory, Task, Trial


class Executor(Protocol):
    """Runs tasks somewhere: an executor of `concurrent.futures`, or `cluster.Cluster`."""

    def submit(self, task: Task, /) -> Future[Trial]:
        """Run a task as soon as there is room for it. The future raises what the task raises.

        If the process of the task dies, it raises `BrokenExecutor`.
        """


@dataclass(frozen=True)
class Running:
    """A trial under way, or one that has ended and whose result was not asked for yet."""

    task: Task
    future: Future[Trial]


def start(task: Task, executor: Executor) -> Running:
    """Start a trial as soon as the executor has room for it."""
    return Running(task, executor.submit(task))


def ended(task: Task, trial: Trial) -> Running:
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
        return Trial(
            number=running.task.number,
            hyperparameters=running.task.hyperparameters,
            state="failed",
            history=(),
            times=(begun, time.time()),
            error="its process was killed, as happens when memory runs out",
        )
