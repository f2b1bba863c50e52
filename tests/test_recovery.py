"""Killed at any instant and started again, the pipeline ends as if nothing had happened.

The ordinary suite kills a few times where it would hurt most. `make chaos` does so in every such
place, and at `CHAOS_KILLS` random moments.
"""

import os
import random
import signal
import subprocess
from collections import Counter

import pytest
from clone import RUNS, logged_once, make_clone, same_results

KILLS = int(os.environ.get("CHAOS_KILLS", "0"))
SEED = int(os.environ.get("CHAOS_SEED", "0"))

# The calls at which a kill would hurt most, in the order in which `dvc repro` comes by them.
WINDOWS = [
    "mnist_cnn.sources:check:1",  # downloaded, nothing written
    "mnist_cnn.tracking:log_dataset:1",  # the run of the study is there, and nothing in it
    "mnist_cnn.search:run_trial:1",  # in a worker: a trial was proposed and has not begun
    "mnist_cnn.training:_keep:1",  # an epoch ended, its checkpoint is not written
    "mnist_cnn.tracking:log_trial:1",  # a trial is recorded, and not logged
    "mnist_cnn.tracking:_figures:1",  # a trial is half logged
    "mnist_cnn.results:best:1",  # all trials are there, no report
    "mnist_cnn.runs:log_made:1",  # reported, and not tagged with its content
    "dvc.stage:save:1",  # the study has ended, and DVC has not seen it
    "mnist_cnn.work:_lock_file:2",  # the state of the study is half removed
    "mnist_cnn.training:_keep:2",  # in the final training, after an epoch
    "mnist_cnn.tracking:log_folder:1",  # the model is written, and not logged
    "mnist_cnn.registry:_add_version:1",  # evaluated, not registered
    "mnist_cnn.registry:_champion:1",  # registered, without its alias
]


def start(clone, **variables):
    return clone.start("dvc", "repro", EPOCHS="epochs.log", **variables)


def epochs(clone):
    """Of the epochs of a clone: how many were begun, and how often each was finished."""
    lines = clone.read("epochs.log").decode().splitlines()
    return lines.count("begun"), Counter(line for line in lines if line != "begun")


def survives(clone, undisturbed):
    """Assert that a clone that was killed and then ran to its end is as one that was not."""
    process = start(clone)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    same_results(clone, undisturbed)

    client, runs = clone.mlflow, clone.runs()
    assert sorted(run.info.run_name for run in runs) == RUNS
    statuses = {run.info.run_name: run.info.status for run in runs}
    assert statuses["tune"] == statuses["train"] == "FINISHED"
    logged_once(client, runs)
    (version,) = client.search_model_versions("name = 'mnist-cnn'")
    champion = client.get_model_version_by_alias("mnist-cnn", "champion")
    assert champion.version == version.version
    state = clone.folder.glob("models/checkpoints/*")
    assert [path for path in state if path.suffix != ".lock"] == []
    for run in runs:
        if run.info.run_name == "train":
            experiment, query = run.info.experiment_id, f"source_run_id = '{run.info.run_id}'"
            assert len(client.search_logged_models([experiment], query)) == 1

    begun, finished = epochs(clone)
    assert set(finished.values()) == {1}, "an epoch that was finished was computed again"
    return {"epochs needed": len(finished), "epochs cut short": begun - len(finished)}


def test_a_kill_in_every_narrow_window_leaves_no_trace(clone, tmp_path):
    """One clone goes from kill to kill; each time the next `dvc repro` comes as far as the next.

    It has its `dvc.lock` from git, so that DVC has a record of every stage before it begins.
    """
    killed = make_clone(tmp_path)
    (tmp_path / "dvc.lock").write_bytes(clone.read("dvc.lock"))
    for window in WINDOWS if KILLS else WINDOWS[2::3]:
        process = start(killed, FAULT_AT=window)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, f"{window} was not reached\n{output}"

    survives(killed, clone)


def killed_at_random(clone, stage, moments):
    """Start the pipeline and kill it within 8 seconds of a stage's beginning; whether it was."""
    process = start(clone)
    if all(f"Running stage '{stage}'" not in line for line in process.stdout):
        assert process.wait() == 0
        return False  # the stage had ended before
    try:
        process.wait(moments.uniform(0, 8))
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


@pytest.mark.skipif(not KILLS, reason="takes minutes: `make chaos`")
def test_kills_at_random_moments_leave_no_trace(clone, tmp_path, capsys):
    moments = random.Random(SEED)
    kills, figures, clones = Counter(), Counter(), 0
    while kills.total() < KILLS:
        killed = make_clone(tmp_path / str(clones))
        for stage in ["download", "tune", "tune", "train", "train", "evaluate", "evaluate"]:
            kills[stage] += killed_at_random(killed, stage, moments)
        figures.update(survives(killed, clone))
        clones += 1
    with capsys.disabled():
        print(f"\n{kills.total()} kills: {dict(kills)}; {clones} clones: {dict(figures)}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["int", "term"])
def test_an_interrupted_run_says_so_and_how_to_go_on(tmp_path, number):
    interrupted = make_clone(tmp_path)
    interrupted.run("dvc", "repro", "download")
    process = subprocess.Popen(
        ["python", "src/tune.py"],
        cwd=interrupted.folder,
        env=interrupted.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("trial   0")
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)

    assert process.returncode == 1
    assert errors.strip() == "interrupted; run the same command again to go on"
    runs = interrupted.runs()
    assert {run.info.status for run in runs if run.info.run_name == "tune"} == {"KILLED"}
