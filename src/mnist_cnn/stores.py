"""Where state lives that must outlive a stage: MLflow's store, Optuna's, and checkpoints.

All of it is in the root of the project, where the tools look for it by themselves. DVC runs an
experiment in a copy of the project and removes the copy; `DVC_ROOT` then names the original, so
that what an experiment did stands beside everything else.
"""

import os
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from textwrap import shorten

from mnist_cnn.errors import UserError

from filelock import FileLock
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError


def root() -> Path:
    """The root of the project, an absolute path."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def tracking_uri() -> str:
    """The address of MLflow's store: `MLFLOW_TRACKING_URI`, or `mlflow.db` in the root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root()}/mlflow.db"


def named_tracking_uri() -> str:
    """That address without a password, for messages."""
    return _PASSWORD.sub("//", tracking_uri())


def artifact_location() -> str | None:
    """The folder of artifacts of MLflow's store: `mlruns` in the root, or as its server says."""
    return None if tracking_uri().startswith("http") else str(root() / "mlruns")


def study_storage() -> str:
    """The address of Optuna's storage: `OPTUNA_STORAGE`, or `optuna.db` in the root."""
    # Who waits for a lock waits as long as MLflow would, instead of 5 seconds.
    return os.environ.get("OPTUNA_STORAGE") or f"sqlite:///{root()}/optuna.db?timeout=20"


def opening(uri: str) -> AbstractContextManager[object]:
    """Open a store of this address alone: two that make the same tables at once break them.

    Holds for SQLite, whose file anybody may be the first to open; a server has its tables.
    """
    file = sqlite_file(uri)
    return FileLock(f"{file}.lock") if file else nullcontext()


def sqlite_file(uri: str) -> Path | None:
    """The file of an SQLite store, or `None` of any other, and of one in memory."""
    file = make_url(uri).database if uri.startswith("sqlite") else None
    return Path(file) if file else None


def require(uri: str) -> None:
    """Raise `UserError` where a store is not there yet. Its library would make an empty one."""
    file = sqlite_file(uri)
    if file and not file.exists():
        raise UserError(f"{file}: missing; run where it was made, or let `make repro` make one")


_PASSWORD = re.compile(r"//[^/\s]*@")


class StoreError(UserError):
    """A store does not answer, or not as it should."""


@contextmanager
def asking(store: str, fault: type[Exception]) -> Iterator[None]:
    """Raise `StoreError` in one line for a `fault`, and those of databases, files and networks.

    Args:
        store: what messages call it.
        fault: the library's own exception.
    """
    try:
        yield
    except (SQLAlchemyError, OSError, ImportError, fault) as error:
        cause = _outage(error)
        reason = shorten(_PASSWORD.sub("//", str(cause or error).partition("\n")[0]), 200)
        advice = "; run the same command again when that is mended" if cause else ""
        raise StoreError(f"{store}: {reason}{advice}") from error


def _outage(error: BaseException) -> BaseException | None:
    """What the system or the database said first, under all that was made of it, if it was they."""
    first = None
    link: BaseException | None = error
    while link:
        if isinstance(link, DBAPIError) and link.orig:
            first = link.orig
        elif isinstance(link, OSError):
            first = link
        link = link.__cause__ or link.__context__
    return first


def checkpoints() -> Path:
    """The folder of the state of unfinished work."""
    return root() / "models/checkpoints"
