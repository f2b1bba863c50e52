"""Making a result again from git: a worktree of the commit, in which DVC runs the stages."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_cnn import data, files, params
from mnist_cnn.errors import UserError
from mnist_cnn.provenance import Commit, Provenance

# Where this clone keeps its state, and what experiment of it is under way: not the worktree's.
_STATE = ("DVC_ROOT", "DVC_EXP", "MLFLOW_TRACKING_URI", "OPTUNA_STORAGE")


# What comes from git. All else, stages make.
_SOURCES = ("src/", "params.yaml")


@contextmanager
def worktree(origin: Provenance, commit: Commit, folder: Path, *, keep: bool) -> Iterator[None]:
    """A worktree of a commit and its patch in a new folder, removed afterwards or kept.

    It shares DVC's cache with this clone, and nothing else: its MLflow and Optuna stores are its
    own.

    Raises `UserError` when this clone does not have the commit, or when commit and patch do not
    give the sources and the parameters of the stage.
    """
    if _git("cat-file", "-e", f"{commit.revision}^{{commit}}").returncode:
        raise UserError(f"commit {commit.revision} is not in this clone; `git fetch` may bring it")
    _git("worktree", "add", "--quiet", "--detach", str(folder), commit.revision, check=True)
    try:
        if commit.patch:
            _git("-C", str(folder), "apply", "-", given=commit.patch, check=True)
        if others := [name for name in other_inputs(origin, folder) if name.startswith(_SOURCES)]:
            raise UserError(
                f"commit {commit.revision} and the changes that were recorded do not give what "
                f"{origin.stage} was made from: {', '.join(others)}"
            )
        _share_cache(folder)
        yield
    finally:
        if not keep:
            _git("worktree", "remove", "--force", str(folder))


def recall(folder: Path, origins: Sequence[Provenance]) -> None:
    """Fill a worktree with what git and DVC's cache have of a result, if a commit records it.

    DVC then computes only what it does not find to be up to date.

    Args:
        folder: the worktree.
        origins: what the stages of the result were made from.
    """
    inputs = {digest for origin in origins for digest in origin.inputs.values()}
    commits = _git("log", "--all", "--format=%H", "--", "dvc.lock").stdout.decode().split()
    for commit in commits:
        lock = _git("show", f"{commit}:dvc.lock").stdout.decode()
        if all(digest in lock for digest in inputs):
            _git("-C", str(folder), "checkout", commit, "--", "dvc.lock", "reports", check=True)
            # Fails where the cache lacks anything, after all else is there.
            _dvc("checkout", "--quiet", folder=folder)
            break


def other_inputs(origin: Provenance, folder: Path) -> list[str]:
    """Which inputs of a stage, its parameters among them, are others in this folder, or missing."""
    others = [
        name
        for name, digest in origin.inputs.items()
        if not (folder / name).is_file() or files.md5(folder / name) != digest
    ]
    if params.read_yaml(folder / "params.yaml").get(origin.stage) != origin.params:
        others.append(f"params.yaml: {origin.stage}")
    return others


def repro(folder: Path, stage: str, *, force: bool) -> None:
    """Have DVC make a stage and all before it; `force` computes what the cache has, too.

    Raises `UserError` when a stage fails; what went wrong, it has said itself.
    """
    environment = _environment()
    if data.RAW.is_dir():
        environment.setdefault("MNIST_DIR", str(data.RAW.resolve()))
    command = [sys.executable, "-m", "dvc", "repro", *(["--force"] if force else []), stage]
    # In a group of its own, so that all of it can be ended, and waited for, before the folder is
    # removed.
    process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
    try:
        process.wait()
    except BaseException:
        _end(process)
        raise
    if process.returncode:
        raise UserError(f"the stages could not be run again; {stage} was to be the last")


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its group as Ctrl-C would, and wait for the last of them."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        while True:
            os.killpg(process.pid, 0)
            time.sleep(0.1)


def _share_cache(folder: Path) -> None:
    cache = _dvc("cache", "dir", check=True).stdout.strip()
    files.write_text(
        folder / ".dvc/config.local",
        # With autostage, DVC does not advise to commit what it has made here.
        f"[cache]\n    dir = {cache}\n"
        f"[core]\n    site_cache_dir = {folder}/.dvc/tmp/site\n    autostage = true\n",
    )


def _dvc(
    *arguments: str, folder: Path = Path(), check: bool = False
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        check=check,
        capture_output=True,
        text=True,
        env=_environment(),
    )


def _environment() -> dict[str, str]:
    """That of this process, but for where this clone keeps its state."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_STATE)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"}


def _git(
    *arguments: str, given: bytes | None = None, check: bool = False
) -> "subprocess.CompletedProcess[bytes]":
    # Without the hooks of this clone, of which DVC's would check out what is to be computed.
    done = subprocess.run(
        ["git", "-c", f"core.hooksPath={os.devnull}", *arguments],
        check=False,
        capture_output=True,
        input=given,
    )
    if check and done.returncode:
        raise UserError(f"git {arguments[0]}: {done.stderr.decode(errors='replace').strip()}")
    return done
