"""Exit status and output of a script in a process of its own."""

import os
import signal
import subprocess
import sys

import pytest

# A shell starts background processes with Ctrl-C ignored.
SCRIPT = """
import signal
import time
from contextlib import contextmanager
from mnist_cnn import console

@contextmanager
def resource():
    try:
        yield
    finally:
        console.write("closed")

def main():
    with resource(), resource(), console.progress_bar(2, "epochs", "epoch") as bar:
        bar.update()
        console.write("working")
        time.sleep(60)

signal.signal(signal.SIGINT, signal.default_int_handler)
console.run(main)
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_an_interrupted_script_releases_its_resources_and_explains_how_to_continue(number):
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as script:
        assert script.stdout.readline() == "working\n"
        script.send_signal(number)
        output, errors = script.communicate()
    assert output == "closed\nclosed\n"
    assert errors == "interrupted; run the same command to continue\n"
    assert script.returncode == 1


IMPORTING = """
import signal, time
from mnist_cnn import console
signal.signal(signal.SIGINT, signal.default_int_handler)
print("importing", flush=True)
time.sleep(60)
"""


def test_an_interruption_of_imports_is_one_line():
    command = [sys.executable, "-c", IMPORTING]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as script:
        assert script.stdout.readline() == "importing\n"
        script.send_signal(signal.SIGINT)
        _, errors = script.communicate()
    assert errors == "interrupted; run the same command to continue\n"
    assert script.returncode == -signal.SIGINT


def test_an_error_while_importing_is_not_hidden():
    command = [sys.executable, "-c", "from mnist_cnn import console\nimport absent"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("ModuleNotFoundError: No module named 'absent'\n")


NAMELESS = """
import getpass, os, pwd

def getpwuid(user):
    raise KeyError(user)

pwd.getpwuid = getpwuid
import mnist_cnn
print(getpass.getuser(), os.path.expanduser("~"))
"""


@pytest.mark.parametrize("home", [{}, {"HOME": "/"}])
def test_a_user_without_an_account_has_a_name_and_a_home(home):
    environment = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    output = subprocess.check_output(
        [sys.executable, "-c", NAMELESS], env=environment | home, text=True
    )
    assert output == f"{os.getuid()} {sys.prefix}\n"
