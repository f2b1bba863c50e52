"""Processes run trials with the same results as one process, and never outlive their parent."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

from mnist_cnn.errors import UserError
from mnist_cnn.learning import data
from mnist_cnn.search.executors import gpus, process_pool
from mnist_cnn.search.summary import trials_table

import pytest
import torch
from clone import ROOT
from small_networks import objective
from studies import (
    bowl_with_failures,
    bowl_with_one_more_kill,
    bowl_without_memory,
    make_tune,
    run_search,
)

SCRIPT = """
import os, time
from mnist_cnn import console
from mnist_cnn.search.executors import process_pool

def main():
    with process_pool(2) as executor:
        pids = [executor.submit(os.getpid) for _ in range(2)]
        print(*{pid.result() for pid in pids}, flush=True)
        executor.submit(time.sleep, 600).result()

if __name__ == "__main__":
    console.run(main)
"""


WHERE = """
import mnist_cnn
from mnist_cnn import console
from mnist_cnn.search.executors import process_pool

print("imported")

def main():
    with process_pool(1) as executor:
        print(mnist_cnn.__file__)
        print(executor.submit(eval, "__import__('mnist_cnn').__file__").result())

if __name__ == "__main__":
    console.run(main)
"""


def test_processes_import_the_package_beside_their_script_but_not_the_script(tmp_path):
    """The environment has another package than a worktree, or the copy for an experiment."""
    shutil.copytree(ROOT / "src/mnist_cnn", tmp_path / "src/mnist_cnn")
    script = tmp_path / "src/where.py"
    script.write_text(WHERE)

    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["imported", *[str(tmp_path / "src/mnist_cnn/__init__.py")] * 2]


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_pool_runs_tasks_even_after_a_process_died():
    with process_pool(2) as executor:
        for _ in range(2):
            tasks = [executor.submit(pow, 2, n) for n in range(10)]
            assert [task.result() for task in tasks] == [2**n for n in range(10)]
            with pytest.raises(BrokenProcessPool):
                executor.submit(os._exit, 1).result()


def visible_gpu():
    time.sleep(0.5)  # so that another process takes the next task
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.parametrize(
    ("visible", "number", "expected"),
    [(None, 0, {None}), (None, 2, {"0", "1"}), ("4,7", 2, {"4", "7"})],
    ids=["none", "two", "two of more"],
)
def test_processes_share_the_gpus(monkeypatch, visible, number, expected):
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    with process_pool(2, number) as executor:
        tasks = [executor.submit(visible_gpu) for _ in range(8)]
        assert {task.result() for task in tasks} == expected


def test_gpus_of_several_models_are_refused(monkeypatch):
    """No machine here has them, so PyTorch's answers are replaced."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(torch.cuda, "get_device_name", ["A100", "H200", "A100"].__getitem__)
    assert gpus(torch.device("cpu")) == 0
    with pytest.raises(UserError, match=r"several models \(A100, H200\).*CUDA_VISIBLE_DEVICES"):
        gpus(torch.device("cuda"))


def test_an_error_in_the_block_terminates_the_processes_at_once():
    def fail_beside_a_long_task():
        with process_pool(1) as executor:
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


def test_a_trial_that_kills_its_process_twice_fails(tmp_path):
    tune = make_tune(trials=6, lag=3)
    with process_pool(3) as executor:
        trials = run_search(tune, bowl_with_one_more_kill, executor=executor, checkpoints=tmp_path)

    assert trials_table(trials) == trials_table(run_search(tune, bowl_with_failures))
    assert {trial.cause for trial in trials if trial.state == "failed"} == {
        "its process was killed, as happens when memory runs out"
    }


def test_a_trial_that_lacks_memory_in_a_process_runs_again(tmp_path):
    tune = make_tune(trials=4, lag=2)
    with process_pool(2) as executor:
        trials = run_search(tune, bowl_without_memory, executor=executor, checkpoints=tmp_path)
    assert trials_table(trials) == trials_table(run_search(tune))


def test_the_number_of_processes_has_no_effect_on_networks(real_train, tmp_path):
    tune = make_tune(trials=4, lag=2, epochs=2)
    train, validation = data.subset(real_train, (200, 100), 0)
    trained = objective(tune, train, validation)
    expected = trials_table(run_search(tune, trained))
    assert {row["state"] for row in expected} <= {"complete", "pruned"}

    with process_pool(2) as executor:
        trials = run_search(tune, trained, executor=executor, checkpoints=tmp_path)

    assert trials_table(trials) == expected
    assert list(tmp_path.iterdir()) == []  # checkpoints of recorded trials are deleted
