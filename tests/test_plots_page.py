"""The page of `dvc plots show`, and of `dvc plots diff`, as a browser draws it."""

import csv
import io
import re
import shutil

import pytest
import vl_convert
from clone import SMALL, Clone, empty_store
from playwright.sync_api import expect

EPOCHS = SMALL["train"]["epochs"]
TRIALS = SMALL["tune"]["trials"]
IMAGES = SMALL["evaluate"]["test_size"]
FEWER_IMAGES = 300
CONFUSION = "reports/evaluate/confusion_matrix.csv"
PLOTS = [
    "Training loss",
    "Training accuracy",
    "The study, trial by trial",
    "Confusion matrix",
    "ROC",
    "Reliability",
    "Precision and recall",
]
PICTURES = [
    "reports/evaluate/mistakes.png",
    "reports/evaluate/per_class_accuracy.png",
    "reports/tune/intermediate_values.png",
    "reports/tune/parallel_coordinate.png",
    "reports/tune/param_importances.png",
    "reports/tune/slice.png",
]


@pytest.fixture(scope="session")
def vega():
    """What the page loads from the internet, but newer, and drawing as SVG, which can be read."""
    draw = "window.vegaEmbed = (at, plot) => vegaEmbed(at, plot, {renderer: 'svg'})"
    return vl_convert.javascript_bundle(draw, vl_version="5.8")


@pytest.fixture
def online(page, vega):
    """A page for which those scripts, and nothing else, are on the internet; no error is let by."""
    errors = []
    scripts = {"vega": "", "vega-lite": "", "vega-embed": vega}

    def answer(route):
        asked = re.fullmatch(r"https://cdn\.jsdelivr\.net/npm/(.+)@[\d.]+", route.request.url)
        if asked and asked[1] in scripts:
            route.fulfill(body=scripts[asked[1]], content_type="text/javascript")
        else:
            route.abort()

    page.route(re.compile("^http"), answer)
    page.on("pageerror", lambda error: errors.append(error.message))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    yield page
    assert errors == []


@pytest.fixture(scope="session")
def shown(clone):
    """The address of the page of one revision."""
    return clone.run("dvc", "plots", "show").stdout.strip()


@pytest.fixture(scope="session")
def two(clone, tmp_path_factory):
    """The address of the page of two revisions: of a commit, and of what came of a change."""
    folder = tmp_path_factory.mktemp("two") / "clone"
    shutil.copytree(clone.folder, folder, ignore=shutil.ignore_patterns("mlflow.db*", "mlruns"))
    (folder / "mlflow.db").write_bytes(empty_store())
    copy = Clone(folder)
    copy.run("git", "add", "--all")
    copy.run("git", "commit", "--quiet", "--message", "results")
    copy.set_params({"evaluate": {"test_size": FEWER_IMAGES}})
    copy.run("dvc", "repro", "--single-item", "evaluate")
    return copy.run("dvc", "plots", "diff", "HEAD", "workspace").stdout.strip()


def plot(page, title):
    """The plot of this title."""
    return page.locator("main > div").filter(has=page.get_by_text(title, exact=True))


def marks(within, kind):
    """What is drawn for the data: each `line mark`, `point`, `rect mark` or `text mark`."""
    return within.locator(f"[aria-roledescription='{kind}']")


def rows(clone, path):
    return list(csv.DictReader(io.StringIO(clone.read(path).decode())))


def test_training_is_a_curve_with_a_point_an_epoch(online, shown):
    online.goto(shown)
    for title in ("Training loss", "Training accuracy"):
        curve = marks(plot(online, title), "line mark")
        expect(curve).to_have_count(1)
        assert len(curve.get_attribute("d").split("L")) == EPOCHS
        expect(plot(online, title).get_by_text("epoch", exact=True)).to_be_visible()


def test_the_study_shows_every_trial_and_the_best_so_far(online, shown, clone):
    online.goto(shown)
    study = plot(online, "The study, trial by trial")

    expect(marks(study, "point")).to_have_count(TRIALS)
    for row in rows(clone, "reports/tune/trials.csv"):
        trial = re.compile(rf"^trial: {row['number']};.*; state: {row['state']}$")
        expect(study.get_by_label(trial)).to_have_count(1)
    expect(marks(study, "line mark")).to_have_count(1)


def test_the_confusion_matrix_tells_of_every_image(online, shown, clone):
    online.goto(shown)
    matrix = plot(online, "Confusion matrix")

    expect(marks(matrix, "rect mark")).to_have_count(100)
    counts = [row[k] for row in rows(clone, CONFUSION) for k in "0123456789" if row[k] != "0"]
    assert sorted(marks(matrix, "text mark").all_text_contents()) == sorted(counts)
    assert sum(map(int, counts)) == IMAGES
    for axis in ("true", "predicted"):
        expect(matrix.get_by_text(axis, exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("title", "curves", "axes"),
    [
        ("ROC", 12, ["false positive rate", "true positive rate", "the upper left corner"]),
        ("Precision and recall", 11, ["recall", "precision", "the upper right corner"]),
    ],
)
def test_curves_are_drawn_for_every_class_whole_and_in_the_corner(
    online, shown, title, curves, axes
):
    online.goto(shown)
    expect(marks(plot(online, title), "line mark")).to_have_count(2 * curves)
    for axis in axes:
        expect(plot(online, title).get_by_text(axis, exact=True)).to_be_visible()
    expect(plot(online, title).get_by_text("micro", exact=True)).to_be_visible()


def test_reliability_has_a_point_for_every_bin_with_images(online, shown, clone):
    online.goto(shown)
    bins = [row for row in rows(clone, "reports/evaluate/reliability.csv") if row["count"] != "0"]
    expect(marks(plot(online, "Reliability"), "point")).to_have_count(len(bins))
    expect(marks(plot(online, "Reliability"), "rule mark")).to_have_count(len(bins))


def test_every_picture_is_there(online, shown):
    online.goto(shown)
    expect(online.get_by_text(".png")).to_have_text(PICTURES)
    pictures = online.locator("img")
    expect(pictures).to_have_count(len(PICTURES))
    for picture in pictures.all():
        expect(picture).not_to_have_js_property("naturalWidth", 0)


def test_without_the_internet_the_page_says_why_there_are_no_plots(page, shown):
    page.route(re.compile("^http"), lambda route: route.abort())
    page.goto(shown)
    told = page.get_by_text("Not drawn: Vega is loaded from the internet.")
    expect(told).to_have_count(len(PLOTS))


def test_two_revisions_are_drawn_in_every_plot(online, two):
    online.goto(two)
    for title in PLOTS:
        for revision in ("workspace", "HEAD"):
            name = plot(online, title).get_by_text(revision, exact=True)
            expect(name).to_be_visible()
    expect(marks(plot(online, "Training loss"), "line mark")).to_have_count(2)
    expect(marks(plot(online, "ROC"), "line mark")).to_have_count(2 * 2 * 12)
    counts = marks(plot(online, "Confusion matrix"), "text mark").all_text_contents()
    assert sum(map(int, counts)) == IMAGES + FEWER_IMAGES
    expect(online.locator("img")).to_have_count(2 * len(PICTURES))
