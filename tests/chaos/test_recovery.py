"""Killed at any moment and started again, the pipeline ends as if nothing had happened."""

import os
import random
import signal
import subprocess
from collections import Counter

from clone import kill_at, make_clone, start_watched, survives
from points import KILLS

N_KILLS = int(os.environ.get("CHAOS_KILLS", "50"))
SEED = int(os.environ.get("CHAOS_SEED", "0"))


def test_a_kill_at_every_point_leaves_no_trace(clone, tmp_path):
    """Each `dvc repro` of one clone is killed at the next point.

    The clone has a `dvc.lock`, as from git, so DVC has a record of every stage.
    """
    killed = make_clone(tmp_path)
    (tmp_path / "dvc.lock").write_bytes(clone.read("dvc.lock"))
    kill_at(killed, KILLS)

    survives(killed, clone)


def kill_at_random(clone, stage, moments):
    """Kill the pipeline within 8 seconds of the start of a stage; return whether it was running."""
    process = start_watched(clone)
    if all(f"Running stage '{stage}'" not in line for line in process.stdout):
        assert process.wait() == 0
        return False  # the stage was up to date
    try:
        process.wait(moments.uniform(0, 8))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def test_kills_at_random_moments_leave_no_trace(clone, tmp_path, capsys):
    moments = random.Random(SEED)
    kills, epochs, clones = Counter(), Counter(), 0
    while kills.total() < N_KILLS:
        killed = make_clone(tmp_path / str(clones))
        for stage in ["download", "tune", "tune", "train", "train", "evaluate", "evaluate"]:
            kills[stage] += kill_at_random(killed, stage, moments)
        epochs.update(survives(killed, clone))
        clones += 1
    with capsys.disabled():
        print(f"\n{kills.total()} kills: {dict(kills)}; {clones} clones: {dict(epochs)}")
