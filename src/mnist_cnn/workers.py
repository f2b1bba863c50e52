"""Processes that run trials on this machine. They never outlive the process that began them."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.connection import wait

from torch import multiprocessing


@contextmanager
def pool(size: int) -> Iterator[Executor]:
    """An executor of `size` processes, for use in a `with` statement.

    When the block raises, an interruption included, the processes are ended at once, without
    waiting for what they compute.
    """
    context = multiprocessing.get_context("spawn")  # a fork would inherit PyTorch's threads
    with ProcessPoolExecutor(size, context, initializer=_begin) as executor:
        try:
            yield executor
        except BaseException:
            executor.shutdown(wait=False, cancel_futures=True)
            for process in multiprocessing.active_children():
                process.terminate()
                process.join()
            raise


def _begin() -> None:
    # Ctrl-C is sent to every process of a terminal; the one that began this one answers it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when its parent is no more, as after a SIGKILL, which nothing can answer."""
    if parent := multiprocessing.parent_process():
        wait([parent.sentinel])
    os._exit(1)
