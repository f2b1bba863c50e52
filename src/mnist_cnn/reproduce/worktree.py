"""Rebuilding a result from git: a worktree of the commit, in which DVC runs the stages."""

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
from tempfile import TemporaryDirectory

from mnist_cnn import yaml_files
from mnist_cnn.datasets import arrays
from mnist_cnn.errors import UserError
from mnist_cnn.learning import arithmetic
from mnist_cnn.reproduce.git import RESULTS, Commit
from mnist_cnn.reproduce.provenance import Inputs, md5_path, param

# Environment variables about this clone, which must not reach the worktree.
_CLONE_VARIABLES = (
    *("DVC_ROOT", "DVC_EXP", "MLFLOW_", "OPTUNA_"),
    *("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT"),
)

# Inputs that come from git. Stages make the others.
_SOURCES = ("src/", "datasets/", "requirements/", "params.yaml")

_TOOLS = {
    # Without hooks: those of DVC would check out what is to be computed.
    "git": ("git", "-c", f"core.hooksPath={os.devnull}"),
    "dvc": (sys.executable, "-m", "dvc"),
}

_GRACE_PERIOD = 20  # seconds for stages to end after SIGTERM


@contextmanager
def worktree(inputs: Inputs, commit: Commit, folder: Path, *, keep: bool) -> Iterator[Path]:
    """A worktree of a commit and its patch in a new folder, removed afterwards unless kept.

    Yields the folder of the project in it, which may be a folder of its repository.

    Raises `UserError` if this clone does not have the commit, or if commit and patch do not have
    the sources and parameters of the stage.
    """
    prefix = _run("git", "rev-parse", "--show-prefix").stdout.decode().rstrip("\n")
    project = folder / prefix
    if (
        not re.fullmatch("[0-9a-f]{40,64}", commit.revision)
        or _run("git", "cat-file", "-e", f"{commit.revision}^{{commit}}", check=False).returncode
    ):
        raise UserError(f"commit {commit.revision} is not in this clone; try `git fetch`")
    try:
        _run("git", "worktree", "add", "--quiet", "--detach", str(folder), commit.revision)
        if not project.is_dir():
            raise UserError(f"commit {commit.revision} has no folder {prefix}")
        if commit.patch:
            _run("git", "apply", "--whitespace=nowarn", "-", folder=folder, stdin=commit.patch)
        changed = [name for name in changed_inputs(inputs, project) if name.startswith(_SOURCES)]
        if changed:
            raise UserError(
                f"commit {commit.revision} and the recorded patch do not have what {inputs.stage} "
                f"was made from: {', '.join(changed)}"
            )
        yield project
    finally:
        if not keep:
            _run("git", "worktree", "remove", "--force", str(folder), check=False)
            _run("git", "worktree", "prune", check=False)


def restore(folder: Path, inputs: Sequence[Inputs]) -> None:
    """Copy what this clone has of a result into a worktree, so that DVC computes only the rest.

    It may be in the working tree, in the history or in DVC's cache.

    Args:
        folder: that of the project in the worktree.
        inputs: of the stages of the result.
    """
    cache = _run("dvc", "cache", "dir").stdout.decode().strip()
    _run("dvc", "config", "--local", "cache.dir", cache, folder=folder)
    here = Path("dvc.lock")
    if here.exists() and _has_inputs(here.read_text(), inputs):
        for name in RESULTS:
            if Path(name).is_dir():
                shutil.copytree(name, folder / name, dirs_exist_ok=True)
            elif Path(name).exists():
                shutil.copy2(name, folder / name)
    elif commit := _latest_record(inputs):
        for path in RESULTS:
            _run("git", "checkout", commit, "--", path, folder=folder, check=False)
    # Fails if the cache lacks a file, after it has restored the others.
    _run("dvc", "checkout", "--quiet", folder=folder, check=False)


def _latest_record(inputs: Sequence[Inputs]) -> str | None:
    """The latest commit whose `dvc.lock` has these inputs."""
    commits = _run("git", "log", "--all", "--format=%H", "--", "dvc.lock").stdout
    for commit in commits.decode().split():
        lock = _run("git", "show", f"{commit}:./dvc.lock", check=False).stdout.decode()
        if _has_inputs(lock, inputs):
            return commit
    return None


def _has_inputs(lock: str, inputs: Sequence[Inputs]) -> bool:
    """Whether the text of a `dvc.lock` has the MD5 of each input of these stages."""
    return all(digest in lock for each in inputs for digest in each.files.values())


def changed_inputs(inputs: Inputs, folder: Path) -> list[str]:
    """The inputs of a stage, parameters included, that differ in this folder or are missing."""
    changed = [
        name
        for name, digest in inputs.files.items()
        if not (folder / name).exists() or md5_path(folder / name) != digest
    ]
    params = yaml_files.read(folder / "params.yaml")
    return changed + [
        f"params.yaml: {name}"
        for name, value in inputs.params.items()
        if param(params, name) != value
    ]


def repro(folder: Path, stage: str, *, force: bool) -> bool:
    """Run a stage and all stages before it with DVC, with separate MLflow and Optuna stores.

    Args:
        folder: that of the project in the worktree.
        stage: the last one to run.
        force: run also what is up to date.

    Returns:
        Whether any stage ran.

    Raises `UserError` if a stage fails, which has printed why.
    """
    # Without it, DVC recommends to commit the results.
    _run("dvc", "config", "--local", "core.autostage", "true", folder=folder)
    lock = folder / "dvc.lock"
    before = lock.stat().st_mtime_ns if lock.exists() else None
    environment = _environment(folder)
    dataset = yaml_files.read(folder / "params.yaml")["download"].get("dataset", "MNIST")
    restored, own = folder / arrays.folder(dataset), arrays.folder(dataset)
    command = [*_TOOLS["dvc"], "repro", *(["--force"] if force else []), stage]
    with TemporaryDirectory(prefix="data-") as kept:
        # Commits from before the arrays do not know the variable, and use their own sources.
        if force and restored.is_dir():
            shutil.move(restored, kept)  # DVC would delete it before `download`
            environment["DATA_DIR"] = kept
        elif own.is_dir():
            environment["DATA_DIR"] = str(own.parent.resolve())
        # In its own process group, which can be ended as a whole before the folder is removed.
        process = subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True)
        try:
            process.wait()
        except BaseException:
            _end(process)
            raise
    if process.returncode:
        raise UserError(f"a stage up to {stage} failed")
    return lock.stat().st_mtime_ns != before


def outs(folder: Path, stages: Sequence[str]) -> list[Path]:
    """The files that stages write, by the `dvc.yaml` of this folder."""
    defined = yaml_files.read(folder / "dvc.yaml")["stages"]
    paths = [
        Path(out if isinstance(out, str) else next(iter(out)))
        for stage in stages
        for out in [*defined[stage].get("outs", []), *defined[stage].get("metrics", [])]
    ]
    return [
        file
        for path in paths
        for file in (
            sorted(f.relative_to(folder) for f in (folder / path).rglob("*") if f.is_file())
            if (folder / path).is_dir()
            else [path]
        )
    ]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a process group, and wait until all of it has ended; kill it after a grace period."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        deadline = time.monotonic() + _GRACE_PERIOD
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)


def _environment(folder: Path) -> dict[str, str]:
    """Environment variables for commands in a folder: those of this process, except its state.

    Another commit may not know the variables of portable arithmetic.
    """
    given = arithmetic.environment_without_arithmetic()
    kept = {name: value for name, value in given.items() if not name.startswith(_CLONE_VARIABLES)}
    for name in kept.keys() & {"DATA_DIR", "MNIST_DIR"}:
        kept[name] = str(Path(kept[name]).resolve())
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    site = {} if folder == Path() else {"DVC_SITE_CACHE_DIR": str(folder / ".dvc/tmp/site")}
    return kept | {"PATH": path, "DVC_NO_ANALYTICS": "1"} | site


def _run(
    tool: str,
    *arguments: str,
    folder: Path = Path(),
    stdin: bytes | None = None,
    check: bool = True,
) -> "subprocess.CompletedProcess[bytes]":
    """Run git or DVC. If it fails and `check` is set, raise `UserError` with what it printed."""
    done = subprocess.run(
        [*_TOOLS[tool], *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        input=stdin,
        env=_environment(folder),
    )
    if check and done.returncode:
        message = done.stderr.decode(errors="replace").strip()
        raise UserError(f"{tool} {arguments[0]}: {message}")
    return done
