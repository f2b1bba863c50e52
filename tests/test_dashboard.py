"""`make dashboard` shows the study of the clone in which it is run."""

import re

import pytest
from playwright.sync_api import Page, expect

from server import MAKE, free_port, serve


@pytest.fixture(scope="module")
def dashboard(clone):
    port = free_port()
    command = [*MAKE, "dashboard", f"PORT={port}"]
    with serve(clone.folder, command, port, path="/dashboard/") as address:
        yield address


def test_the_dashboard_shows_the_trials_of_the_study(dashboard, page: Page):
    page.goto(dashboard)
    page.get_by_role("link", name=re.compile("mnist-cnn-tune-")).first.click()

    expect(page.get_by_role("heading", name="Hyperparameter Importance")).to_be_visible()
    expect(page.get_by_text("weight_decay").first).to_be_visible()
