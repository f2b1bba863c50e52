"""What goes wrong around the pipeline costs no result: disk, server, database, memory, neighbours.

Faults are real: a small disk that fills up, a server that is ended, a database that is locked.
`make chaos` tries those too that take minutes.
"""

import os
import signal
import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path

import pytest
from clone import RUNS, logged_once, make_clone, runs_of, same_results
from mlflow import MlflowClient
from server import free_port, serve

LONG = pytest.mark.skipif("CHAOS_KILLS" not in os.environ, reason="takes minutes: `make chaos`")

# Where the next thing that is done is to write, in the order in which `dvc repro` comes by them.
WRITES = {
    "data": "mnist_cnn.sources:check:1",
    "the name of the work": "mnist_cnn.work:_lock:1",
    "a checkpoint": "mnist_cnn.training:_keep:1",
    "a trial in Optuna's storage": "mnist_cnn.search:_freeze:1",
    "a trial in MLflow's store": "mnist_cnn.tracking:log_trial:1",
    "the report of the study": "mnist_cnn.results:best:1",
    "artifacts": "mnist_cnn.tracking:log_folder:1",
    "DVC's cache": "dvc.stage:save:1",
    "the model": "mnist_cnn.model:save:1",
    "the report of the evaluation": "mnist_cnn.metrics:summary:1",
    "the registry": "mnist_cnn.registry:_add_version:1",
}


def as_undisturbed(clone, undisturbed):
    same_results(clone, undisturbed)
    assert sorted(run.info.run_name for run in clone.runs()) == RUNS
    logged_once(clone.mlflow, clone.runs())


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 400 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400m", "tmpfs", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a disk can be mounted by root alone")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@LONG
def test_a_full_disk_is_told_in_one_line_and_costs_nothing(clone, small_disk):
    """One clone goes from one kind of write to the next, with a full disk at each."""
    filled = make_clone(small_disk / "clone")
    (filled.folder / "dvc.lock").write_bytes(clone.read("dvc.lock"))  # as from git
    for what, place in WRITES.items():
        process = filled.start("dvc", "repro", FAULT="fill", FAULT_AT=place)
        output, _ = process.communicate(timeout=300)
        (filled.folder / "ballast").unlink()
        assert process.returncode != 0, f"{what}\n{output}"
        assert "Traceback" not in output, f"{what}\n{output}"
        assert "No space left on device" in output or "disk is full" in output, f"{what}\n{output}"

    filled.run("dvc", "repro")
    as_undisturbed(filled, clone)


def mlflow_server(folder, port):
    """MLflow's server, with its database and artifacts in a folder."""
    database = [
        "--backend-store-uri",
        "sqlite:///server.db",
        "--artifacts-destination",
        "artifacts",
    ]
    return serve(folder, ["mlflow", "server", "--port", str(port), *database], port)


def lines_until(process, text):
    """What a process prints, to the first line with this text in it."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"no {text!r} in {lines}")


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def searching(tmp_path, port):
    """A clone that is about to search, and to log to a server that is not there yet."""
    made = make_clone(tmp_path / "clone")
    made.run("dvc", "repro", "download")
    made.environment |= {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    return made


def test_a_search_goes_on_without_its_server_and_logs_later(searching, tmp_path, port):
    absent = searching.run("python", "src/tune.py", check=False)
    assert absent.returncode == 1
    assert absent.stderr.startswith(f"error: MLflow's store http://127.0.0.1:{port}: ")
    assert absent.stderr.count("\n") == 1

    with mlflow_server(tmp_path, port):
        process = searching.start("python", "src/tune.py")
        lines_until(process, "trial   0: ")
    lines_until(process, "not logged yet, and tried again later")
    os.killpg(process.pid, signal.SIGSTOP)  # it would end before the server is back
    with mlflow_server(tmp_path, port) as address:
        os.killpg(process.pid, signal.SIGCONT)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        every_trial_is_logged_once(MlflowClient(address))


@LONG
def test_what_a_server_that_is_gone_has_missed_it_is_told_by_the_next_run(
    searching, tmp_path, port
):
    with mlflow_server(tmp_path, port):
        process = searching.start("python", "src/tune.py", EPOCHS="epochs.log")
        lines_until(process, "trial   1: ")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 1
    assert output.splitlines()[-1].startswith(f"error: MLflow's store http://127.0.0.1:{port}: ")
    report = searching.read("reports/tune/trials.csv")
    computed = searching.read("epochs.log")

    with mlflow_server(tmp_path, port) as address:
        again = searching.start("python", "src/tune.py", EPOCHS="epochs.log")
        again.communicate(timeout=120)
        every_trial_is_logged_once(MlflowClient(address))
    assert searching.read("reports/tune/trials.csv") == report
    assert searching.read("epochs.log") == computed


def every_trial_is_logged_once(client):
    runs = runs_of(client)
    assert sorted(run.info.run_name for run in runs) == [name for name in RUNS if name != "train"]
    logged_once(client, runs)


@pytest.mark.parametrize("database", ["mlflow.db", pytest.param("optuna.db", marks=LONG)])
def test_a_database_that_another_locks_for_a_while_is_waited_for(clone, tmp_path, database):
    searching = make_clone(tmp_path)
    searching.run("dvc", "repro", "download")
    process = searching.start("python", "src/tune.py")
    lines_until(process, "trial   0: ")
    with closing(sqlite3.connect(tmp_path / database, timeout=20)) as other:
        other.execute("BEGIN EXCLUSIVE")
        time.sleep(6)  # more than SQLite waits by itself
    output = process.stdout.read()

    assert process.wait(60) == 0, output
    assert "not logged" not in output
    assert searching.read("reports/tune/trials.csv") == clone.read("reports/tune/trials.csv")


def test_trials_that_cannot_be_are_recorded_with_their_cause(tmp_path):
    searching = make_clone(tmp_path)
    space = {
        "learning_rate": {"type": "categorical", "choices": [0.01, 1e30]},
        "conv1_out_channels": {"type": "categorical", "choices": [8, 10**12]},
        "conv2_out_channels": {"type": "int", "low": 8, "high": 16},
        "n_fc_layers": {"type": "int", "low": 0, "high": 1},
        "fc1_out_features": {"type": "int", "low": 8, "high": 16},
    }
    searching.set_params({"tune": {"search_space": space, "trials": 9}})
    searching.run("dvc", "repro", "tune")

    causes = {}
    client = searching.mlflow
    for run in searching.runs():
        if run.info.status == "FAILED":
            path = client.download_artifacts(run.info.run_id, "error.txt", str(tmp_path))
            width, rate = (
                run.data.params[name] for name in ("conv1_out_channels", "learning_rate")
            )
            causes[width == "8", rate == "0.01"] = Path(path).read_text().splitlines()[-1]
    assert causes.keys() >= {(True, False), (False, True)}
    assert "the loss is no finite number" in causes[True, False]
    assert "allocate memory" in causes[False, True]
    assert (tmp_path / "reports/tune/best_params.json").exists()


@LONG
def test_a_search_in_which_every_trial_fails_says_so_once_and_begins_anew(tmp_path):
    searching = make_clone(tmp_path)
    rates = {"type": "float", "low": 1e30, "high": 1e31}
    searching.set_params(
        {
            "tune": {
                "hyperparameters": {"optimizer": "sgd", "conv1_out_channels": 8},
                "search_space": {"learning_rate": rates},
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
        studies = [run for run in searching.runs() if run.info.run_name == "tune"]
        assert [run.info.status for run in studies] == ["FAILED"] * attempts


@LONG
def test_two_at_once_in_one_clone_end_right_or_say_that_one_is_running(clone, tmp_path):
    shared = make_clone(tmp_path)
    pair = [shared.start("dvc", "repro") for _ in range(2)]
    outputs = [process.communicate(timeout=300)[0] for process in pair]

    assert 0 in [process.returncode for process in pair], outputs
    for process, output in zip(pair, outputs, strict=True):
        told = "it is being blocked by" in output or "Unable to acquire lock" in output
        assert process.returncode == 0 or told, output
        assert "Traceback" not in output
    shared.run("dvc", "repro")
    as_undisturbed(shared, clone)


def test_two_clones_share_their_stores(clone, tmp_path):
    stores = {
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "OPTUNA_STORAGE": f"sqlite:///{tmp_path}/optuna.db?timeout=20",
    }
    pair = [make_clone(tmp_path / name) for name in ("one", "other")]
    started = [each.start("dvc", "repro", **stores) for each in pair]
    for process in started:
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output

    for each in pair:
        same_results(each, clone)
    client = MlflowClient(stores["MLFLOW_TRACKING_URI"])
    runs = runs_of(client)
    assert sorted(run.info.run_name for run in runs) == sorted(2 * RUNS)
    trained = [run for run in runs if run.info.run_name == "train"]
    assert all("test_accuracy" in run.data.metrics for run in trained)
    assert len(client.search_model_versions("name = 'mnist-cnn'")) == 2
    assert client.get_model_version_by_alias("mnist-cnn", "champion")
