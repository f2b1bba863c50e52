"""What this project puts on MLflow's pages is readable there: trials, notes, plots, card, model."""

import re
import shutil
import sys

import pytest
from clone import PARAMS, ROOT, name_of
from playwright.sync_api import expect
from server import free_port, serve

TRIALS = [f"trial-{number:03}" for number in range(PARAMS["tune"]["trials"])]


@pytest.fixture(scope="module")
def ui(clone, tmp_path_factory):
    """The address that `make ui` prints, of a server with a copy of the clone's store."""
    folder, port = tmp_path_factory.mktemp("store"), free_port()
    shutil.copy2(clone.folder / "mlflow.db", folder)
    command = [sys.executable, str(ROOT / "src/ui.py"), "--port", str(port)]
    with serve(folder, command, port):
        yield re.search(r"http://[^;]+", (folder / "server.log").read_text())[0]


@pytest.fixture
def table(page, ui):
    """The table of runs, reached as a user does, without the internet."""
    server, _, _ = ui.partition("#")
    page.route(lambda url: not url.startswith(server), lambda route: route.abort())
    page.goto(ui)
    page.get_by_role("button", name="Close").click()  # MLflow's assistant
    expect(row(page, "train")).to_be_visible()
    return page


def row(page, name):
    return page.get_by_role("row").filter(has=link(page, name))


def link(page, name):
    return page.get_by_role("link", name=re.compile(f"^{name} "))


def open_run(page, name, tab):
    link(page, name).click()
    expect(page.get_by_role("heading", name=re.compile(f"^{name} "))).to_be_visible()
    page.get_by_role("tab", name=tab).click()


def test_a_study_unfolds_to_its_trials(table):
    row(table, "tune").get_by_role("button").click()
    for trial in TRIALS:
        expect(row(table, trial)).to_be_visible()


@pytest.mark.parametrize(
    ("view", "name", "columns"),
    [
        ("Trials", "trial-000", ["validation/accuracy", "n_conv_layers", "conv1_out_channels"]),
        ("Models", "train", ["test_accuracy", "parameters", "epochs", "seed", "train_size"]),
    ],
)
def test_a_view_has_the_columns_that_tell_its_runs_apart(table, view, name, columns):
    table.get_by_role("button", name="Views").click()
    table.get_by_test_id(f"saved-views-item-{view.lower()}").get_by_text(view).click()
    expect(row(table, name)).to_be_visible()
    expect(row(table, "tune")).not_to_be_visible()
    for column in columns:
        expect(table.get_by_role("columnheader", name=column).first).to_be_visible()


def test_the_metrics_of_a_run_begin_with_its_curves(table):
    open_run(table, "train", "Model metrics")
    sections = re.compile(r"train\s*\(2\).*validation\s*\(1\).*Model metrics\s*\(\d+\)", re.DOTALL)
    expect(table.get_by_role("main")).to_contain_text(sections)


def test_a_run_has_a_note_and_the_command_that_reproduces_it(table):
    open_run(table, "train", "Overview")
    description = table.get_by_test_id("note-editor-preview-content")
    expect(description).to_contain_text("Test accuracy")
    expect(description.locator("code").last).to_contain_text("python src/reproduce.py")


def test_the_artifacts_of_a_model_show_its_plots_and_its_card(table):
    open_run(table, "train", "Artifacts")
    table.get_by_text("evaluate", exact=True).click()
    table.get_by_text("plots", exact=True).first.click()
    table.get_by_text("roc.png", exact=True).click()
    image = table.get_by_role("img", name="evaluate/plots/roc.png")
    expect(image).to_be_visible()
    expect(image).not_to_have_js_property("naturalWidth", 0)

    table.get_by_text("model_card.md", exact=True).click()
    expect(table.get_by_role("heading", name="Model details")).to_be_visible()


def test_the_interactive_plots_of_a_study_need_no_internet(table):
    open_run(table, "tune", "Artifacts")
    table.get_by_text("study.html", exact=True).click()
    study = table.frame_locator("iframe")
    for title in ("Optimization History Plot", "Timeline Plot"):
        plot = study.locator(".js-plotly-plot", has_text=title)
        expect(plot.get_by_text("Trial", exact=True)).to_be_visible()


def test_the_registered_model_is_the_champion(table, clone):
    (run,) = [run for run in clone.runs()[::-1] if name_of(run) == "train"][:1]
    table.get_by_role("link", name="Model registry").click()
    table.get_by_role("dialog").get_by_role("button", name="Close").click()  # MLflow's news
    table.get_by_role("main").get_by_role("link", name="mnist-cnn").click()
    version = table.get_by_role("row").filter(has=table.get_by_role("link", name="Version 1"))
    expect(version).to_contain_text("champion")
    expect(version).to_contain_text(f"test_accuracy: {run.data.metrics['test_accuracy']}")
