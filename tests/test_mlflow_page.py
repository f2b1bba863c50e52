"""What a person sees in `make ui` of a study, its trials and the model, in a browser."""

import re
import shutil

import pytest
from clone import SMALL
from playwright.sync_api import expect
from server import MAKE, free_port, serve

TRIALS = [f"trial-{number:03}" for number in range(SMALL["tune"]["trials"])]
EPOCHS = 2  # of a trial
NAME = re.compile("^(train|tune|trial-.*)$")


@pytest.fixture(scope="session")
def store(clone, tmp_path_factory):
    """A folder with the clone's store; its artifacts stay where they are."""
    folder = tmp_path_factory.mktemp("store")
    shutil.copy2(clone.folder / "mlflow.db", folder)
    return folder


@pytest.fixture(scope="session")
def ui(store):
    """The address of what `make ui` starts."""
    with serve(store, [*MAKE, "ui"], free_port()) as address:
        yield address


@pytest.fixture(scope="session")
def runs(clone):
    """The runs of the clone, by name."""
    return {run.info.run_name: run for run in clone.runs()}


@pytest.fixture
def table(page, ui):
    """The page of the runs, as one gets there, without the internet."""
    page.route(lambda url: not url.startswith(ui), lambda route: route.abort())
    page.goto(ui)
    page.get_by_role("button", name="Model training").click()
    page.get_by_role("link", name="mnist-cnn").click()
    page.get_by_role("button", name="Close").click()  # an assistant, which nobody called
    expect(row(page, "train")).to_be_visible()
    return page


def row(page, name):
    """The row of a run."""
    return page.get_by_role("row").filter(has=page.get_by_role("link", name=name, exact=True))


def names(page):
    """The names of the runs in the table."""
    return page.get_by_role("gridcell").get_by_role("link", name=NAME)


def column(page, name):
    """The cells of a column, such as ``metrics.`test_accuracy` ``."""
    return page.locator(f"[role=gridcell][col-id='{name}']")


def open_run(page, name, tab="Overview"):
    """Go from the table to a tab of a run."""
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()
    page.get_by_role("tab", name=tab).click()


def unfold(page):
    """Show the trials of the study."""
    row(page, "tune").get_by_role("button").click()
    expect(names(page)).to_have_count(2 + len(TRIALS))


def test_the_runs_are_a_study_that_unfolds_to_its_trials_and_a_model(table):
    expect(names(table)).to_have_text(["train", "tune"])
    unfold(table)
    for trial in TRIALS:
        expect(row(table, trial)).to_be_visible()


def test_runs_are_compared_in_columns_of_ones_choice_and_sorted(table, runs):
    table.get_by_role("button", name="Columns").click()
    for name in ("validation_accuracy", "test_accuracy", "learning_rate"):
        table.get_by_placeholder("Search columns").fill(name)
        table.get_by_text(name, exact=True).first.click()
    table.keyboard.press("Escape")
    table.get_by_role("columnheader", name="validation_accuracy").first.click()
    expect(table).to_have_url(re.compile("orderByKey=metrics.%60validation_accuracy%60"))
    table.reload()  # which keeps all that

    expect(column(table, "params.`learning_rate`")).to_have_count(2 + len(TRIALS))
    shown = names(table).all_inner_texts()
    figures = column(table, "metrics.`validation_accuracy`").all_inner_texts()
    assert shown[-1] == "train"
    assert figures[-1] == "-"
    assert [float(figure) for figure in figures[:-1]] == [
        runs[name].data.metrics["validation_accuracy"] for name in shown[:-1]
    ]
    assert sorted(map(float, figures[:-1]), reverse=True) == list(map(float, figures[:-1]))

    accuracy = str(runs["train"].data.metrics["test_accuracy"])
    expect(column(table, "metrics.`test_accuracy`").last).to_have_text(accuracy)
    rate = float(column(table, "params.`learning_rate`").first.inner_text())
    assert rate == float(runs[shown[0]].data.params["learning_rate"])


def test_a_view_shows_the_trials_the_best_first_in_the_columns_that_matter(table, runs):
    table.get_by_role("button", name="Views").click()
    table.get_by_text("Trials, the best first", exact=True).click()

    expect(names(table)).to_have_count(len(TRIALS))
    figures = [runs[trial].data.metrics["validation_accuracy"] for trial in TRIALS]
    for place, figure in enumerate(sorted(figures, reverse=True)):
        cell = table.locator(f"[row-index='{place}']").locator(
            column(table, "metrics.`validation_accuracy`")
        )
        expect(cell).to_have_text(str(figure))
    expect(column(table, "params.`learning_rate`")).to_have_count(len(TRIALS))
    expect(column(table, "tags.`state`").first).to_have_text("complete")


def test_a_trial_has_curves_with_a_point_an_epoch(table):
    unfold(table)
    open_run(table, "trial-000", "Model metrics")
    for metric in ("train_loss", "validation_accuracy"):
        title = table.get_by_role("heading", name=metric, exact=True)
        card = table.locator("div", has=title).filter(has=table.locator(".js-plotly-plot")).last
        expect(card.locator(".scatterlayer .point")).to_have_count(EPOCHS)


def test_five_trials_are_compared_in_parallel_coordinates(table):
    unfold(table)
    for trial in TRIALS[:5]:
        row(table, trial).get_by_role("checkbox", name="toggle row selection").check()
    table.get_by_role("button", name="Compare").click()

    expect(table.get_by_role("heading", name="Comparing 5 Runs")).to_be_visible()
    parallel = table.get_by_role("tabpanel", name="Parallel Coordinates Plot")
    parallel.get_by_role("combobox").last.click()
    table.get_by_title("validation_accuracy", exact=True).click()
    plot = parallel.locator(".js-plotly-plot")
    for axis in ("batch_size", "validation_accuracy"):
        expect(plot.get_by_text(axis, exact=True)).to_be_visible()
    axes = plot.evaluate("plot => plot.data[0].dimensions")
    assert {len(axis["values"]) for axis in axes} == {5}
    for trial in TRIALS[:5]:
        expect(table.get_by_role("cell", name=trial, exact=True)).to_be_visible()


@pytest.mark.parametrize("picture", ["confusion_matrix.png", "roc.png"])
def test_the_pictures_of_the_evaluation_are_among_the_artifacts_of_the_model(table, picture):
    open_run(table, "train", "Artifacts")
    table.get_by_text("evaluate", exact=True).click()
    table.get_by_text(picture, exact=True).click()
    image = table.get_by_role("img", name=f"evaluate/{picture}")
    expect(image).to_be_visible()
    expect(image).not_to_have_js_property("naturalWidth", 0)


def test_the_page_of_the_study_is_drawn_among_its_artifacts_without_the_internet(table):
    open_run(table, "tune", "Artifacts")
    table.get_by_text("study.html", exact=True).click()
    study = table.frame_locator("iframe")
    for title in ("Optimization History Plot", "Timeline Plot"):
        plot = study.locator(".js-plotly-plot", has_text=title)
        expect(plot).to_be_visible()
        expect(plot.get_by_text("Trial", exact=True)).to_be_visible()


def test_the_card_of_the_model_is_read_among_its_artifacts(table):
    open_run(table, "train", "Artifacts")
    table.get_by_text("reports", exact=True).click()
    table.get_by_text("model_card.md", exact=True).click()
    expect(table.get_by_role("heading", name="mnist-cnn", exact=True)).to_be_visible()
    expect(table.get_by_role("heading", name="Model details")).to_be_visible()


def test_a_run_tells_what_data_it_used(table, runs):
    open_run(table, "train")
    table.get_by_text("+1", exact=True).click()
    for given in runs["train"].inputs.dataset_inputs:
        named = f"{given.dataset.name} ({given.dataset.digest})"
        expect(table.get_by_text(named).last).to_be_visible()


def test_a_run_describes_itself_and_how_it_is_made_again(table):
    open_run(table, "train")
    description = table.get_by_test_id("note-editor-preview-content")
    expect(description).to_contain_text("test images of MNIST it is right on")
    expect(description.locator("code").last).to_contain_text("python src/reproduce.py")


def test_the_model_is_registered_and_the_champion(table, runs):
    table.get_by_role("link", name="Model registry").click()
    table.get_by_role("dialog").get_by_role("button", name="Close").click()  # news of MLflow
    table.get_by_role("main").get_by_role("link", name="mnist-cnn").click()
    version = table.get_by_role("row").filter(has=table.get_by_role("link", name="Version 1"))
    expect(version).to_contain_text("champion")
    accuracy = runs["train"].data.metrics["test_accuracy"]
    expect(version).to_contain_text(f"test_accuracy: {accuracy}")
