"""A copy of the project in a folder of its own, on a small part of the data."""

import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml
from described import ROOT, mnist
from mlflow import MlflowClient
from mlflow.entities import Run

FAULTS = Path(__file__).parent / "faults"

# The parameters of clones, and of other tests that need some.
PARAMS_FILE = ROOT / "tests/params.yaml"
PARAMS = yaml.safe_load(PARAMS_FILE.read_text())

RESULTS_IN_GIT = ("dvc.lock", "models/best_model.pth", "reports/")

# The runs of such a clone, and the files that are always the same.
RUNS = ["finalist-000-0", "finalist-005-0", "train", *(f"trial-{n:03}" for n in range(6)), "tune"]
RESULTS = [
    "dvc.lock",
    "models/best_model.pth",
    "reports/tune/best_params.json",
    "reports/tune/calibration.json",
    "reports/tune/trials.csv",
    "reports/tune/finalists.csv",
    "reports/tune/validation_predictions.csv",
    "reports/tune/metrics.json",
    "reports/train/history.csv",
    "reports/train/metrics.json",
    "reports/evaluate/metrics.json",
    "reports/evaluate/tables/predictions.csv",
]


class Clone:
    """A folder with a clone, and the commands that a user runs in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("MLFLOW", "OPTUNA", "GIT", "DVC", "TUNE", "PYTEST"))
        } | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "DATA_DIR": str(mnist().parent),
            "DVC_NO_ANALYTICS": "1",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@localhost",
        }

    def run(self, *command: str, check: bool = True, **variables: str):
        """Run a command, and return the completed process."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)}\n{done.stdout}\n{done.stderr}")
        return done

    def start(self, *command: str, **variables: str) -> subprocess.Popen:
        """Start a command in a process group of its own, with the faults in `variables`, if any."""
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment | {"PYTHONPATH": str(FAULTS)} | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def read(self, path: str) -> bytes:
        """The content of a file."""
        return (self.folder / path).read_bytes()

    @property
    def mlflow(self) -> MlflowClient:
        """A client of the clone's own store."""
        return MlflowClient(f"sqlite:///{self.folder}/mlflow.db")

    def runs(self) -> list[Run]:
        """Every run of the clone's own store, the earliest first."""
        return runs_of(self.mlflow)

    def set_params(self, changes: dict) -> None:
        """Change values in sections of `params.yaml`."""
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text())
        for section, values in changes.items():
            params[section] |= values
        path.write_text(yaml.safe_dump(params, sort_keys=False))


def make_clone(folder: Path) -> Clone:
    """A clone of the current working tree, with the parameters of the tests and without results."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file() and not name.startswith(RESULTS_IN_GIT):
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    (folder / "mlflow.db").write_bytes(empty_store())
    shutil.copy2(PARAMS_FILE, folder / "params.yaml")
    clone = Clone(folder)
    clone.run("git", "init", "--quiet")
    clone.run("git", "add", "--all")
    clone.run("git", "commit", "--quiet", "--message", "parameters of the tests")
    return clone


@cache
def empty_store() -> bytes:
    """MLflow's database with its tables and no runs, which takes seconds to create."""
    with TemporaryDirectory() as folder:
        MlflowClient(f"sqlite:///{folder}/mlflow.db").search_experiments()
        return Path(folder, "mlflow.db").read_bytes()


def read_until(process: subprocess.Popen, text: str) -> None:
    """Read the output of a process up to the first line with a text."""
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return
    raise AssertionError(f"no {text!r} in {lines}")


def start_watched(clone: Clone, **variables: str) -> subprocess.Popen:
    """Start `dvc repro` with a record of its epochs, and perhaps with a fault."""
    return clone.start("dvc", "repro", EPOCHS="epochs.log", **variables)


def kill_at(clone: Clone, points: Iterable[str]) -> None:
    """Run the pipeline once for each point, and assert that it is killed there."""
    for point in points:
        process = start_watched(clone, FAULT_AT=point)
        output, _ = process.communicate(timeout=300)
        assert process.returncode == -signal.SIGKILL, f"{point!r} was not reached\n{output}"


def survives(clone: Clone, undisturbed: Clone) -> dict[str, int]:
    """Run a killed clone to its end, and assert that it equals an undisturbed one.

    Returns how many epochs were needed, and how many were cut short by kills.
    """
    process = start_watched(clone)
    output, _ = process.communicate()
    assert process.returncode == 0, output
    same_results_and_runs(clone, undisturbed)

    client, runs = clone.mlflow, clone.runs()
    statuses = {name_of(run): run.info.status for run in runs}
    assert statuses["tune"] == statuses["train"] == "FINISHED"
    (version,) = client.search_model_versions("name = 'mnist-cnn'")
    champion = client.get_model_version_by_alias("mnist-cnn", "champion")
    assert champion.version == version.version
    state = clone.folder.glob("models/checkpoints/*")
    assert [path for path in state if path.suffix != ".lock"] == []
    (train,) = [run.info for run in runs if name_of(run) == "train"]
    query = f"source_run_id = '{train.run_id}'"
    assert len(client.search_logged_models([train.experiment_id], query)) == 1

    lines = clone.read("epochs.log").decode().splitlines()
    saved = Counter(line for line in lines if line != "begun")
    assert set(saved.values()) == {1}, "a finished epoch was computed again"
    return {"epochs needed": len(saved), "epochs cut short": lines.count("begun") - len(saved)}


def name_of(run: Run) -> str:
    """The name of a run without the label that says from which job or experiment it is."""
    return run.info.run_name.partition(" ")[0]


def runs_of(client: MlflowClient) -> list[Run]:
    """Every run of a store, the earliest first."""
    experiment = client.get_experiment_by_name("mnist-cnn")
    return client.search_runs([experiment.experiment_id], order_by=["start_time"])


def same_results(clone: Clone, undisturbed: Clone) -> None:
    """Assert that two clones have the same results, byte for byte."""
    for path in RESULTS:
        assert clone.read(path) == undisturbed.read(path), path


def same_results_and_runs(clone: Clone, undisturbed: Clone) -> None:
    """Assert that a clone has the results of an undisturbed one, and each run once."""
    same_results(clone, undisturbed)
    assert sorted(name_of(run) for run in clone.runs()) == RUNS
    logged_once(clone.mlflow, clone.runs())


def logged_once(client: MlflowClient, runs: list[Run]) -> None:
    """Assert that all runs have ended, and that each epoch was logged once."""
    assert {run.info.status for run in runs} <= {"FINISHED", "KILLED"}
    for run in runs:
        if name_of(run) != "tune":
            points = client.get_metric_history(run.info.run_id, "train/loss")
            assert points, name_of(run)
            assert [point.step for point in points] == list(range(1, len(points) + 1))
