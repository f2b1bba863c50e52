"""The Makefile makes the environment again where it cannot work, and names a nameless user."""

import os
import subprocess

import pytest
from clone import ROOT


@pytest.mark.parametrize(
    ("made_for", "seconds", "expected"),
    [
        (None, 0, "-m venv --clear .venv"),  # or one that is incomplete
        ("/another/folder", 1, "-m venv --clear .venv"),
        ("{}", 1, "Nothing to be done for 'setup'"),
        ("{}", -1, "-m venv  .venv"),  # older than the requirements
    ],
)
def test_an_environment_that_is_incomplete_or_was_moved_is_made_from_nothing(
    tmp_path, made_for, seconds, expected
):
    (tmp_path / "pyproject.toml").touch()
    if made_for:
        ready = tmp_path / ".venv/.ready"
        ready.parent.mkdir()
        ready.write_text(made_for.format(tmp_path))
        time = (tmp_path / "pyproject.toml").stat().st_mtime + seconds
        os.utime(ready, (time, time))
    command = ["make", "--makefile", ROOT / "Makefile", "--dry-run", "setup"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert expected in done.stdout


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}])
def test_a_user_has_a_name_and_a_home(tmp_path, home):
    show = ["--eval", "show:; @echo $$USER $$HOME", "show"]
    command = ["make", "--makefile", ROOT / "Makefile", *show]
    environment = {"PATH": os.environ["PATH"]} | home
    output = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    name = subprocess.check_output(["id", "-un"], text=True).strip()
    assert output == f"{name} {tmp_path}/.venv\n"
