"""A killed stage is resumed, and faults of trials and stores cost no result.

`tests/chaos` tries every point and every fault.
"""

import os
import signal
import subprocess
from pathlib import Path

from clone import RUNS, kill_at, logged_once, make_clone, name_of, read_until, runs_of, survives
from mlflow import MlflowClient
from server import free_port, mlflow_server


def test_kills_during_a_search_and_a_registration_leave_no_trace(clone, tmp_path):
    killed = make_clone(tmp_path)
    kill_at(killed, ["epoch ended", "version registered"])

    survives(killed, clone)


def test_an_interrupted_search_prints_how_to_continue(searching):
    process = subprocess.Popen(
        ["python", "src/tune.py"],
        cwd=searching.folder,
        env=searching.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline().startswith("trial   0")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)

    assert process.returncode == 1
    assert errors.strip() == "interrupted; run the same command to continue"
    runs = searching.runs()
    assert {run.info.status for run in runs if name_of(run) == "tune"} == {"KILLED"}


def test_failed_trials_are_recorded_with_their_cause(searching):
    space = {
        "learning_rate": {"type": "categorical", "choices": [0.01, 1e30]},
        "conv1_out_channels": {"type": "categorical", "choices": [8, 10**12]},
    }
    searching.set_params({"tune": {"search_space": space, "sampler": {"name": "GridSampler"}}})
    output = searching.run("python", "src/tune.py").stdout

    causes = {}
    for run in searching.runs():
        if run.info.status == "FAILED":
            width, rate = (run.data.params[p] for p in ("conv1_out_channels", "learning_rate"))
            error = Path(run.info.artifact_uri, "error.txt").read_text()
            causes[width == "8", rate == "0.01"] = error.splitlines()[-1]
    assert "the loss is not finite" in causes[True, False]
    assert "allocate memory" in causes[False, True]
    assert output.count("Traceback") == 1  # of the first one
    assert (searching.folder / "reports/tune/best_params.json").exists()


def test_a_search_continues_without_its_server_and_logs_later(searching, tmp_path):
    port = free_port()
    searching.environment |= {
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{port}",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    }
    absent = searching.run("python", "src/tune.py", check=False)
    assert absent.returncode == 1
    assert absent.stderr.startswith(f"error: MLflow's store http://127.0.0.1:{port}: ")
    assert absent.stderr.count("\n") == 1

    with mlflow_server(tmp_path, port):
        process = searching.start("python", "src/tune.py")
        read_until(process, "trial   0: ")
    read_until(process, "not logged yet, will be tried again")
    os.killpg(process.pid, signal.SIGSTOP)  # or it would end before the server is back
    with mlflow_server(tmp_path, port) as address:
        os.killpg(process.pid, signal.SIGCONT)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == 0, output
        runs = runs_of(MlflowClient(address))
        assert sorted(name_of(run) for run in runs) == [n for n in RUNS if n != "train"]
        logged_once(MlflowClient(address), runs)
