"""What MLflow keeps of a run, read back: what it was made from, and what it made."""

import json
import re
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mnist_cnn import registry, runs
from mnist_cnn.errors import UserError
from mnist_cnn.files import md5
from mnist_cnn.provenance import Commit, Provenance

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

_DIGEST = re.compile(r"[0-9a-f]{32}")  # of an MD5, and of MLflow's ids too


@dataclass(frozen=True)
class Source:
    """What a stage was made from, and where."""

    provenance: Provenance
    commit: Commit
    environment: dict[str, Any]
    """As `provenance.environment` tells it."""


@dataclass(frozen=True)
class Record:
    """A run of a stage, or of two: `evaluate` continues the run of `train`."""

    run_id: str
    name: str
    status: str
    sources: tuple[Source, ...]
    """Of its stages, in their order."""
    artifacts: Path
    """A copy of all that the run logged."""

    def made(self) -> dict[Path, Path]:
        """The files that the run made, by the paths that they have in the project."""
        folders = {"models": Path("models"), "reports": Path("reports")} | {
            source.provenance.stage: Path("reports", source.provenance.stage)
            for source in self.sources
        }
        return {
            target / file.name: file
            for name, target in folders.items()
            for file in sorted(self.artifacts.joinpath(name).glob("*"))
        }


@dataclass(frozen=True)
class TrialRecord:
    """A trial, as its run tells it; all values as `trials.csv` and `epochs.csv` write them."""

    number: int
    row: dict[str, str]
    """Its state and its hyperparameters, fixed ones too."""
    epochs: list[dict[str, str]]
    """The figures of each epoch."""


@runs.asking()
def find(name: str) -> Run:
    """The run that a person means.

    Args:
        name: a run's id; the MD5 of a file that a run is tagged with, `best_model.pth`,
            `best_params.json` or `trials.csv`; a `.pth` itself; or a registered model, as
            `registry.find_version` takes it.

    Raises `UserError` when the store has none, or cannot be asked.
    """
    client = runs.reader()
    path = Path(name)
    if path.suffix == ".pth":
        if not path.is_file():
            raise UserError(f"{name}: missing")
        return _that_made(md5(path), name)
    if not _DIGEST.fullmatch(name):
        if not {"@", "/"} & set(name):
            raise UserError(
                f"{name}: neither the id of a run nor an MD5, of 32 hexadecimal digits, nor a .pth "
                f"file, nor a registered model, {registry.MODEL}@champion or {registry.MODEL}/3"
            )
        return client.get_run(registry.find_version(name).run_id)
    try:
        return client.get_run(name)
    except MlflowException:
        return _that_made(name, name)


def _that_made(digest: str, name: str) -> Run:
    """The latest run that made a file of this MD5."""
    for run in runs.search("tags.stage != 'trial'"):
        if digest in run.data.tags.values():
            return run
    raise UserError(f"{name}: no run of this store has this id, or is tagged with this MD5")


@runs.asking()
def read(run: Run, folder: Path) -> tuple[Record, TrialRecord | None]:
    """All of a run, copied into a folder; of a trial, the record of its study, and its own.

    Raises `UserError` when the run does not tell what it was made from.
    """
    client = runs.reader()
    trial = None
    if parent := run.data.tags.get(MLFLOW_PARENT_RUN_ID):
        trial = _trial(client, run)
        run = client.get_run(parent)
    artifacts = Path(client.download_artifacts(run.info.run_id, "", str(folder)))
    record = Record(
        run.info.run_id,
        run.info.run_name,
        run.info.status,
        tuple(
            _source(file, run.info.run_id)
            for stage in ("tune", "train", "evaluate")
            if (file := artifacts / f"provenance/{stage}.json").exists()
        ),
        artifacts,
    )
    if not record.sources:
        raise UserError(f"run {record.run_id} does not tell what it was made from")
    return record, trial


def _source(file: Path, run_id: str) -> Source:
    content = _upgrade(json.loads(file.read_text()))
    patch = file.with_suffix(".patch")
    if not content["commit"]:
        raise UserError(f"run {run_id} was made outside git, and names no commit")
    return Source(
        Provenance(**{field.name: content[field.name] for field in fields(Provenance)}),
        Commit(**content["commit"], patch=patch.read_bytes() if patch.exists() else b""),
        content["environment"],
    )


def _upgrade(content: dict[str, Any]) -> dict[str, Any]:
    """A record as this version writes it; earlier ones had one section, and no `kernels`."""
    if "kernels" in content:
        return content
    environment = content["environment"]
    kernels = {"PyTorch": environment["cpu_capability"], "CPU": environment["cpu"]}
    return content | {"params": {content["stage"]: content["params"]}, "kernels": kernels}


def _trial(client: MlflowClient, run: Run) -> TrialRecord:
    epochs: dict[int, dict[str, str]] = defaultdict(dict)
    for name in run.data.metrics:
        for point in client.get_metric_history(run.info.run_id, name):
            epochs[point.step] |= {"epoch": str(point.step), name: str(point.value)}
    return TrialRecord(
        int(run.data.tags["trial"]),
        {"state": run.data.tags["state"]} | run.data.params,
        [epochs[step] for step in sorted(epochs)],
    )
