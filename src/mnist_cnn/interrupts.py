"""Ctrl-C and SIGTERM in the middle of something that must not be left half done."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def deferred() -> Iterator[None]:
    """Handle a signal that ends the process only when the block ends; a second one at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread handles signals
        return
    handlers = {number: signal.getsignal(number) for number in _NUMBERS}
    arrived: list[int] = []

    def restore() -> None:
        for number, handler in handlers.items():
            if handler is not None:  # one that Python did not set cannot be set again
                signal.signal(number, handler)

    def record(number: int, _frame: FrameType | None) -> None:
        arrived.append(number)
        restore()

    for number, handler in handlers.items():
        if callable(handler):
            signal.signal(number, record)
    try:
        yield
    finally:
        restore()
        if arrived:
            signal.raise_signal(arrived[0])
