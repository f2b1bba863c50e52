"""Figures show the numbers that they are given, with labels, and the same ones each time."""

import inspect
import subprocess
import sys

from mnist_cnn import files, plots
from mnist_cnn.metrics import Bin, Curve

import numpy as np
import pytest

EPOCHS = [
    {"epoch": 1, "train_loss": 0.31, "train_accuracy": 0.91},
    {"epoch": 2, "train_loss": 0.12, "train_accuracy": 0.96},
    {"epoch": 3, "train_loss": 0.08, "train_accuracy": 0.98},
]
COUNTS = np.diag(range(900, 1000, 10)) + np.arange(100).reshape(10, 10)
CURVES = {
    name: Curve(np.array([0, 0.1 + i / 100, 1]), np.array([0, 0.9 - i / 100, 1]), 0.9 + i / 1000)
    for i, name in enumerate([*"0123456789", "micro", "macro"])
}
BINS = [
    Bin(0.0, 0.25, 0, None, None, None, None),
    Bin(0.25, 0.5, 4, 0.4, 0.5, 0.15, 0.85),
    Bin(0.5, 0.75, 0, None, None, None, None),
    Bin(0.75, 1.0, 96, 0.97, 0.96, 0.9, 0.98),
]
NAMES = "0123456789"
CLASSES = [
    {
        "class": k,
        "accuracy": 0.9 + k / 200,
        "accuracy_low": 0.88 + k / 200,
        "accuracy_high": 0.91 + k / 200,
    }
    for k in range(10)
]


def sheet(count):
    random = np.random.default_rng(count)
    return (
        random.integers(0, 256, (count, 28, 28), dtype=np.uint8),
        np.arange(count) % 10,
        (np.arange(count) + 1) % 10,
        np.linspace(0.99, 0.4, count),
    )


DRAWN = {
    "history": lambda: plots.history(EPOCHS),
    "confusion_matrix": lambda: plots.confusion_matrix(COUNTS, NAMES),
    "roc": lambda: plots.roc(CURVES, NAMES),
    "precision_recall": lambda: plots.precision_recall(CURVES, NAMES),
    "reliability": lambda: plots.reliability(BINS, 0.0123),
    "per_class_accuracy": lambda: plots.per_class_accuracy(CLASSES, 0.9229, NAMES),
    "mistakes": lambda: plots.mistakes(*sheet(9), NAMES),
    "mistakes-none": lambda: plots.mistakes(*sheet(0), NAMES),
    "predictions": lambda: plots.predictions(sheet(9)[0], [*"abcdefghi"], *sheet(9)[2:]),
}
every_figure = pytest.mark.parametrize("draw", DRAWN.values(), ids=DRAWN)


def lines(axes):
    """The lines of a plot by the first word of their label."""
    return {line.get_label().split()[0]: line for line in axes.get_lines()}


def assert_shows(line, x, y):
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_array_equal(line.get_ydata(), y)


def test_every_public_figure_is_drawn_here():
    public = {
        name
        for name, value in vars(plots).items()
        if inspect.isfunction(value) and value.__module__ == plots.__name__ and name[0] != "_"
    }
    assert public == {name.split("-")[0] for name in DRAWN}


@every_figure
def test_all_axes_say_what_they_measure(draw):
    figure = draw()
    assert figure.axes
    for axes in figure.axes:
        if axes.axison:
            siblings = axes.get_shared_x_axes().get_siblings(axes)
            assert axes.get_ylabel()
            assert any(sibling.get_xlabel() for sibling in siblings)


@every_figure
@pytest.mark.filterwarnings("error")
def test_the_same_numbers_give_the_same_file_without_a_warning(draw, tmp_path):
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    files.write_png(first, draw())
    files.write_png(second, draw())
    assert first.read_bytes().startswith(b"\x89PNG")
    assert first.read_bytes() == second.read_bytes()


def test_pyplot_is_never_imported():
    program = (
        "import io, sys; import numpy as np; from mnist_cnn import plots;"
        "plots.confusion_matrix(np.eye(10, dtype=int), '0123456789').savefig(io.BytesIO());"
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_history_shows_loss_and_accuracy_of_every_epoch():
    loss, accuracy = plots.history(EPOCHS).axes
    assert_shows(loss.get_lines()[0], [1, 2, 3], [0.31, 0.12, 0.08])
    assert_shows(accuracy.get_lines()[0], [1, 2, 3], [0.91, 0.96, 0.98])
    assert "loss" in loss.get_ylabel()
    assert "accuracy" in accuracy.get_ylabel()


@pytest.mark.parametrize("side", [pytest.param(0, id="counts"), pytest.param(1, id="percent")])
def test_a_cell_of_the_confusion_matrix_stands_in_its_row_and_column(side):
    axes = plots.confusion_matrix(COUNTS, NAMES).axes[side]
    texts = {text.get_position(): text.get_text() for text in axes.texts}
    rates = COUNTS / COUNTS.sum(1, keepdims=True)
    expected = {
        (column, row): (str(COUNTS[row, column]), f"{100 * rates[row, column]:.1f}")[side]
        for row in range(10)
        for column in range(10)
        if COUNTS[row, column]
    }
    assert texts == expected
    assert texts[5, 3] == ("35", "2.7")[side]
    np.testing.assert_allclose(axes.images[0].get_array(), rates)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert axes.images[0].origin == "upper"


def test_a_class_without_examples_leaves_its_row_of_the_confusion_matrix_blank():
    counts = COUNTS.copy()
    counts[4] = 0
    for axes in plots.confusion_matrix(counts, NAMES).axes:
        assert {text.get_position()[1] for text in axes.texts} == set(range(10)) - {4}
        np.testing.assert_array_equal(axes.images[0].get_array()[4], 0)


@pytest.mark.parametrize(
    ("draw", "measure"),
    [
        pytest.param(plots.roc, "AUC", id="roc"),
        pytest.param(plots.precision_recall, "AP", id="precision_recall"),
    ],
)
def test_curves_are_drawn_whole_and_in_the_corner_with_their_areas(draw, measure):
    whole, corner = draw(CURVES, NAMES).axes
    for axes in (whole, corner):
        drawn = lines(axes)
        for name, curve in CURVES.items():
            assert_shows(drawn[name], curve.x, curve.y)
    legend = [text.get_text() for text in whole.get_legend().get_texts()]
    assert legend == [f"{name}  {measure} {curve.area:.5f}" for name, curve in CURVES.items()]
    styles = {
        (drawn.get_color(), drawn.get_linestyle())
        for name, drawn in lines(whole).items()
        if name in CURVES
    }
    assert len(styles) == len(CURVES)


@pytest.mark.parametrize(
    ("draw", "knee", "side"),
    [
        pytest.param(plots.roc, (0.05, 0.9), 0.01, id="roc"),
        pytest.param(plots.precision_recall, (0.9, 0.95), 0.05, id="precision_recall"),
    ],
)
def test_the_corner_shows_the_worst_curve_too_and_no_more_than_it_must(draw, knee, side):
    best = {name: curve._replace(area=1.0) for name, curve in CURVES.items()}
    left, right = draw(best, NAMES).axes[1].get_xlim()
    assert right - left == pytest.approx(side, rel=0.05)

    corner = draw(best | {"3": CURVES["3"]._replace(area=0.95)}, NAMES).axes[1]
    for value, (low, high) in zip(knee, (corner.get_xlim(), corner.get_ylim()), strict=True):
        assert low < value < high


def test_reliability_draws_filled_bins_only_and_counts_all():
    above, below = plots.reliability(BINS, 0.0123).axes
    assert_shows(above.get_lines()[0], [0, 1], [0, 1])
    ((points, _, (intervals,)),) = above.containers
    assert_shows(points, [0.4, 0.97], [0.5, 0.96])
    ends = np.array([segment[:, 1] for segment in intervals.get_segments()])
    np.testing.assert_allclose(ends, [[0.15, 0.85], [0.9, 0.98]])
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in below.patches]
    assert bars == [(0, 0.25, 0), (0.25, 0.25, 4), (0.5, 0.25, 0), (0.75, 0.25, 96)]
    assert "0.0123" in above.get_title()


def test_accuracies_of_classes_have_their_intervals_beside_the_whole():
    (axes,) = plots.per_class_accuracy(CLASSES, 0.9229, NAMES).axes
    ((points, _, (bars,)),) = axes.containers
    assert_shows(points, range(10), [row["accuracy"] for row in CLASSES])
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends[:, 0], [row["accuracy_low"] for row in CLASSES])
    np.testing.assert_allclose(ends[:, 1], [row["accuracy_high"] for row in CLASSES])
    (overall,) = (line for line in axes.get_lines() if line.get_label().startswith("all"))
    assert list(overall.get_ydata()) == [0.9229, 0.9229]
    assert "92.29%" in overall.get_label()


def test_an_interval_that_rounding_put_beside_its_middle_is_drawn():
    rows = [row | {"accuracy_high": row["accuracy"] - 1e-16} for row in CLASSES]
    (axes,) = plots.per_class_accuracy(rows, 0.9229, NAMES).axes
    ((points, _, _),) = axes.containers
    assert_shows(points, range(10), [row["accuracy"] for row in rows])


@pytest.mark.parametrize("count", [1, 8, 9, 41])
def test_mistakes_stand_in_order_under_their_titles(count):
    images, labels, guesses, confidences = sheet(count)
    figure = plots.mistakes(images, labels, guesses, confidences, NAMES)
    shown = [axes for axes in figure.axes if axes.images]
    assert len(shown) == count
    for axes, image, label, guess, confidence in zip(
        shown, images, labels, guesses, confidences, strict=True
    ):
        np.testing.assert_array_equal(axes.images[0].get_array(), image)
        assert axes.images[0].get_clim() == (0, 255)
        title = f"{label} taken\N{NO-BREAK SPACE}for {guess}\n{confidence:.1%}"
        assert axes.get_title() == title
    assert len(figure.axes) == -(-count // 8) * 8
    assert not any(axes.axison for axes in figure.axes)


def test_every_figure_of_classes_has_their_names():
    names = ["T-shirt/top", *(f"class {k}" for k in range(1, 10))]
    left, right = plots.confusion_matrix(COUNTS, names).axes
    (accuracies,) = plots.per_class_accuracy(CLASSES, 0.9229, names).axes
    ticks = [left.get_xticklabels(), left.get_yticklabels(), right.get_xticklabels()]
    for labels in [*ticks, accuracies.get_xticklabels()]:
        assert [label.get_text() for label in labels] == names
    for draw in (plots.roc, plots.precision_recall):
        legend = draw(CURVES, names).axes[0].get_legend().get_texts()
        told = [text.get_text().split("  ")[0] for text in legend]
        assert told == [*names, "micro", "macro"]
    first = plots.mistakes(*sheet(1), names).axes[0].get_title()
    assert first == "T-shirt/top\ntaken\N{NO-BREAK SPACE}for\nclass 1\n99.0%"


def test_a_sheet_is_as_wide_as_asked_for():
    figure = plots.mistakes(*sheet(7), NAMES, columns=3)
    assert figure.axes[0].get_gridspec().get_geometry() == (3, 3)


def test_a_sheet_without_mistakes_says_so():
    figure = plots.mistakes(*sheet(0), NAMES)
    assert not any(axes.images for axes in figure.axes)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["no mistakes"]
