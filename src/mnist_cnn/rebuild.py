"""Making a result again from git: a worktree of the commit, in which DVC runs the stages."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from mnist_cnn import arithmetic, data, files, yaml_files
from mnist_cnn.errors import UserError
from mnist_cnn.provenance import Commit, Provenance

# Where this clone keeps its state, and what is under way in it: not the worktree's.
_STATE = (
    *("DVC_ROOT", "DVC_EXP", "MLFLOW_", "OPTUNA_"),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT"),
)

# What comes from git. All else, stages make.
_SOURCES = ("src/", "params.yaml")

_TOOLS = {
    # Without the hooks of this clone, of which DVC's would check out what is to be computed.
    "git": ("git", "-c", f"core.hooksPath={os.devnull}"),
    "dvc": (sys.executable, "-m", "dvc"),
}

_PATIENCE = 20  # seconds that stages have to end


@contextmanager
def worktree(origin: Provenance, commit: Commit, folder: Path, *, keep: bool) -> Iterator[None]:
    """A worktree of a commit and its patch in a new folder, removed afterwards or kept.

    Raises `UserError` when this clone does not have the commit, or when commit and patch do not
    give the sources and the parameters of the stage.
    """
    if _run("git", "rev-parse", "--show-prefix").stdout.strip():
        raise UserError("the project is not the root of its git repository")
    if (
        not re.fullmatch("[0-9a-f]{40,64}", commit.revision)
        or _run("git", "cat-file", "-e", f"{commit.revision}^{{commit}}", check=False).returncode
    ):
        raise UserError(f"commit {commit.revision} is not in this clone; `git fetch` may bring it")
    try:
        _run("git", "worktree", "add", "--quiet", "--detach", str(folder), commit.revision)
        if commit.patch:
            _run("git", "apply", "--whitespace=nowarn", "-", folder=folder, given=commit.patch)
        if others := [name for name in other_inputs(origin, folder) if name.startswith(_SOURCES)]:
            raise UserError(
                f"commit {commit.revision} and the changes that were recorded do not give what "
                f"{origin.stage} was made from: {', '.join(others)}"
            )
        yield
    finally:
        if not keep:
            _run("git", "worktree", "remove", "--force", str(folder), check=False)
            _run("git", "worktree", "prune", check=False)


def recall(folder: Path, origins: Sequence[Provenance]) -> None:
    """Fill a worktree with what this clone has of a result, in its tree, its history, its cache.

    DVC then computes only what it does not find to be up to date.

    Args:
        folder: the worktree.
        origins: what the stages of the result were made from.
    """
    cache = _run("dvc", "cache", "dir").stdout.decode().strip()
    _run("dvc", "config", "--local", "cache.dir", cache, folder=folder)
    here = Path("dvc.lock")
    if here.exists() and _records(here.read_text(), origins):
        shutil.copy2(here, folder)
        shutil.copytree("reports", folder / "reports", dirs_exist_ok=True)
    elif commit := _latest_record(origins):
        for path in ("dvc.lock", "reports"):
            _run("git", "checkout", commit, "--", path, folder=folder, check=False)
    # Fails where the cache lacks anything, after all else is there.
    _run("dvc", "checkout", "--quiet", folder=folder, check=False)


def _latest_record(origins: Sequence[Provenance]) -> str | None:
    """The latest commit whose lock file records these stages."""
    commits = _run("git", "log", "--all", "--format=%H", "--", "dvc.lock").stdout
    for commit in commits.decode().split():
        lock = _run("git", "show", f"{commit}:dvc.lock", check=False).stdout.decode()
        if _records(lock, origins):
            return commit
    return None


def _records(lock: str, origins: Sequence[Provenance]) -> bool:
    """Whether the text of a lock file has the MD5 of each input of these stages."""
    return all(digest in lock for origin in origins for digest in origin.inputs.values())


def other_inputs(origin: Provenance, folder: Path) -> list[str]:
    """Which inputs of a stage, its parameters among them, are others in this folder, or missing."""
    others = [
        name
        for name, digest in origin.inputs.items()
        if not (folder / name).is_file() or files.md5(folder / name) != digest
    ]
    given = yaml_files.read(folder / "params.yaml")
    return others + [
        f"params.yaml: {section}"
        for section, values in origin.params.items()
        if given.get(section) != values
    ]


def repro(folder: Path, stage: str, *, force: bool) -> bool:
    """Have DVC make a stage and all before it, with stores of MLflow and Optuna of their own.

    Args:
        folder: the worktree.
        stage: the last one to be made.
        force: also make what is up to date.

    Returns:
        Whether DVC made anything.

    Raises `UserError` when a stage fails; what went wrong, it has said itself.
    """
    # Then DVC does not advise to commit what it has made here.
    _run("dvc", "config", "--local", "core.autostage", "true", folder=folder)
    lock = folder / "dvc.lock"
    before = lock.stat().st_mtime_ns if lock.exists() else None
    environment = _environment(folder)
    download = yaml_files.read(folder / "params.yaml")["download"]
    raw = data.folder(download.get("dataset", "MNIST"))  # which earlier commits do not name
    if all(path.is_file() for split in data.FILES for path in data.paths(split, raw)):
        environment["MNIST_DIR"] = str(raw.resolve())
    command = [*_TOOLS["dvc"], "repro", *(["--force"] if force else []), stage]
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
    return lock.stat().st_mtime_ns != before


def outs(folder: Path, stages: Sequence[str]) -> list[Path]:
    """The files that stages make, as `dvc.yaml` in this folder names them."""
    defined = yaml_files.read(folder / "dvc.yaml")["stages"]
    return [
        Path(out if isinstance(out, str) else next(iter(out)))
        for stage in stages
        for out in [*defined[stage].get("outs", []), *defined[stage].get("metrics", [])]
    ]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process and its group, and wait for the last of them, but not for ever."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)


def _environment(folder: Path) -> dict[str, str]:
    """That of this process without where this clone keeps its state, and without its arithmetic."""
    given = arithmetic.environment_without()
    kept = {name: value for name, value in given.items() if not name.startswith(_STATE)}
    if mnist := kept.get("MNIST_DIR"):
        kept["MNIST_DIR"] = str(Path(mnist).resolve())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    site = {} if folder == Path() else {"DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | site


def _run(
    tool: str,
    *arguments: str,
    folder: Path = Path(),
    given: bytes | None = None,
    check: bool = True,
) -> "subprocess.CompletedProcess[bytes]":
    """Run git or DVC; raises `UserError` with what it says where it fails, if that is to matter."""
    done = subprocess.run(
        [*_TOOLS[tool], *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        input=given,
        env=_environment(folder),
    )
    if check and done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise UserError(f"{tool} {arguments[0]}: {said}")
    return done
