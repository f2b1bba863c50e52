"""Processes that run trials on this machine. They never outlive the process that began them."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from typing import Any, TypeVar

from joblib import cpu_count
from torch import multiprocessing

T = TypeVar("T")


def fitting(threads: int) -> int:
    """How many processes of so many threads this machine has cores for, at least 1."""
    cores: int = cpu_count()
    return max(1, cores // threads)


@contextmanager
def pool(size: int) -> Iterator[Executor]:
    """An executor of `size` processes, for use in a `with` statement.

    When a process dies, of a lack of memory for one, all tasks under way raise `BrokenProcessPool`;
    what is submitted after that is run by new processes.

    When the block raises, an interruption included, the processes are ended at once, without
    waiting for what they compute.
    """
    with _Pool(size) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
                process.join()
            raise


class _Pool(Executor):
    """A pool that begins anew when it is broken."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._processes = self._begin()

    def _begin(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would inherit PyTorch's threads
        return ProcessPoolExecutor(self._size, context, initializer=_begin)

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        try:
            return self._processes.submit(function, *args, **kwargs)
        except BrokenProcessPool:
            self._processes = self._begin()
            return self._processes.submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._processes.shutdown(wait, cancel_futures=cancel_futures)


def _begin() -> None:
    # Ctrl-C is sent to every process of a terminal; the one that began this one answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is no more, as after a SIGKILL, which nothing can answer."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
    os._exit(1)
