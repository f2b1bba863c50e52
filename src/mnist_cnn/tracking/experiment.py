"""The experiment of this project in MLflow's store: opened, and its runs found.

A store that does not answer raises `stores.StoreError`.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_cnn import interrupts, stores
from mnist_cnn.errors import UserError
from mnist_cnn.files import md5
from mnist_cnn.tracking import notes, relocation

import mlflow
from mlflow import MlflowClient, entities
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NOTE

# MLflow reports that it creates its tables, and logs errors that it also raises.
logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)

NAME = "mnist-cnn"


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise `stores.StoreError` for errors of MLflow's store.

    An interrupt waits for the end of the block: in the middle of a transaction, it would leave
    SQLite locked for what is logged about it.
    """
    uri = stores.hide_password(stores.tracking_uri())
    with interrupts.deferred(), stores.store_errors(f"MLflow's store {uri}", MlflowException):
        try:
            yield
        except MlflowException as error:
            # What is no JSON is a web page: of a proxy, or of a server without this endpoint.
            reason, page, _ = error.message.partition(". Response body:")
            if not page:
                raise
            if "error code 404" in reason:
                reason += "; a server of MLflow 3.0 or later is needed"
            raise MlflowException(reason) from error


def find_runs_by_output(path: Path, stage: str) -> list[entities.Run]:
    """The runs of a stage that made this file, identified by its content, the latest first."""
    return find_runs(f"tags.stage = '{stage}' and tags.`md5 {path}` = '{md5(path)}'")


@store_errors()
def find_runs(filter_string: str) -> list[entities.Run]:
    """Runs of the experiment by MLflow's search syntax, the latest first."""
    client = MlflowClient(stores.tracking_uri())
    experiment = client.get_experiment_by_name(NAME)
    found: list[entities.Run] = client.search_runs(
        [experiment.experiment_id] if experiment else [],
        filter_string,
        max_results=50_000,  # MLflow's limit
        order_by=["attributes.start_time DESC"],
    )
    return found


@store_errors()
def existing_store() -> MlflowClient:
    """A client of a store that exists. Raises `UserError` otherwise; MLflow would create one."""
    stores.require_existing(stores.tracking_uri(), "evaluate")
    relocation.follow(stores.tracking_uri(), NAME)
    return MlflowClient(stores.tracking_uri())


@store_errors()
def existing_id() -> str:
    """The id of the experiment. Raises `UserError` if there is none."""
    found = existing_store().get_experiment_by_name(NAME)
    if not found:
        raise UserError(f"no experiment {NAME} in this store; {stores.how_to_create('tune')}")
    return str(found.experiment_id)


@store_errors()
def open_experiment() -> None:
    """Make it MLflow's active experiment; created if it does not exist.

    Raises `UserError` if it was deleted.
    """
    mlflow.set_tracking_uri(stores.tracking_uri())
    with stores.creation_lock(stores.tracking_uri()):
        relocation.follow(stores.tracking_uri(), NAME)
        known = mlflow.get_experiment_by_name(NAME)
    if known is None:
        with suppress(MlflowException):  # another process was faster, or the next line will fail
            mlflow.create_experiment(NAME, stores.artifact_location())
    elif known.lifecycle_stage == "deleted":
        restore = f"mlflow experiments restore --experiment-id {known.experiment_id}"
        raise UserError(f"MLflow's experiment {NAME} was deleted; `{restore}` restores it")
    known = mlflow.set_experiment(NAME)
    if MLFLOW_RUN_NOTE not in known.tags:
        mlflow.set_experiment_tag(MLFLOW_RUN_NOTE, notes.EXPERIMENT)
