"""The browser."""

import shutil

import pytest
from playwright.sync_api import expect

expect.set_options(timeout=30_000)  # for a busy machine


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """Start the Chromium of this machine; skip the test if there is none."""
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
