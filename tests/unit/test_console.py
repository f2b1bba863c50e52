"""Messages, progress bars and the exit of a script, in the process of the tests."""

import argparse
import errno
import io
import signal
import sys

from mnist_cnn import console
from mnist_cnn.errors import UserError

import pytest


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture(autouse=True)
def process(monkeypatch):
    """Restore what the console changes in the process."""
    monkeypatch.setattr(console, "_quiet", False)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.setattr("sys.argv", ["src/script.py"])
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("variable", "arguments", "quiet"),
    [
        ("", [], False),
        ("0", [], False),
        ("no", [], False),
        ("1", [], True),
        ("0", ["--quiet"], True),
    ],
)
def test_quiet_leaves_warnings_only(monkeypatch, capsys, variable, arguments, quiet):
    monkeypatch.setenv("QUIET", variable)
    monkeypatch.setattr("sys.argv", ["src/script.py", *arguments])
    monkeypatch.setattr("sys.stderr", Terminal())

    assert console.parse_args(argparse.ArgumentParser()).quiet is quiet
    with console.progress_bar(2, "epochs", "epoch"):
        console.write("epoch 1")
        console.warn("waiting")

    assert capsys.readouterr().out == ("waiting\n" if quiet else "epoch 1\nwaiting\n")
    assert ("epochs:" in sys.stderr.getvalue()) is not quiet


def run(error=None):
    """Run a script that raises an error; return its exit code: 0, or a message, which means 1."""

    def main():
        if error:
            raise error

    with pytest.raises(SystemExit) as caught:
        console.run(main)
    return caught.value.code


FULL = "[Errno 28] no space; free some space and run the same command to continue"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (UserError("params.yaml: missing"), "error: params.yaml: missing"),
        (OSError(errno.ENOSPC, "no space"), f"error: {FULL}"),
        (KeyboardInterrupt(), "interrupted; run the same command to continue"),
    ],
)
def test_an_expected_error_is_one_line(error, code):
    assert run(error) == code


@pytest.mark.parametrize("error", [ZeroDivisionError(), PermissionError(errno.EACCES, "denied")])
def test_a_bug_is_not_hidden(error):
    with pytest.raises(type(error)):
        run(error)


def test_an_ignored_signal_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    run()
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGTERM) == signal.default_int_handler


def test_the_folder_of_the_script_is_removed_from_the_import_path(tmp_path):
    sys.argv[0] = str(tmp_path / "evaluate.py")
    sys.path.insert(0, str(tmp_path))
    run()
    assert str(tmp_path) not in sys.path
