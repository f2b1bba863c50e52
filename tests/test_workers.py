"""Worker processes end with what began them, however that ends."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import wait
from concurrent.futures.process import BrokenProcessPool

from mnist_cnn import workers

import pytest

SCRIPT = """
import os, sys, time
from mnist_cnn import console, workers

def main():
    with workers.pool(2) as executor:
        pids = [executor.submit(os.getpid) for _ in range(2)]
        print(*{pid.result() for pid in pids}, flush=True)
        executor.submit(time.sleep, 600).result()

if __name__ == "__main__":
    console.run(main)
"""


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_pool_runs_what_it_is_given():
    with workers.pool(2) as executor:
        futures = [executor.submit(pow, 2, n) for n in range(10)]
        wait(futures)

    assert [future.result() for future in futures] == [2**n for n in range(10)]


def test_a_pool_whose_process_died_begins_anew():
    with workers.pool(2) as executor:
        for _ in range(2):
            with pytest.raises(BrokenProcessPool):
                executor.submit(os._exit, 1).result()

            assert executor.submit(pow, 2, 3).result() == 8


def test_an_exception_in_the_block_does_not_wait_for_the_processes():
    def fail_beside_a_long_task():
        with workers.pool(1) as executor:
            executor.submit(time.sleep, 600)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail_beside_a_long_task()

    assert not multiprocessing.active_children()


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=["kill", "term", "int"]
)
def test_no_process_outlives_its_parent(tmp_path, number):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        parent.send_signal(number)
        parent.wait(60)
        deadline = time.monotonic() + 30
        while any(map(is_running, pids)) and time.monotonic() < deadline:
            time.sleep(0.1)

    assert not any(map(is_running, pids))
