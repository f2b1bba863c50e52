"""What a result is made from: a stage's inputs by MD5, its parameters, the commit, the versions.

A stage's inputs are those that `dvc.yaml` names, so that this project and DVC agree on what makes
a result another one.
"""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import Distribution, distributions, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mnist_cnn import compute, yaml_files
from mnist_cnn.arithmetic import cpu
from mnist_cnn.errors import UserError
from mnist_cnn.files import md5

# The libraries whose version can change a number.
_LIBRARIES = ("torch", "numpy", "optuna", "scikit-learn")


@dataclass(frozen=True)
class Provenance:
    """All that determines what a stage computes."""

    stage: str
    params: dict[str, dict[str, Any]]
    """The sections of `params.yaml` that the stage depends on."""
    inputs: dict[str, str]
    """MD5 of each file that the stage depends on, by its path, as in `dvc.lock`."""
    versions: dict[str, str]
    device: str
    """`cpu` or `cuda`."""
    kernels: dict[str, str]
    """Which kernels each library computes with; and the CPU, unless they are portable."""

    @property
    def fingerprint(self) -> str:
        """A hexadecimal digest of it all: another fingerprint, another result."""
        content = json.dumps(asdict(self), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]


def of_stage(stage: str) -> Provenance:
    """The provenance of a stage of `dvc.yaml` in the current folder.

    Raises `UserError` when an input of the stage is missing.
    """
    given = yaml_files.read(Path("params.yaml"))
    defined = yaml_files.read(Path("dvc.yaml"))["stages"][stage]
    # DVC's own resolver would add a fifth of a second to the start of a stage.
    deps = [
        dep.replace("${download.dataset}", given["download"]["dataset"]) for dep in defined["deps"]
    ]
    if missing := [dep for dep in deps if not Path(dep).is_file()]:
        raise UserError(f"{missing[0]}: missing; `dvc repro {stage}` makes what comes before")
    return Provenance(
        stage=stage,
        params={section: given[section] for section in defined["params"]},
        inputs={dep: md5(Path(dep)) for dep in deps},
        versions=versions(),
        device=compute.device().type,
        kernels=_kernels(),
    )


def _kernels() -> dict[str, str]:
    used = compute.kernels()
    return used if used == compute.PORTABLE_KERNELS else used | {"CPU": cpu()}


def versions() -> dict[str, str]:
    """The versions, here, of what can change a number."""
    return {name: version(name) for name in _LIBRARIES} | {"python": platform.python_version()}


def is_recorded(origin: Provenance) -> bool:
    """Whether `dvc.lock` says that the stage has been run, to its end, from just this."""
    lock = Path("dvc.lock")
    # DVC writes it in place: it can be empty.
    content = yaml_files.read(lock) if lock.exists() else None
    stages = content["stages"] if content else {}
    if origin.stage not in stages:
        return False
    recorded = stages[origin.stage]
    inputs = {dep["path"]: dep["md5"] for dep in recorded["deps"]}
    return inputs == origin.inputs and recorded["params"]["params.yaml"] == origin.params


def environment() -> dict[str, Any]:
    """What else may matter to who makes a result again: every package, and the machine."""
    return {
        "python": platform.python_version(),
        "packages": {each.name: each.version for each in sorted(distributions(), key=_name)},
        "platform": platform.platform(),
        **compute.machine(),
    }


def _name(distribution: Distribution) -> str:
    return distribution.name.lower()


@dataclass(frozen=True)
class Commit:
    """Where in git's history the working tree is."""

    revision: str
    clean: bool
    """Whether nothing differs from it, new files included, but for what stages write."""
    patch: bytes
    """For `git apply`: what differs in files that git knows, and new files in `src`.

    No other new file, as it may be anybody's secret or a thousand images.
    """


def commit() -> Commit | None:
    """The commit of the current folder, or `None` where there is no git or no commit."""
    # The stages themselves change these while they run.
    ours = ("--", ".", ":!dvc.lock", ":!reports")
    try:
        revision = _git("rev-parse", "HEAD").decode().strip()
        changes = _git("status", "--porcelain", *ours)
        return Commit(revision, clean=not changes, patch=_patch(ours) if changes else b"")
    except (OSError, subprocess.CalledProcessError):
        return None


def _patch(paths: Sequence[str]) -> bytes:
    with TemporaryDirectory() as folder:
        # In an index of its own, so that the one in use stays as it is.
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git("read-tree", "HEAD", **index)
        _git("add", "--update", *paths, **index)
        _git("add", "--", "src", **index)
        return _git(
            "diff-index", "--cached", "--patch", "--binary", "--full-index", "HEAD", **index
        )


def _git(*arguments: str, **variables: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, env=os.environ | variables
    ).stdout
