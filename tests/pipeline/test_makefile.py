"""The Makefile makes the environment again where it cannot work, and checks what it is given."""

import os
import subprocess
import sys

import pytest
from clone import ROOT


@pytest.fixture(autouse=True)
def without_variables(monkeypatch):
    """Else these `make` have the variables that `make test` was given."""
    for name in ("MAKEFLAGS", "MAKEOVERRIDES"):
        monkeypatch.delenv(name, raising=False)


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


@pytest.mark.parametrize(
    ("arguments", "version", "expected"),
    [
        ([], "3.12.1", "Nothing to be done for 'setup'"),
        (["PYTHON=python3"], "3.11.7", "Nothing to be done for 'setup'"),
        (["PYTHON=python3"], "3.12.1", "python3 -m venv --clear .venv"),
    ],
)
def test_an_environment_of_another_python_than_the_one_asked_for_is_made_from_nothing(
    tmp_path, arguments, version, expected
):
    (tmp_path / "pyproject.toml").touch()
    for folder, number in [(tmp_path / "bin", "3.11.7"), (tmp_path / ".venv/bin", version)]:
        folder.mkdir(parents=True)
        for name in ("python", "python3"):
            (folder / name).write_text(f"#!/bin/sh\necho {number}\n")
            (folder / name).chmod(0o755)
    (tmp_path / ".venv/.ready").write_text(str(tmp_path))
    command = ["make", "--makefile", ROOT / "Makefile", "--dry-run", "setup", *arguments]
    path = f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
    output = subprocess.check_output(
        command, cwd=tmp_path, env=os.environ | {"PATH": path}, text=True
    )
    assert expected in output


def test_an_old_python_is_reported_in_one_line(tmp_path):
    (tmp_path / "pyproject.toml").touch()
    old = tmp_path / "python3"
    old.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'import sys; sys.version_info = (3, 10, 13)\n'\"$2\""
    )
    old.chmod(0o755)
    command = ["make", "--makefile", ROOT / "Makefile", "setup", f"PYTHON={old}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[0] == (
        "error: Python 3.11 or newer is needed; `make setup PYTHON=python3.11`"
    )
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize("number", ["1", "abc", "-2"])
def test_a_number_of_seeds_without_a_deviation_is_refused_before_the_download(tmp_path, number):
    make = ["make", "--no-print-directory", "--makefile", ROOT / "Makefile"]
    command = [*make, "READY=", "seeds", f"N={number}"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout == ""
    assert done.stderr.splitlines()[0] == (
        f"error: N={number}: for a deviation, N must be a whole number, 2 or more"
    )


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}])
def test_a_user_has_a_name_and_a_home(tmp_path, home):
    show = ["--eval", "show:; @echo $$USER $$HOME", "show"]
    command = ["make", "--makefile", ROOT / "Makefile", *show]
    environment = {"PATH": os.environ["PATH"]} | home
    output = subprocess.check_output(command, cwd=tmp_path, env=environment, text=True)
    name = subprocess.check_output(["id", "-un"], text=True).strip()
    assert output == f"{name} {tmp_path}/.venv\n"
