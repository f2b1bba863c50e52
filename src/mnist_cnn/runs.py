"""Runs of MLflow's store: begun, continued, and found by what they are made from and have made.

What is logged to them for a person to read is in `tracking`. Where the store is, `stores` says. One
that does not answer raises `stores.StoreError`; after that, as after a kill, the same work
continues its run.
"""

import logging
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mnist_cnn import stores
from mnist_cnn.files import md5
from mnist_cnn.provenance import Commit, Provenance, environment
from mnist_cnn.views import VIEWS

import mlflow
from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

# What it does by itself, such as making its tables, is no news to who waits for a result.
logging.getLogger("mlflow").setLevel(logging.WARNING)
# Logs with a traceback what it also raises.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

EXPERIMENT = "mnist-cnn"

_EXPERIMENT_TAGS = {
    MLFLOW_RUN_NOTE: "Searches for the hyperparameters of a network, `tune`, with their trials; "
    "and the networks made with the best ones, `train`. Under *Views* are tables of both.",
    **{f"mlflow.sharedViewState.{name}": view for name, view in VIEWS.items()},
}


@contextmanager
def asking() -> Iterator[None]:
    """Raise `stores.StoreError` where MLflow's store does not answer, or not as it should."""
    with stores.asking(f"MLflow's store {stores.named_tracking_uri()}", MlflowException):
        yield


def reader() -> MlflowClient:
    """A client of a store that is there already. Raises `UserError` where there is none.

    MLflow would make an empty one.
    """
    stores.require(stores.tracking_uri())
    return MlflowClient(stores.tracking_uri())


@asking()
def _open_store() -> None:
    mlflow.set_tracking_uri(stores.tracking_uri())
    with stores.opening(stores.tracking_uri()):
        known = mlflow.get_experiment_by_name(EXPERIMENT)
    if known is None:
        with suppress(MlflowException):  # another process was faster, or the next line tells why
            mlflow.create_experiment(EXPERIMENT, stores.artifact_location())
    known = mlflow.set_experiment(EXPERIMENT)
    mlflow.set_experiment_tags(
        {name: tag for name, tag in _EXPERIMENT_TAGS.items() if name not in known.tags}
    )


@contextmanager
def of_work(
    provenance: Provenance,
    commit: Commit | None,
    hyperparameters: Mapping[str, Any] | None = None,
    *,
    work: str,
) -> Iterator[str]:
    """The run of a stage's work, begun or continued; yields its id.

    It ends FINISHED, KILLED when interrupted, or FAILED, and is found again by the name of the
    `work`. The parameters of the provenance and the hyperparameters are parameters of the run.
    Where the stage came from is kept in the folder `provenance` of its artifacts.
    """
    _open_store()
    tags = {
        "stage": provenance.stage,
        "fingerprint": provenance.fingerprint,
        "work": work,
        "workspace": _workspace(),
    }
    if commit:
        tags |= {"git.commit": commit.revision, "git.clean": str(commit.clean).lower()}
    if experiment := os.environ.get("DVC_EXP_NAME"):
        tags["dvc.experiment"] = experiment
    found = search(f"tags.work = '{work}'")
    with _active(found, provenance.stage, tags) as now:
        with asking():
            params = {k: v for section in provenance.params.values() for k, v in section.items()}
            mlflow.log_params(_flatten(params) | dict(hyperparameters or {}))
        _log_provenance(provenance, commit)
        yield now.info.run_id


@contextmanager
def that_made(
    path: Path, stage: str, provenance: Provenance, commit: Commit | None
) -> Iterator[str]:
    """Continue the latest run of `stage` that made this file, one of this workspace if there is.

    Yields its id. It is found by the file's content. Where the store has none, as in a clone that
    pulled the file, a new one is begun. It ends FINISHED, whatever happens here, and when it first
    did, as it has made the file. Where the stage that continues it came from is kept beside the
    provenance of the first.
    """
    _open_store()
    found = makers(path, stage)
    found.sort(key=lambda run: run.data.tags.get("workspace") != _workspace())
    tags = {"stage": stage, f"md5 {path}": md5(path)}
    if found and (ended := found[0].info.end_time):
        tags["ended"] = found[0].data.tags.get("ended", str(ended))
    with _active(found, stage, tags, done=True) as now:
        log_made(path)
        _log_provenance(provenance, commit)
        yield now.info.run_id


def makers(path: Path, stage: str) -> list[Run]:
    """The runs of `stage` that made this file, known by its content, the latest first."""
    return search(f"tags.stage = '{stage}' and tags.`md5 {path}` = '{md5(path)}'")


@asking()
def log_made(*paths: Path) -> None:
    """Log the files that the active run made, and tag it with the MD5 of each."""
    for path in paths:
        mlflow.log_artifact(str(path), path.parent.name)
    mlflow.set_tags({f"md5 {path}": md5(path) for path in paths})


@asking()
def _log_provenance(origin: Provenance, commit: Commit | None) -> None:
    """Log where a stage of the active run came from, which `records` reads.

    `<stage>.json` has the provenance, the commit, and the packages and machine; `<stage>.patch`
    what the working tree had besides the commit.
    """
    at = {"revision": commit.revision, "clean": commit.clean} if commit else None
    mlflow.log_dict(
        asdict(origin) | {"commit": at, "environment": environment()},
        f"provenance/{origin.stage}.json",
    )
    patch = f"{origin.stage}.patch"
    run_id = mlflow.active_run().info.run_id
    logged = [artifact.path for artifact in MlflowClient().list_artifacts(run_id, "provenance")]
    # Of a run that is continued, from a state of the tree that may be another, one is replaced.
    if commit and (commit.patch or f"provenance/{patch}" in logged):
        _log_bytes(commit.patch, patch, "provenance")


@contextmanager
def _active(
    found: Sequence[Run], name: str, tags: Mapping[str, str], *, done: bool = False
) -> Iterator[Run]:
    """The first of the runs found, or a new one, as MLflow's active run; its status tells the end.

    After an exception it is FAILED, or KILLED by Ctrl-C; one whose work is `done` stays FINISHED,
    and keeps the time when it was, so that its duration is that of the work.
    """

    def end(status: str) -> None:
        mlflow.end_run(status)
        if "ended" in tags:
            MlflowClient().set_terminated(active.info.run_id, status, int(tags["ended"]))

    with asking():
        active = mlflow.start_run(found[0].info.run_id if found else None, run_name=name, tags=tags)
    try:
        yield active
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        with suppress(stores.StoreError), asking():  # the error that is under way matters more
            end("FINISHED" if done else status)
        raise
    with asking():
        end("FINISHED")


def _workspace() -> str:
    """Where a run is made, for those who share a store."""
    return f"{platform.node()}:{stores.root()}"


@asking()
def search(filter_string: str) -> list[Run]:
    """Runs of the experiment, the latest first."""
    client = MlflowClient(stores.tracking_uri())
    experiment = client.get_experiment_by_name(EXPERIMENT)
    found: list[Run] = client.search_runs(
        [experiment.experiment_id] if experiment else [],
        filter_string,
        max_results=50_000,  # MLflow's limit
        order_by=["attributes.start_time DESC"],
    )
    return found


def _log_bytes(content: bytes, name: str, artifact_path: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        mlflow.log_artifact(str(path), artifact_path)


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, their keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
