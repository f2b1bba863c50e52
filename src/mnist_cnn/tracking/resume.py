"""The run of a job, opened: created, or resumed after a kill."""

import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_cnn import stores
from mnist_cnn.files import md5
from mnist_cnn.tracking.experiment import (
    find_runs,
    find_runs_by_output,
    open_experiment,
    store_errors,
)
from mnist_cnn.tracking.run import Run

import mlflow
from mlflow import MlflowClient, entities


@contextmanager
def resume_run(stage: str, job: str, tags: Mapping[str, str]) -> Iterator[Run]:
    """Open the run of a job: the existing one, or a new one.

    It ends FINISHED, KILLED after Ctrl-C, or FAILED after another exception. Its name is that of
    the stage, and that of the DVC experiment or the first digits of the job's fingerprint.

    Args:
        stage: the name of the stage.
        job: the unique name of the job, `stage-fingerprint-suffix`.
        tags: of the run.
    """
    tags = {**tags, "stage": stage, "job": job, "workspace": _workspace()}
    label = job.removeprefix(f"{stage}-")[:7]
    if experiment := os.environ.get("DVC_EXP_NAME"):
        label = tags["dvc.experiment"] = experiment
    open_experiment()
    with _activate(find_runs(f"tags.job = '{job}'"), f"{stage} {label}", tags) as run:
        yield run


@contextmanager
def resume_run_by_output(path: Path, stage: str) -> Iterator[Run]:
    """Open the latest run of a stage that made this file, preferably one of this working folder.

    The file is identified by its content. If no run made it, for example because it was pulled with
    DVC, a new run is created. Whatever happens, the run stays FINISHED and keeps its end time.
    """
    open_experiment()
    found = find_runs_by_output(path, stage)
    found.sort(key=lambda run: run.data.tags.get("workspace") != _workspace())
    tags = {"stage": stage, f"md5 {path}": md5(path)}
    if found and (ended := found[0].info.end_time):
        tags["ended"] = found[0].data.tags.get("ended", str(ended))
    name = found[0].info.run_name if found else f"{stage} {md5(path)[:7]}"
    with _activate(found, name, tags, finished=True) as run:
        run.log_outputs(path)
        yield run


@contextmanager
def _activate(
    found: Sequence[entities.Run], name: str, tags: Mapping[str, str], *, finished: bool = False
) -> Iterator[Run]:
    """Make the first run found, or a new one, MLflow's active run, and set its status at the end.

    A run that had `finished` before stays so, with its end time in the tag `ended`.
    """

    def end(status: str) -> None:
        mlflow.end_run(status)
        if "ended" in tags:
            MlflowClient().set_terminated(run.id, status, int(tags["ended"]))

    # Of a notebook or another job: MLflow would go on with that run.
    os.environ.pop("MLFLOW_RUN_ID", None)
    with store_errors():
        run_id = found[0].info.run_id if found else None
        run = Run(mlflow.start_run(run_id, run_name=name, tags=dict(tags)).info.run_id)
    try:
        yield run
    except BaseException as error:
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
        with suppress(stores.StoreError), store_errors():  # the first error matters more
            end("FINISHED" if finished else status)
        raise
    with store_errors():
        end("FINISHED")


def _workspace() -> str:
    """The working folder, for those who share a store."""
    return f"{platform.node()}:{stores.root()}"
