"""MLflow as a person browses it: runs, trials below their study, their inputs and artifacts.

Where the store is, `stores` says. Nothing here is needed to make a result: results are files, and
this is their diary. A store that does not answer raises `stores.StoreError`; after that, as after a
kill, every entry may be made again and stands there once.
"""

import logging
import os
import platform
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import mlflow
import mlflow.data
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

from mnist_cnn import console, stores
from mnist_cnn.data import Digits
from mnist_cnn.errors import UserError
from mnist_cnn.files import md5
from mnist_cnn.provenance import Commit, Provenance, environment
from mnist_cnn.views import VIEWS

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

# Of the examples of a split, as MLflow names them.
_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}

# Of what a run is made by, which its trials share.
_SHARED_TAGS = (
    MLFLOW_USER,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    "git.commit",
    "git.clean",
    "dvc.experiment",
    "dataset",
)


@contextmanager
def asking() -> Iterator[None]:
    """Raise `stores.StoreError` where MLflow's store does not answer, or not as it should."""
    with stores.asking(f"MLflow's store {stores.named_tracking_uri()}", MlflowException):
        yield


def reader() -> MlflowClient:
    """A client of a store that is there already. Raises `UserError` where there is none.

    MLflow would make an empty one.
    """
    database = stores.sqlite_file(stores.tracking_uri())
    if database and not database.exists():
        raise UserError(f"{database}: missing; run where the runs were made")
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
def run(
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
    found = _search(f"tags.work = '{work}'")
    with _active(found, provenance.stage, tags) as now:
        with asking():
            mlflow.log_params(_flatten(provenance.params) | dict(hyperparameters or {}))
        _log_provenance(provenance, commit)
        yield now.info.run_id


@contextmanager
def run_that_made(
    path: Path, stage: str, provenance: Provenance, commit: Commit | None
) -> Iterator[str]:
    """Continue the latest run of `stage` that made this file, one of this workspace if there is.

    Yields its id. It is found by the file's content. Where the store has none, as in a clone that
    pulled the file, a new one is begun. It ends FINISHED, whatever happens here, as it has made the
    file. Where the stage that continues it came from is kept beside the provenance of the first.
    """
    _open_store()
    found = _search(f"tags.stage = '{stage}' and tags.`md5 {path}` = '{md5(path)}'")
    found.sort(key=lambda run: run.data.tags.get("workspace") != _workspace())
    tags = {"stage": stage, f"md5 {path}": md5(path)}
    with _active(found, stage, tags, on_error="FINISHED") as now:
        log_made(path)
        _log_provenance(provenance, commit)
        yield now.info.run_id


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
    found: Sequence[Run], name: str, tags: Mapping[str, str], on_error: str = "FAILED"
) -> Iterator[Run]:
    """The first of the runs found, or a new one, as MLflow's active run; its status tells the end.

    After an exception it has the status `on_error`, and instead of FAILED is KILLED by Ctrl-C.
    """
    with asking():
        active = mlflow.start_run(found[0].info.run_id if found else None, run_name=name, tags=tags)
    try:
        yield active
    except BaseException as error:
        killed = isinstance(error, KeyboardInterrupt) and on_error == "FAILED"
        with suppress(stores.StoreError), asking():  # the error that is under way matters more
            mlflow.end_run("KILLED" if killed else on_error)
        raise
    with asking():
        mlflow.end_run()


def _workspace() -> str:
    """Where a run is made, for those who share a store."""
    return f"{platform.node()}:{stores.root()}"


def log_now(entries: deque[Callable[[], object]]) -> None:
    """Make the entries, in order, and leave for later what the store does not take, saying so."""
    try:
        log_all(entries)
    except stores.StoreError as error:
        console.say(f"not logged yet, and tried again later: {error}", always=True)


def log_all(entries: deque[Callable[[], object]]) -> None:
    """Make the entries, in order; those that are made leave the queue."""
    while entries:
        entries[0]()
        entries.popleft()


@asking()
def log_made(*paths: Path) -> None:
    """Log the files that the active run made, and tag it with the MD5 of each."""
    for path in paths:
        mlflow.log_artifact(str(path), path.parent.name)
    mlflow.set_tags({f"md5 {path}": md5(path) for path in paths})


@asking()
def log_metrics(metrics: Mapping[str, float], prefix: str = "") -> None:
    """Log figures of the active run; one that stands there already is not logged again."""
    known = mlflow.get_run(mlflow.active_run().info.run_id).data.metrics
    named = {prefix + name: value for name, value in metrics.items()}
    mlflow.log_metrics({name: value for name, value in named.items() if known.get(name) != value})


@asking()
def describe(run_id: str, note: str) -> None:
    """Put a note in Markdown above a run in the UI, and below it how to make its result again."""
    again = f"Make it again: `python src/reproduce.py {run_id}`"
    MlflowClient().set_tag(run_id, MLFLOW_RUN_NOTE, f"{note}\n\n{again}\n")


@asking()
def log_epoch(run_id: str, epoch: Mapping[str, Any]) -> None:
    """Log the figures of one epoch of a run, at the step `epoch["epoch"]`, once."""
    client = MlflowClient()
    step = epoch["epoch"]
    known = {point.step for point in client.get_metric_history(run_id, "train_loss")}
    if step not in known:
        mlflow.log_metrics(_figures(epoch), step=step, run_id=run_id)


@asking()
def log_page(name: str, html: str) -> None:
    """Log a page that the UI shows with the active run. It is no result, as it tells of times."""
    mlflow.log_text(html, name)


@asking()
def log_folder(folder: Path) -> None:
    """Log the files of a folder as artifacts of the active run, under the folder's name.

    Not the hidden ones: git's, and those that a kill kept from getting their name.
    """
    for path in sorted(folder.glob("[!.]*")):
        mlflow.log_artifact(str(path), folder.name)


def _log_bytes(content: bytes, name: str, artifact_path: str) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(content)
        mlflow.log_artifact(str(path), artifact_path)


@asking()
def log_dataset(dataset: str, split: str, digits: Digits, source: Path) -> None:
    """Log the examples that the active run used: their shape, where from, and their digest.

    The name of the data set is a tag besides, by which runs are told apart in a table.

    Args:
        dataset: as torchvision names it.
        split: `train`, `validation` or `test`.
        digits: the examples.
        source: the file of their images.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The specified dataset source can be interpreted")
        logged = mlflow.data.from_numpy(
            digits.images.numpy(),
            source=str(source),
            targets=digits.labels.numpy(),
            name=f"{dataset.lower()}-{split}",
            digest=digits.digest(),
        )
    mlflow.log_input(logged, context=_CONTEXTS[split])
    mlflow.set_tag("dataset", dataset)


@asking()
def log_trial(
    parent: str,
    number: int,
    *,
    state: str,
    hyperparameters: Mapping[str, Any],
    history: Sequence[Mapping[str, Any]],
    times: Sequence[float],
    note: str,
    error: str | None,
) -> str:
    """Log a finished trial, once, as a run below that of its study; return its id.

    Args:
        parent: the id of the study's run.
        number: of the trial, from 0.
        state: `complete`, `pruned` (MLflow's KILLED) or `failed`.
        hyperparameters: all of them, searched or fixed.
        history: the figures of each epoch.
        times: Unix time in seconds of the start, the end of each epoch, and the end.
        note: stands above it in the UI.
        error: the traceback of a failed trial, kept as the artifact `error.txt`.
    """
    client = MlflowClient()
    for child in _search(f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}' and tags.trial = '{number}'"):
        if child.info.status != "RUNNING":
            return str(child.info.run_id)
        client.delete_run(child.info.run_id)  # its logging was cut short
    milliseconds = [round(1000 * moment) for moment in times]
    study = client.get_run(parent)
    child = client.create_run(
        study.info.experiment_id,
        start_time=milliseconds[0],
        run_name=f"trial-{number:03}",
        tags={name: study.data.tags[name] for name in _SHARED_TAGS if name in study.data.tags}
        | {
            MLFLOW_PARENT_RUN_ID: parent,
            "stage": "trial",
            "trial": str(number),
            "state": state,
        },
    )
    run_id: str = child.info.run_id
    points = [
        Metric(name, value, moment, epoch["epoch"])
        for epoch, moment in zip(history, milliseconds[1:], strict=False)
        for name, value in _figures(epoch).items()
    ]
    params = [Param(name, str(value)) for name, value in hyperparameters.items()]
    client.log_batch(run_id, points, params)
    client.log_inputs(run_id, study.inputs.dataset_inputs)
    describe(run_id, note)
    if error:
        client.log_text(run_id, error, "error.txt")
    status = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}[state]
    client.set_terminated(run_id, status, milliseconds[-1])
    return run_id


@asking()
def _search(filter_string: str) -> list[Run]:
    """Runs of the experiment, the latest first."""
    runs: list[Run] = mlflow.search_runs(
        experiment_names=[EXPERIMENT],
        filter_string=filter_string,
        order_by=["attributes.start_time DESC"],
        output_format="list",
    )
    return runs


def _figures(epoch: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in epoch.items() if name != "epoch"}


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, their keys joined by dots."""
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
