"""A run in MLflow's store, and everything that is logged to it.

Results are files; a run is the record of how they were made. A store that does not answer raises
`stores.StoreError`. Everything can be logged again, after that or after a kill, and appears once.
"""

import warnings
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mnist_cnn import console, faults, stores
from mnist_cnn.files import md5
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.training import Epoch
from mnist_cnn.search.finalists import Finalist
from mnist_cnn.search.params import Objective, Tune
from mnist_cnn.search.trial import Trial
from mnist_cnn.tracking import notes
from mnist_cnn.tracking.experiment import find_runs, store_errors

import mlflow
import mlflow.data
from mlflow import MlflowClient, entities
from mlflow.utils.mlflow_tags import (
    MLFLOW_DATASET_CONTEXT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)

# The name that MLflow has for the use of each split.
_CONTEXTS = {"train": "training", "validation": "validation", "test": "testing"}

# Tags that a trial has from the run of its study.
_SHARED_TAGS = (
    *(MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE),
    *("git.commit", "git.clean", "dvc.experiment", "dataset"),
)

_STATUS = {"complete": "FINISHED", "pruned": "KILLED", "failed": "FAILED"}


class Run:
    """A run. While it is open it is also MLflow's active run, for MLflow's own functions."""

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self._client = MlflowClient()
        self._queue: deque[Callable[[], object]] = deque()

    @store_errors()
    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log parameters. Nested mappings become keys joined by dots."""
        flat = [entities.Param(name, str(value)) for name, value in _flatten(params).items()]
        self._client.log_batch(self.id, params=flat)

    @store_errors()
    def log_metrics(self, metrics: Mapping[str, float], prefix: str = "") -> None:
        """Log metrics, their names after a prefix, except those that have this value already."""
        known = self._client.get_run(self.id).data.metrics
        named = {prefix + name: value for name, value in metrics.items()}
        new = {name: value for name, value in named.items() if known.get(name) != value}
        mlflow.log_metrics(new, run_id=self.id)

    @store_errors()
    def log_epoch(self, epoch: Epoch) -> None:
        """Log the metrics of an epoch, at the step of its number, unless they are there."""
        known = self._client.get_metric_history(self.id, metric_name("train_loss"))
        if epoch.epoch not in {point.step for point in known}:
            mlflow.log_metrics(_metrics(epoch), step=epoch.epoch, run_id=self.id)

    @store_errors()
    def log_progress(self, trial: Trial, best: Trial, objective: Objective) -> None:
        """Log a complete trial's value and the best one so far, at the step of the trial's number.

        The points of a trial are always the same, and the store keeps equal ones once.
        """
        values = {objective.metric: trial, f"best_{objective.metric}": best}
        points = [
            entities.Metric(
                f"trials/{name}",
                each.history[-1].metrics()[objective.metric],
                round(1000 * trial.times[-1]),
                trial.number,
            )
            for name, each in values.items()
        ]
        self._client.log_batch(self.id, points)

    @store_errors()
    def log_text(self, name: str, text: str) -> None:
        """Log a text as an artifact."""
        self._client.log_text(self.id, text, name)

    @store_errors()
    def log_folder(self, folder: Path) -> None:
        """Log the files of a folder and its sub-folders as artifacts, under the folder's name.

        Hidden files are left out: those of git, and unfinished ones.
        """
        faults.point("report written")
        for path in sorted(folder.rglob("[!.]*")):
            if path.is_file():
                self._client.log_artifact(
                    self.id, str(path), str(path.parent.relative_to(folder.parent))
                )

    @store_errors()
    def log_outputs(self, *paths: Path) -> None:
        """Log files that the run made, and tag it with the MD5 of each, as in `dvc.lock`."""
        for path in paths:
            self._client.log_artifact(self.id, str(path), path.parent.name)
        faults.point("outputs logged")
        for path in paths:
            self._client.set_tag(self.id, f"md5 {path}", md5(path))

    @store_errors()
    def log_dataset(self, dataset: str, split: str, examples: Examples, source: Path) -> None:
        """Log which examples the run used: their shape, source and digest.

        Args:
            dataset: its name in torchvision, also logged as the tag `dataset`.
            split: `train`, `validation` or `test`.
            examples: the examples.
            source: the file with their images.
        """
        faults.point("run opened")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The specified dataset source can be interpreted")
            logged = mlflow.data.from_numpy(
                examples.images.numpy(),
                source=str(source),
                targets=examples.labels.numpy(),
                name=f"{dataset.lower()}-{split}",
                digest=examples.digest(),
            )
        context = entities.InputTag(MLFLOW_DATASET_CONTEXT, _CONTEXTS[split])
        inputs = entities.DatasetInput(entities.Dataset(**logged.to_dict()), [context])
        self._client.log_inputs(self.id, [inputs])
        self._client.set_tag(self.id, "dataset", dataset)

    @store_errors()
    def log_provenance(self, stage: str, document: Mapping[str, Any], patch: bytes) -> None:
        """Log what a stage of the run was made from, as `reproduce.run_record` reads it.

        Args:
            stage: its name.
            document: becomes `provenance/<stage>.json`.
            patch: the uncommitted changes; becomes `provenance/<stage>.patch` unless it is empty.
        """
        self._client.log_dict(self.id, dict(document), f"provenance/{stage}.json")
        name = f"{stage}.patch"
        logged = {file.path for file in self._client.list_artifacts(self.id, "provenance")}
        # A resumed run may have a patch of an earlier state of the working tree.
        if patch or f"provenance/{name}" in logged:
            with TemporaryDirectory() as folder:
                Path(folder, name).write_bytes(patch)
                self._client.log_artifact(self.id, str(Path(folder, name)), "provenance")

    @store_errors()
    def log_trial(self, trial: Trial, tune: Tune) -> None:
        """Log a finished trial as a nested run, unless it is there.

        Args:
            trial: a pruned one gets MLflow's status KILLED.
            tune: for the objective and the hyperparameters that were not tuned.
        """
        tags = {"stage": "trial", "trial": str(trial.number)}
        note = notes.trial(trial, tune.objective)
        self._log_nested(f"trial-{trial.number:03}", tags, trial, tune, note)

    @store_errors()
    def log_finalist(self, finalist: Finalist, tune: Tune) -> None:
        """Log each training of a finalist as a nested run, unless it is there.

        Args:
            finalist: a failed training gets MLflow's status FAILED.
            tune: as for `log_trial`.
        """
        for seed, training in enumerate(finalist.trainings):
            number = training.number
            tags = {"stage": "finalist", "trial": str(number), "seed": str(seed)}
            note = notes.finalist(training, seed, tune.objective)
            self._log_nested(f"finalist-{number:03}-{seed}", tags, training, tune, note)

    def _log_nested(
        self, name: str, tags: Mapping[str, str], trial: Trial, tune: Tune, note: str
    ) -> None:
        """Log a trial as a nested run, unless it is there with the same state.

        Args:
            name: of the nested run.
            tags: identify it among those of this run.
            trial: the trial, or a training of a finalist.
            tune: for the hyperparameters that were not tuned.
            note: its description.
        """
        client = self._client
        known = {MLFLOW_PARENT_RUN_ID: self.id, **tags}
        query = " and ".join(f"tags.`{tag}` = '{value}'" for tag, value in known.items())
        for child in find_runs(query):
            if child.info.status != "RUNNING" and child.data.tags["state"] == trial.state:
                return
            # A kill cut its logging short, or a resumed finalist did not fail again.
            client.delete_run(child.info.run_id)
        milliseconds = [round(1000 * moment) for moment in trial.times]
        parent = client.get_run(self.id)
        _, _, label = parent.info.run_name.partition(" ")
        child = client.create_run(
            parent.info.experiment_id,
            start_time=milliseconds[0],
            run_name=f"{name} {label}",
            tags={tag: parent.data.tags[tag] for tag in _SHARED_TAGS if tag in parent.data.tags}
            | known
            | {"state": trial.state},
        )
        faults.point("trial half logged")
        points = [
            entities.Metric(name, value, moment, epoch.epoch)
            for epoch, moment in zip(trial.history, milliseconds[1:], strict=False)
            for name, value in _metrics(epoch).items()
        ]
        hyperparameters = {**tune.hyperparameters, **trial.hyperparameters}
        params = [entities.Param(name, str(value)) for name, value in hyperparameters.items()]
        client.log_batch(child.info.run_id, points, params)
        client.log_inputs(child.info.run_id, parent.inputs.dataset_inputs)
        nested = Run(child.info.run_id)
        nested.set_note(note)
        if trial.error:
            nested.log_text("error.txt", trial.error)
        client.set_terminated(child.info.run_id, _STATUS[trial.state], milliseconds[-1])

    @store_errors()
    def set_note(self, note: str) -> None:
        """Set the description of the run, in Markdown; a line on how to reproduce it is added."""
        how = f"Reproduce it: `python src/reproduce.py {self.id}`"
        self._client.set_tag(self.id, MLFLOW_RUN_NOTE, f"{note}\n\n{how}\n")

    def log_later(self, entry: Callable[[], object]) -> None:
        """Queue an entry, then log the queue as far as the store answers. Warns if it does not."""
        self._queue.append(entry)
        try:
            self.flush()
        except stores.StoreError as error:
            console.warn(f"not logged yet, will be tried again: {error}")

    def flush(self) -> None:
        """Log all queued entries, in order. Raises `StoreError` if the store does not answer."""
        while self._queue:
            self._queue[0]()
            self._queue.popleft()


def metric_name(field: str) -> str:
    """A metric of `training.Epoch` as MLflow has it: `train/loss` for `train_loss`.

    MLflow shows the metrics before the slash in a section of their own, above single numbers
    without one, such as `test_accuracy`.
    """
    return field.replace("_", "/", 1)


def _metrics(epoch: Epoch) -> dict[str, float]:
    metrics = epoch.metrics()
    return {metric_name(name): metrics[name] for name in metrics if name != "epoch"}


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat
