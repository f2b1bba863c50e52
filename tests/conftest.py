"""What several modules of tests share."""

import shutil
import signal

from mnist_cnn import data

import pytest
from clone import ROOT, make_clone
from hypothesis import settings
from playwright.sync_api import expect

# A shell that runs the tests in the background has them, and all that they start, ignore Ctrl-C,
# and `nohup` the end of the terminal, which are among the things tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)


expect.set_options(timeout=30_000)  # of a page that others compete with for the processors

settings.register_profile("default", deadline=None)
settings.register_profile("fuzz", deadline=None, max_examples=5_000)  # `make fuzz`
settings.load_profile("default")


@pytest.fixture(scope="session")
def clone(tmp_path_factory):
    """A clone in which `dvc repro` has run once."""
    made = make_clone(tmp_path_factory.mktemp("clone"))
    made.output = made.run("dvc", "repro").stdout
    return made


@pytest.fixture(scope="session")
def real_train():
    """The 60,000 training examples."""
    return data.load("train", ROOT / "data/MNIST/raw")


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """How Playwright starts the Chromium of this machine; without one the test is skipped."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("no chromium on the PATH")
    arguments = "no-sandbox disable-gpu no-first-run disable-background-networking"
    arguments += " disable-component-update disable-sync"
    return browser_type_launch_args | {
        "executable_path": chromium,
        "args": [f"--{argument}" for argument in arguments.split()],
    }


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    """A window as wide as a laptop's."""
    return browser_context_args | {"viewport": {"width": 1440, "height": 900}}
