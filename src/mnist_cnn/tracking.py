"""What is logged to MLflow: figures, inputs, artifacts, notes, and the trials below their study.

Nothing here is needed to make a result: results are files, and this is their diary. A store that
does not answer raises `stores.StoreError`; after that, as after a kill, every entry may be made
again and stands there once. The runs themselves are begun in `runs`.
"""

import warnings
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_cnn import console, runs, stores
from mnist_cnn.data import Digits

import mlflow
import mlflow.data
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.utils.mlflow_tags import (
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

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


@runs.asking()
def log_metrics(metrics: Mapping[str, float], prefix: str = "") -> None:
    """Log figures of the active run; one that stands there already is not logged again."""
    known = mlflow.get_run(mlflow.active_run().info.run_id).data.metrics
    named = {prefix + name: value for name, value in metrics.items()}
    mlflow.log_metrics({name: value for name, value in named.items() if known.get(name) != value})


@runs.asking()
def describe(run_id: str, note: str) -> None:
    """Put a note in Markdown above a run in the UI, and below it how to make its result again."""
    again = f"Make it again: `python src/reproduce.py {run_id}`"
    MlflowClient().set_tag(run_id, MLFLOW_RUN_NOTE, f"{note}\n\n{again}\n")


@runs.asking()
def log_epoch(run_id: str, epoch: Mapping[str, Any]) -> None:
    """Log the figures of one epoch of a run, at the step `epoch["epoch"]`, once."""
    client = MlflowClient()
    step = epoch["epoch"]
    known = {point.step for point in client.get_metric_history(run_id, "train_loss")}
    if step not in known:
        mlflow.log_metrics(_figures(epoch), step=step, run_id=run_id)


@runs.asking()
def log_page(name: str, html: str) -> None:
    """Log a page that the UI shows with the active run. It is no result, as it tells of times."""
    mlflow.log_text(html, name)


@runs.asking()
def log_folder(folder: Path) -> None:
    """Log the files of a folder as artifacts of the active run, under the folder's name.

    Not the hidden ones: git's, and those that a kill kept from getting their name.
    """
    for path in sorted(folder.glob("[!.]*")):
        mlflow.log_artifact(str(path), folder.name)


@runs.asking()
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


@runs.asking()
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
    for child in runs.search(
        f"tags.`{MLFLOW_PARENT_RUN_ID}` = '{parent}' and tags.trial = '{number}'"
    ):
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


def _figures(epoch: Mapping[str, Any]) -> dict[str, float]:
    return {name: value for name, value in epoch.items() if name != "epoch"}
