"""How a script ends: its status, and what a person sees of it."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios

import pytest

# A shell starts what it runs in the background, these tests too, with Ctrl-C ignored.
PROLOGUE = """
import signal
import time
from contextlib import contextmanager
from mnist_cnn import console
from mnist_cnn.errors import UserError

@contextmanager
def opened():
    try:
        yield
    finally:
        console.say("closed")

signal.signal(signal.SIGINT, signal.default_int_handler)

def main():
"""


@pytest.fixture
def start(tmp_path):
    """Start a script with this body, as a process with its own standard output and error."""
    started = []

    def start(body):
        script = tmp_path / "script.py"
        script.write_text(f"{PROLOGUE}    {body}\n\nconsole.run(main)\n")
        process = subprocess.Popen(
            [sys.executable, script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_a_script_that_ends_well_has_status_0_and_says_only_what_it_says(start):
    script = start("""
    with opened(), console.progress(2, "epochs", "epoch") as bar:
        bar.update()
        console.say("epoch 1")
    """)
    assert script.communicate() == ("epoch 1\nclosed\n", "")
    assert script.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "variables", "silent"),
    [
        ([], {}, False),
        (["--quiet"], {}, True),
        ([], {"QUIET": "1"}, True),
        ([], {"QUIET": "0"}, False),
    ],
)
def test_a_stage_is_silent_when_it_is_asked_to_be(tmp_path, arguments, variables, silent):
    script = tmp_path / "stage.py"
    script.write_text(
        "import argparse\n"
        "from mnist_cnn import console\n"
        "console.options(argparse.ArgumentParser())\n"
        "with console.progress(2, 'epochs', 'epoch') as bar:\n"
        "    console.say('epoch 1')\n"
        "    console.say('waiting', always=True)\n"
        "    bar.update()\n"
        "raise SystemExit('error: told all the same')\n"
    )
    errors, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))
    done = subprocess.run(
        [sys.executable, script, *arguments],
        stdout=subprocess.PIPE,
        stderr=terminal,
        text=True,
        env=os.environ | variables,
        check=False,
    )
    shown = os.read(errors, 10_000).decode()
    os.close(errors)
    os.close(terminal)

    assert done.stdout == ("waiting\n" if silent else "epoch 1\nwaiting\n")
    assert ("epochs:" in shown) is not silent
    assert "error: told all the same" in shown
    assert not re.search(r"\x1b\[[0-9;]*m", shown)  # no colours, whatever NO_COLOR says


def test_a_mistake_of_the_person_is_one_line_and_status_1(start):
    script = start("""
    with opened():
        raise UserError("params.yaml: missing")
    """)
    assert script.communicate() == ("closed\n", "error: params.yaml: missing\n")
    assert script.returncode == 1


def test_a_fault_of_ours_is_not_hidden(start):
    script = start("1 / 0")
    output, errors = script.communicate()
    assert output == ""
    assert errors.startswith("Traceback")
    assert "ZeroDivisionError" in errors
    assert script.returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_script_closes_what_is_open_and_says_how_to_go_on(start, number):
    script = start("""
    with opened(), opened():
        console.say("working")
        time.sleep(60)
    """)
    assert script.stdout.readline() == "working\n"
    script.send_signal(number)
    assert script.communicate() == (
        "closed\nclosed\n",
        "interrupted; run the same command again to go on\n",
    )
    assert script.returncode == 1
