"""A run as MLflow's store has it: what it was made from, and what it made."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mnist_cnn.errors import UserError
from mnist_cnn.files import md5
from mnist_cnn.reproduce.git import Commit
from mnist_cnn.reproduce.provenance import Inputs, Provenance
from mnist_cnn.tracking import registry
from mnist_cnn.tracking.experiment import existing_store, find_runs, store_errors

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

_DIGEST = re.compile(r"[0-9a-f]{32}")  # an MD5, or the id of a run

_STAGES = ("tune", "train", "evaluate")

# The files that runs have as outputs. One query for each is faster than reading all runs.
OUTPUTS = (
    "models/best_model.pth",
    "reports/model_card.md",
    "reports/tune/best_params.json",
    "reports/tune/calibration.json",
    "reports/tune/trials.csv",
    "reports/tune/validation_predictions.csv",
)


@dataclass(frozen=True)
class RunRecord:
    """A run of a stage, or of two: `evaluate` continues the run of `train`."""

    run_id: str
    name: str
    status: str
    provenance: tuple[Provenance, ...]
    """Of its stages, in their order."""
    commit: Commit
    """That of its last stage."""
    artifacts: Path
    """A copy of all its artifacts."""

    def outputs(self) -> dict[Path, Path]:
        """The copies of the files that the run made, by their path in the project."""
        folders = {"models": Path("models"), "reports": Path("reports")} | {
            stage: Path("reports", stage) for stage in _STAGES
        }
        return {
            target / file.relative_to(self.artifacts / name): file
            for name, target in folders.items()
            for file in sorted(self.artifacts.joinpath(name).rglob("*"))
            if file.is_file()
        }


@dataclass(frozen=True)
class TrialRecord:
    """A trial, or a training of a finalist, with values as in `trials.csv` and `epochs.csv`."""

    number: int
    seed: int | None
    """Of a training of a finalist; None for the trial itself."""
    row: dict[str, str]
    """Its state and hyperparameters, fixed ones included."""
    epochs: list[dict[str, str]]
    """The metrics of each epoch."""


@store_errors()
def find_run(name: str) -> Run:
    """The run that a name stands for.

    Args:
        name: the id of a run; the MD5 of a file that a run made (`best_model.pth`,
            `best_params.json` or `trials.csv`); the path of a `.pth`; or a registered model as
            `registry.find_version` takes it.

    Raises `UserError` if the store has no such run.
    """
    client = existing_store()
    path = Path(name)
    if path.suffix == ".pth":
        if not path.is_file():
            raise UserError(f"{name}: missing")
        return _find_run_by_output(md5(path), name)
    if not _DIGEST.fullmatch(name):
        if not {"@", "/"} & set(name):
            raise UserError(
                f"{name}: not the id of a run or an MD5 (32 hexadecimal digits), a .pth file or a "
                f"registered model such as {registry.EXAMPLE}@champion or {registry.EXAMPLE}/3"
            )
        return client.get_run(registry.find_version(name).run_id)
    try:
        return client.get_run(name)
    except MlflowException:
        return _find_run_by_output(name, name)


def _find_run_by_output(digest: str, name: str) -> Run:
    """The latest run that is tagged with this MD5 of an output."""
    found = [run for path in OUTPUTS for run in find_runs(f"tags.`md5 {path}` = '{digest}'")]
    if not found:
        raise UserError(f"{name}: no run in this store has this id or made a file with this MD5")
    return max(found, key=lambda run: run.info.start_time)


@store_errors()
def read(run: Run, folder: Path) -> tuple[RunRecord, TrialRecord | None]:
    """Copy a run into a folder and read it; for a trial, read its study's run and the trial.

    Raises `UserError` if the run has no provenance.
    """
    client = existing_store()
    trial = None
    if parent := run.data.tags.get(MLFLOW_PARENT_RUN_ID):
        trial = _read_trial(client, run)
        run = client.get_run(parent)
    artifacts = Path(client.download_artifacts(run.info.run_id, "", str(folder)))
    provenance = tuple(
        _read_provenance(file)
        for stage in _STAGES
        if (file := artifacts / f"provenance/{stage}.json").exists()
    )
    info = run.info
    if not provenance:
        raise UserError(f"run {info.run_id} has no provenance")
    commit = provenance[-1].commit
    if not commit:
        raise UserError(f"run {info.run_id} was made outside git, so it has no commit")
    record = RunRecord(info.run_id, info.run_name, info.status, provenance, commit, artifacts)
    return record, trial


def _read_provenance(file: Path) -> Provenance:
    content = _upgrade(json.loads(file.read_text()))
    file = file.with_suffix(".patch")
    patch = file.read_bytes() if file.exists() else b""
    return Provenance(
        Inputs(**{field.name: content[field.name] for field in fields(Inputs)}),
        Commit(**content["commit"], patch=patch) if content["commit"] else None,
        content["environment"],
    )


def _upgrade(content: dict[str, Any]) -> dict[str, Any]:
    """A document of an earlier version as this version writes it."""
    if "inputs" in content:
        content["files"] = content.pop("inputs")
    if "kernels" not in content:
        environment = content["environment"]
        content["kernels"] = {"PyTorch": environment["cpu_capability"], "CPU": environment["cpu"]}
        content["params"] = {content["stage"]: content["params"]}
    return content


def _read_trial(client: MlflowClient, run: Run) -> TrialRecord:
    epochs: dict[int, dict[str, str]] = defaultdict(dict)
    for name in run.data.metrics:
        field = name.replace("/", "_")  # earlier versions logged the names of the tables
        for point in client.get_metric_history(run.info.run_id, name):
            epochs[point.step] |= {"epoch": str(point.step), field: str(point.value)}
    tags = run.data.tags
    return TrialRecord(
        int(tags["trial"]),
        int(tags["seed"]) if "seed" in tags else None,
        {"state": tags["state"]} | run.data.params,
        [epochs[step] for step in sorted(epochs)],
    )
