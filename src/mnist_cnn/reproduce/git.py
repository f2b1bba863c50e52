"""The state of the working tree in git: commit and uncommitted changes."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory

from mnist_cnn import console

RESULTS = ("dvc.lock", "models/best_model.pth", "reports")
"""What running stages write that is in git."""


@dataclass(frozen=True)
class Commit:
    """A commit, and how the working tree differs from it."""

    revision: str
    clean: bool
    """Whether nothing differs, new files included. What stages write does not count."""
    patch: bytes
    """Changes of tracked files, and new files in `src` and `datasets`, for `git apply`.

    Other new files are left out: they could be secret or large.
    """


def current_commit() -> Commit | None:
    """The commit of the current folder, or None, with a warning, if git does not give it."""
    paths = ("--", ".", *(f":!{result}" for result in RESULTS))
    try:
        revision = _git("rev-parse", "HEAD").decode().strip()
        changes = _git("status", "--porcelain", *paths)
        return Commit(revision, clean=not changes, patch=_patch(paths) if changes else b"")
    except OSError as error:
        reason = f"git: {error.strerror}"
    except subprocess.CalledProcessError as error:
        reason = error.stderr.decode(errors="replace").partition("\n")[0]
    console.warn(f"warning: {reason}; so the run records no commit, and cannot be rebuilt")
    return None


def _patch(paths: Sequence[str]) -> bytes:
    with TemporaryDirectory() as folder:
        # A separate index leaves the user's as it is.
        index = {"GIT_INDEX_FILE": f"{folder}/index"}
        _git("read-tree", "HEAD", **index)
        _git("add", "--update", *paths, **index)
        _git("add", "--", *filter(os.path.isdir, ("src", "datasets")), **index)
        return _git(
            "diff-index", "--cached", "--patch", "--binary", "--full-index", "HEAD", **index
        )


def _git(*arguments: str, **variables: str) -> bytes:
    return subprocess.run(
        ["git", *arguments], check=True, capture_output=True, env=os.environ | variables
    ).stdout
