"""An interrupt waits for the end of a block, and a second one does not."""

import signal
from threading import Thread

from mnist_cnn.interrupts import deferred

import pytest

NUMBERS = [signal.SIGINT, signal.SIGTERM]


@pytest.fixture(autouse=True)
def interrupting():
    """SIGTERM interrupts as Ctrl-C does, as in a stage."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("depth", [1, 3])
def test_an_interrupt_is_raised_at_the_end_of_the_block(number, depth):
    done = []

    def run(level):
        with deferred():
            if level < depth:
                run(level + 1)
            else:
                signal.raise_signal(number)
            done.append(level)

    with pytest.raises(KeyboardInterrupt):
        run(1)
    assert done == [*range(depth, 0, -1)]


def test_a_second_interrupt_is_raised_at_once():
    done = []

    def run():
        with deferred():
            signal.raise_signal(signal.SIGINT)
            done.append("first")
            signal.raise_signal(signal.SIGINT)
            done.append("second")

    with pytest.raises(KeyboardInterrupt):
        run()
    assert done == ["first"]


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with deferred():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN


def test_handlers_are_restored_after_an_error():
    with pytest.raises(ValueError, match="x"), deferred():
        raise ValueError("x")
    assert signal.getsignal(signal.SIGINT) == signal.default_int_handler


def test_in_a_thread_nothing_is_deferred():
    entered = []

    def work():
        with deferred():
            entered.append(1)

    thread = Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [1]
