"""Where state lives that outlives a stage: MLflow's store, Optuna's storage, and checkpoints.

All of it is in the root of the project, where the tools look for it. DVC runs an experiment in a
temporary copy of the project; then the environment variable `DVC_ROOT` names the root.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from textwrap import shorten

from mnist_cnn.errors import UserError

from filelock import FileLock
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError


class StoreError(UserError):
    """A store does not answer, or not as expected."""


def root() -> Path:
    """The root of the project, an absolute path."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def tracking_uri() -> str:
    """The address of MLflow's store: `MLFLOW_TRACKING_URI`, or `mlflow.db` in the root.

    Raises `UserError` for a folder, in which MLflow stores runs no more.
    """
    uri = os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"
    if uri.startswith("file:") or not ("://" in uri or uri.startswith("databricks")):
        raise UserError(
            f"MLFLOW_TRACKING_URI={uri}: a folder; name a database, such as sqlite:///mlflow.db, "
            "or a server"
        )
    return _in_root(uri)


def artifact_location() -> str | None:
    """Where MLflow's artifacts go: `mlruns` beside an SQLite file; None to leave it to a server.

    Raises `UserError` for another database, unless `MLFLOW_DEFAULT_ARTIFACT_ROOT` names a place.
    """
    uri = tracking_uri()
    if uri.startswith("http"):
        return None
    if file := sqlite_file(uri):
        return str(file.parent / "mlruns")
    place = os.environ.get("MLFLOW_DEFAULT_ARTIFACT_ROOT")
    if not place:
        raise UserError(
            "MLFLOW_TRACKING_URI names a database; name a folder or bucket for its artifacts in "
            "MLFLOW_DEFAULT_ARTIFACT_ROOT"
        )
    return place if re.match(r"[a-z][\w+.-]*:", place) else str(root() / place)


def study_storage() -> str:
    """The address of Optuna's storage: `OPTUNA_STORAGE`, or `optuna.db` in the root."""
    # SQLite waits 5 seconds for a lock; MLflow waits 20.
    return _in_root(os.environ.get("OPTUNA_STORAGE") or "sqlite:///optuna.db?timeout=20")


def _in_root(uri: str) -> str:
    """The address with a relative path of an SQLite file taken from the root.

    The working folder can be a copy of the project that DVC deletes after an experiment.
    """
    file = sqlite_file(uri)
    if not file or file.is_absolute():
        return uri
    return make_url(uri).set(database=str(root() / file)).render_as_string(hide_password=False)


def checkpoints() -> Path:
    """The folder with the state of unfinished jobs."""
    return root() / "models/checkpoints"


def creation_lock(uri: str) -> AbstractContextManager[object]:
    """Hold this while opening a store: two processes that create its tables at once break it.

    A server of MLflow creates its tables itself.
    """
    if file := sqlite_file(uri):
        return FileLock(f"{file}.lock")
    return _advisory_lock(uri) if uri.startswith("postgresql") else nullcontext()


@contextmanager
def _advisory_lock(uri: str) -> Iterator[None]:
    """A lock that PostgreSQL releases with the connection."""
    with create_engine(uri, poolclass=NullPool).connect() as connection:
        connection.execute(text("select pg_advisory_lock(1)"))
        yield


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite database; None if the address is of another kind or in memory."""
    file = make_url(uri).database if uri.startswith("sqlite") else None
    return Path(file) if file else None


def require_existing(uri: str, stage: str) -> None:
    """Raise `UserError` if a store does not exist yet. Its library would create an empty one.

    Args:
        uri: of the store.
        stage: one that fills it.
    """
    file = sqlite_file(uri)
    if file and not file.exists():
        raise UserError(f"{file}: missing; {how_to_create(stage)}")


def how_to_create(stage: str) -> str:
    """How to create what a stage writes into a store, also if all its files are up to date."""
    force = f"dvc repro --force --single-item {stage}"
    return (
        f"`make repro` creates it, or `{force}` if that has nothing to do; `make quick` creates "
        "one from a part of the data"
    )


# SQLAlchemy can hide the password of an address, but not one in the message of a driver.
_PASSWORD = re.compile(r"//[^/\s]*@")


def hide_password(text: str) -> str:
    """Remove the user name and password from every address in a text."""
    return _PASSWORD.sub("//", text)


@contextmanager
def store_errors(store: str, *errors: type[Exception]) -> Iterator[None]:
    """Raise a `StoreError` of one line for errors of databases, networks and the system.

    Args:
        store: the name of the store in the message.
        errors: further exceptions to convert, those of the store's library.
    """
    converted: tuple[type[Exception], ...] = (SQLAlchemyError, OSError, ImportError, *errors)
    try:
        yield
    except converted as error:
        cause = _root_cause(error)
        reason = shorten(hide_password(str(cause or error).partition("\n")[0]), 200)
        advice = "; run the same command again when that is fixed" if cause else ""
        raise StoreError(f"{store}: {reason}{advice}") from error


def _root_cause(error: BaseException) -> BaseException | None:
    """The first `OSError` or driver error in the chain of exceptions, or None."""
    cause = None
    link: BaseException | None = error
    while link:
        if isinstance(link, DBAPIError) and link.orig:
            cause = link.orig
        elif isinstance(link, OSError):
            cause = link
        link = link.__cause__ or link.__context__
    return cause
