"""Jobs: a stage's long computation, which is resumed after a kill and run by one process at a time.

The state of a job is in a folder that is named after the fingerprint of its inputs. It is deleted
when DVC has recorded the result, not before: a kill may come between the end of the job and that.
The name of a job identifies its run and its study in stores that several clones share.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from mnist_cnn import console, faults, stores
from mnist_cnn.errors import FailedJobError
from mnist_cnn.files import write_json, write_text
from mnist_cnn.reproduce.provenance import Inputs, is_recorded

from filelock import FileLock, Timeout


@dataclass(frozen=True)
class Job:
    """A job that this process has claimed."""

    name: str
    """Unique among all jobs of all clones."""
    folder: Path
    """The state of the job."""


@contextmanager
def claim(inputs: Inputs) -> Iterator[Job]:
    """Start or resume the job of a stage; other processes of this clone wait until it ends.

    A job that is finished and recorded starts again, because DVC runs such a stage only if the user
    asks for it or a result is lost. So does a job that ended with `FailedJobError`.
    """
    delete_recorded()
    folder = stores.checkpoints() / f"{inputs.stage}-{inputs.fingerprint}"
    faults.point("job claimed")
    lock = _lock(folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        console.warn(f"another process runs this {inputs.stage}; waiting until it ends")
        lock.acquire()
    try:
        name = folder / "name"
        if not name.exists():
            write_json(folder / "inputs.json", asdict(inputs))
            write_text(name, f"{folder.name}-{uuid4().hex[:8]}")
        yield Job(name.read_text(), folder)
        (folder / "finished").touch()
    except FailedJobError:
        _delete(folder)
        raise
    finally:
        lock.release()


def delete_recorded() -> None:
    """Delete the state of all jobs that are finished and recorded in `dvc.lock`."""
    for deleted in stores.checkpoints().glob("*.deleted"):
        shutil.rmtree(deleted, ignore_errors=True)
    for finished in stores.checkpoints().glob("*/finished"):
        with suppress(Timeout), _lock(finished.parent).acquire(blocking=False):
            if finished.exists() and _is_recorded(finished):
                _delete(finished.parent)


def _is_recorded(finished: Path) -> bool:
    """Whether DVC recorded the end of this job, not that of an earlier one with the same inputs.

    DVC writes `dvc.lock` after each stage, whether its content changes or not.
    """
    lock = Path("dvc.lock")
    if not lock.exists() or lock.stat().st_mtime_ns <= finished.stat().st_mtime_ns:
        return False
    inputs = finished.with_name("inputs.json")
    # A job of an early version has another file; its folder must be deleted by hand.
    return inputs.exists() and is_recorded(Inputs(**json.loads(inputs.read_text())))


def _delete(folder: Path) -> None:
    """Delete the folder of a locked job; renamed first, so that no part of it is ever found."""
    deleted = folder.rename(folder.with_suffix(".deleted"))
    faults.point("job half deleted")
    _lock_file(folder).unlink()  # a waiting process creates another
    shutil.rmtree(deleted, ignore_errors=True)


def _lock(folder: Path) -> FileLock:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(_lock_file(folder))


def _lock_file(folder: Path) -> Path:
    return folder.with_suffix(".lock")
