"""`make dashboard` shows the study of the clone, and rejects foreign requests."""

import re
import runpy

from mnist_cnn.errors import UserError

import pytest
import requests
from clone import ROOT
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


def studies(dashboard):
    return requests.get(f"{dashboard}/api/studies", timeout=60).json()["study_summaries"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # the page of another server on this machine
        {"Host": "localhost:8081", "Origin": "http://localhost:8082"},
    ],
)
def test_a_foreign_page_can_neither_read_nor_delete_a_study(dashboard, headers):
    known = studies(dashboard)
    study = f"{dashboard}/api/studies/{known[0]['study_id']}"

    for method in (requests.get, requests.delete):
        assert method(study, headers=headers, timeout=60).status_code == 403
    assert studies(dashboard) == known


def test_the_port_can_be_forwarded(dashboard):
    headers = {"Host": "localhost:8081", "Origin": "http://localhost:8081"}
    assert requests.get(f"{dashboard}/api/studies", headers=headers, timeout=60).ok


def test_a_missing_study_is_an_error_and_creates_no_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["dashboard.py"])

    with pytest.raises(UserError, match=r"optuna\.db: missing; `make repro` creates it"):
        runpy.run_path(str(ROOT / "src/dashboard.py"))["main"]()
    assert list(tmp_path.iterdir()) == []
