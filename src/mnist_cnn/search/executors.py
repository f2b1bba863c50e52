"""Processes that run trials on this machine. They never outlive the process that started them."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, TypeVar

import mnist_cnn

from joblib import cpu_count
from torch import multiprocessing

T = TypeVar("T")

_FOLDER = str(Path(mnist_cnn.__file__).parents[1])


def default_size(threads: int) -> int:
    """How many processes with so many threads each this machine has cores for, 1 or more."""
    cores: int = cpu_count()  # respects the limits of a container
    return max(1, cores // threads)


@contextmanager
def process_pool(size: int) -> Iterator[Executor]:
    """An executor with `size` processes.

    If a process dies, for example because memory runs out, all running tasks raise
    `BrokenProcessPool`; tasks submitted later run in new processes. If the block raises, the
    processes are terminated at once.
    """
    with _RestartingPool(size) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
                process.join()
            raise


class _RestartingPool(Executor):
    """A process pool that is replaced when it breaks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._pool = self._start()

    def _start(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")  # a fork would inherit PyTorch's threads
        return ProcessPoolExecutor(self._size, context, initializer=_prepare_worker)

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        with _this_package_first():
            try:
                return self._pool.submit(function, *args, **kwargs)
            except BrokenProcessPool:
                self._pool = self._start()
                return self._pool.submit(function, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._pool.shutdown(wait, cancel_futures=cancel_futures)


@contextmanager
def _this_package_first() -> Iterator[None]:
    """Have a process that starts now import this package.

    It receives `sys.path`, from which a script has removed its folder. Without that, it would find
    the package that is installed in the environment: in a worktree or in the copy for an
    experiment, that of another clone.
    """
    sys.path.insert(0, _FOLDER)
    try:
        yield
    finally:
        sys.path.remove(_FOLDER)


def _prepare_worker() -> None:
    sys.path.remove(_FOLDER)
    # A terminal sends Ctrl-C to every process; the parent handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    """End this process when its parent ends, even by SIGKILL."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
    os._exit(1)
