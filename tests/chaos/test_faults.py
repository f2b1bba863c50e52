"""Faults of disk, server, database and memory, and other processes, cost no result.

The faults are real: a small disk is full, a server is killed, a database is locked.
"""

import sqlite3
import subprocess
import time
from contextlib import closing

import pytest
from clone import (
    RUNS,
    logged_once,
    make_clone,
    name_of,
    read_until,
    runs_of,
    same_results,
    same_results_and_runs,
)
from mlflow import MlflowClient
from points import FULL_DISK
from server import free_port, mlflow_server


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of 400 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only root can mount a disk")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_an_error_of_one_line(clone, small_disk):
    """Each `dvc repro` of one clone comes to a full disk at the next kind of write."""
    filled = make_clone(small_disk / "clone")
    (filled.folder / "dvc.lock").write_bytes(clone.read("dvc.lock"))  # as from git
    for what, point in FULL_DISK.items():
        process = filled.start("dvc", "repro", FAULT="fill", FAULT_AT=point)
        output, _ = process.communicate(timeout=300)
        (filled.folder / "ballast").unlink()
        assert process.returncode != 0, f"{what}\n{output}"
        assert "Traceback" not in output, f"{what}\n{output}"
        assert "No space left on device" in output or "disk is full" in output, f"{what}\n{output}"

    filled.run("dvc", "repro")
    same_results_and_runs(filled, clone)


def test_what_a_lost_server_missed_is_logged_by_the_next_run(searching, tmp_path):
    port = free_port()
    searching.environment |= {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    with mlflow_server(tmp_path, port):
        process = searching.start("python", "src/tune.py", EPOCHS="epochs.log")
        read_until(process, "trial   1: ")
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 1
    assert output.splitlines()[-1].startswith(f"error: MLflow's store http://127.0.0.1:{port}: ")
    trials, epochs = searching.read("reports/tune/trials.csv"), searching.read("epochs.log")

    with mlflow_server(tmp_path, port) as address:
        searching.start("python", "src/tune.py", EPOCHS="epochs.log").communicate(timeout=300)
        runs = runs_of(MlflowClient(address))
        assert sorted(name_of(run) for run in runs) == [n for n in RUNS if n != "train"]
        logged_once(MlflowClient(address), runs)
    assert searching.read("reports/tune/trials.csv") == trials
    assert searching.read("epochs.log") == epochs


@pytest.mark.parametrize("database", ["mlflow.db", "optuna.db"])
def test_a_database_that_another_process_locks_is_waited_for(clone, searching, database):
    process = searching.start("python", "src/tune.py")
    read_until(process, "trial   0: ")
    with closing(sqlite3.connect(searching.folder / database, timeout=20)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(6)  # longer than SQLite waits by default
    output = process.stdout.read()

    assert process.wait(60) == 0, output
    assert "not logged" not in output
    assert searching.read("reports/tune/trials.csv") == clone.read("reports/tune/trials.csv")


def test_a_search_in_which_every_trial_fails_starts_again(searching):
    searching.set_params(
        {
            "tune": {
                "hyperparameters": {"optimizer": "sgd", "conv1_out_channels": 8},
                "search_space": {"learning_rate": {"type": "float", "low": 1e30, "high": 1e31}},
            }
        }
    )
    for attempts in (1, 2):
        failed = searching.run("dvc", "repro", "tune", check=False)

        assert failed.returncode
        errors = [line for line in failed.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "all 6 trials failed" in errors[0]
        assert "Traceback" not in failed.stdout + failed.stderr
        studies = [run for run in searching.runs() if name_of(run) == "tune"]
        assert [run.info.status for run in studies] == ["FAILED"] * attempts


def test_two_repros_at_once_in_one_clone_give_the_right_results(clone, tmp_path):
    shared = make_clone(tmp_path)
    pair = [shared.start("dvc", "repro") for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in pair]

    assert 0 in [process.returncode for process in pair], outputs
    for process, output in zip(pair, outputs, strict=True):
        blocked = "it is being blocked by" in output or "Unable to acquire lock" in output
        assert process.returncode == 0 or blocked, output
        assert "Traceback" not in output
    shared.run("dvc", "repro")
    same_results_and_runs(shared, clone)


def test_two_clones_at_once_share_their_stores(clone, tmp_path):
    stores = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "OPTUNA_STORAGE": f"sqlite:///{tmp_path}/optuna.db?timeout=20",
    }
    pair = [make_clone(tmp_path / name) for name in ("one", "other")]
    for process in [each.start("dvc", "repro", **stores) for each in pair]:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output

    for each in pair:
        same_results(each, clone)
    client = MlflowClient(stores["MLFLOW_TRACKING_URI"])
    runs = runs_of(client)
    assert sorted(name_of(run) for run in runs) == sorted(2 * RUNS)
    trained = [run for run in runs if name_of(run) == "train"]
    assert all("test_accuracy" in run.data.metrics for run in trained)
    assert len(client.search_model_versions("name = 'mnist-cnn'")) == 2
    assert client.get_model_version_by_alias("mnist-cnn", "champion")
