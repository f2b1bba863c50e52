"""Work that takes long: found again after a kill, and done by one process at a time.

A stage keeps the state of its work in a folder named by the fingerprint of all that determines the
result. The folder is kept until DVC has recorded the result, because a kill may fall between the
end of the work and that. It also gives the work a name in stores that several clones may share, so
that each goes on with its own.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import uuid4

from mnist_cnn import console, stores
from mnist_cnn.errors import FailedWorkError
from mnist_cnn.files import write_json, write_text
from mnist_cnn.provenance import Provenance, is_recorded

from filelock import FileLock, Timeout


@dataclass(frozen=True)
class Work:
    """What a stage has to do."""

    name: str
    """Its own: no other work, in whatever clone, has it."""
    folder: Path
    """Where its state is kept."""


@contextmanager
def claim(origin: Provenance) -> Iterator[Work]:
    """Begin the work of a stage, or continue it, while no other process of this clone can.

    Waits where one does already. Work that is finished and recorded is begun anew, because DVC runs
    such a stage only where it was told to or has lost the result; so is work that ended with
    `FailedWorkError`.
    """
    sweep()
    folder = stores.checkpoints() / f"{origin.stage}-{origin.fingerprint}"
    lock = _lock(folder)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        waiting = f"another process is at this very {origin.stage}; waiting until it ends"
        console.say(waiting, always=True)
        lock.acquire()
    try:
        name = folder / "name"
        if not name.exists():
            write_json(folder / "provenance.json", asdict(origin))
            write_text(name, f"{folder.name}-{uuid4().hex[:8]}")
        yield Work(name.read_text(), folder)
        (folder / "finished").touch()
    except FailedWorkError:
        _remove(folder)
        raise
    finally:
        lock.release()


def sweep() -> None:
    """Remove the state of all work that is finished and recorded in `dvc.lock`."""
    for gone in stores.checkpoints().glob("*.gone"):
        shutil.rmtree(gone, ignore_errors=True)
    for finished in stores.checkpoints().glob("*/finished"):
        with suppress(Timeout), _lock(finished.parent).acquire(blocking=False):
            if finished.exists() and _is_recorded(finished):
                _remove(finished.parent)


def _is_recorded(finished: Path) -> bool:
    """Whether DVC has seen the end of this work; a record from before is of the same work before.

    DVC writes `dvc.lock` after every stage that it runs, whether the record is another or not.
    """
    lock = Path("dvc.lock")
    if not lock.exists() or lock.stat().st_mtime_ns <= finished.stat().st_mtime_ns:
        return False
    origin = json.loads(finished.with_name("provenance.json").read_text())
    return is_recorded(Provenance(**origin))


def _remove(folder: Path) -> None:
    """Remove the folder of work that is held: in one step, so that no half of it is ever found."""
    gone = folder.rename(folder.with_suffix(".gone"))
    _lock_file(folder).unlink()  # who waits for it makes another
    shutil.rmtree(gone, ignore_errors=True)


def _lock(folder: Path) -> FileLock:
    folder.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(_lock_file(folder))


def _lock_file(folder: Path) -> Path:
    return folder.with_suffix(".lock")
