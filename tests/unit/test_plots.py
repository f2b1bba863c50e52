"""Plots show their numbers, with labels, and are the same each time."""

import inspect

from mnist_cnn import files
from mnist_cnn.evaluation import plots, training_plots
from mnist_cnn.evaluation.metrics import Bin, Curve

import numpy as np
import pytest
from matplotlib import pyplot

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
ACCURACIES = np.linspace(0.9, 0.95, 10)
PER_CLASS = [
    {"class": k, "accuracy": p, "accuracy_low": p - 0.02, "accuracy_high": p + 0.01}
    for k, p in enumerate(ACCURACIES)
]
NAMES = "0123456789"


def mistakes(count):
    """Images, labels, predictions and confidences."""
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    numbers = np.arange(count)
    return images, numbers % 10, (numbers + 1) % 10, np.linspace(0.99, 0.4, count)


DRAW = {
    "history": lambda: training_plots.history(EPOCHS),
    "confusion_matrix": lambda: plots.confusion_matrix(COUNTS, NAMES),
    "roc": lambda: plots.roc(CURVES, NAMES),
    "precision_recall": lambda: plots.precision_recall(CURVES, NAMES),
    "reliability": lambda: plots.reliability(BINS, 0.0123),
    "per_class_accuracy": lambda: plots.per_class_accuracy(PER_CLASS, 0.9229, NAMES),
    "mistakes": lambda: plots.mistakes(*mistakes(9), NAMES),
    "image_sheet": lambda: plots.image_sheet(mistakes(9)[0], [*"abcdefgh", r"no $\formula$"]),
}
every_plot = pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)


def assert_shows(line, x, y):
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_array_equal(line.get_ydata(), y)


def ends(intervals):
    """The low and high ends of error bars, `(n, 2)`."""
    return [segment[:, 1] for segment in intervals.get_segments()]


def ticks(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_every_plot_is_tested():
    public = {
        name
        for module in (plots, training_plots)
        for name, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == module.__name__ and not name.startswith("_")
    }
    assert public == DRAW.keys()


@every_plot
def test_axes_have_labels(draw):
    for axes in draw().axes:
        if axes.axison:
            assert axes.get_ylabel()
            siblings = axes.get_shared_x_axes().get_siblings(axes)
            assert any(sibling.get_xlabel() for sibling in siblings)


@every_plot
@pytest.mark.filterwarnings("error")
def test_equal_numbers_give_equal_files_and_leave_no_figure_open(draw, tmp_path):
    open_before = pyplot.get_fignums()
    first, second = tmp_path / "first.png", tmp_path / "second.png"
    files.write_png(first, draw())
    files.write_png(second, draw())
    assert first.read_bytes().startswith(b"\x89PNG")
    assert first.read_bytes() == second.read_bytes()
    assert pyplot.get_fignums() == open_before


def test_history_shows_every_epoch():
    loss, accuracy = training_plots.history(EPOCHS).axes
    assert_shows(loss.get_lines()[0], [1, 2, 3], [0.31, 0.12, 0.08])
    assert_shows(accuracy.get_lines()[0], [1, 2, 3], [0.91, 0.96, 0.98])
    assert "loss" in loss.get_ylabel()
    assert "accuracy" in accuracy.get_ylabel()


def test_the_confusion_matrix_has_true_classes_as_rows():
    percentages = 100 * COUNTS / COUNTS.sum(1, keepdims=True)
    figure = plots.confusion_matrix(COUNTS, NAMES)
    for axes, values, text in zip(figure.axes, (COUNTS, percentages), ("35", "2.7"), strict=True):
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
        np.testing.assert_allclose(axes.images[0].get_array(), values)
        assert axes.images[0].origin == "upper"
        texts = {each.get_position(): each.get_text() for each in axes.texts}
        assert texts[5, 3] == text  # column 5, row 3


def test_zeros_of_the_confusion_matrix_are_not_printed():
    counts = COUNTS.copy()
    counts[4] = 0
    for axes in plots.confusion_matrix(counts, NAMES).axes:
        hidden = {text.get_position() for text in axes.texts if not text.get_visible()}
        assert hidden == {(column, 4) for column in range(10)}
        np.testing.assert_array_equal(axes.images[0].get_array()[4], 0)


def test_many_classes_have_no_numbers_and_the_worst_of_them_a_legend_entry():
    names = [f"class {k}" for k in range(47)]
    matrix = plots.confusion_matrix(np.eye(47, dtype=np.int64), names)
    assert [len(axes.texts) for axes in matrix.axes[:2]] == [0, 0]
    assert [label.get_text() for label in matrix.axes[0].get_xticklabels()] == names
    curve = CURVES["9"]
    curves = {str(k): curve._replace(area=0.9 + k / 1000) for k in range(47)}
    whole = plots.roc(curves | {"macro": curve._replace(area=0.99)}, names).axes[0]
    legend = [text.get_text() for text in whole.get_legend().get_texts()]
    assert legend == [f"class {k}  AUC {0.9 + k / 1000:.5f}" for k in range(5)] + [
        "macro  AUC 0.99000"
    ]


@pytest.mark.parametrize(
    ("draw", "area"), [(plots.roc, "AUC"), (plots.precision_recall, "AP")], ids=["roc", "pr"]
)
def test_curves_are_drawn_twice_with_their_areas_in_the_legend(draw, area):
    whole, corner = draw(CURVES, NAMES).axes
    labels = [f"{name}  {area} {curve.area:.5f}" for name, curve in CURVES.items()]
    for axes in (whole, corner):
        lines = {line.get_label(): line for line in axes.get_lines()}
        for label, curve in zip(labels, CURVES.values(), strict=True):
            assert_shows(lines[label], curve.x, curve.y)
        styles = {(lines[label].get_color(), lines[label].get_linestyle()) for label in labels}
        assert len(styles) == len(CURVES)
    assert [text.get_text() for text in whole.get_legend().get_texts()] == labels


@pytest.mark.parametrize(
    ("draw", "knee", "size"),
    [(plots.roc, (0.05, 0.9), 0.01), (plots.precision_recall, (0.9, 0.95), 0.05)],
    ids=["roc", "pr"],
)
def test_the_corner_is_as_large_as_the_worst_curve_needs(draw, knee, size):
    best = {name: curve._replace(area=1.0) for name, curve in CURVES.items()}
    left, right = draw(best, NAMES).axes[1].get_xlim()
    assert right - left == pytest.approx(size, rel=0.05)

    corner = draw(best | {"3": CURVES["3"]._replace(area=0.95)}, NAMES).axes[1]
    for value, (low, high) in zip(knee, (corner.get_xlim(), corner.get_ylim()), strict=True):
        assert low < value < high


def test_reliability_shows_the_accuracy_of_filled_bins_and_the_counts_of_all():
    above, below = plots.reliability(BINS, 0.0123).axes
    assert_shows(above.get_lines()[0], [0, 1], [0, 1])
    ((points, _, (intervals,)),) = above.containers
    assert_shows(points, [0.4, 0.97], [0.5, 0.96])
    np.testing.assert_allclose(ends(intervals), [[0.15, 0.85], [0.9, 0.98]])
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in below.patches]
    assert bars == [(0, 0.25, 0), (0.25, 0.25, 4), (0.5, 0.25, 0), (0.75, 0.25, 96)]
    assert "0.0123" in above.get_title()


def test_per_class_accuracy_shows_intervals_and_the_overall_accuracy():
    (axes,) = plots.per_class_accuracy(PER_CLASS, 0.9229, NAMES).axes
    ((points, _, (intervals,)),) = axes.containers
    assert_shows(points, range(10), ACCURACIES)
    np.testing.assert_allclose(ends(intervals), np.stack([ACCURACIES - 0.02, ACCURACIES + 0.01], 1))
    overall = axes.get_lines()[0]
    assert list(overall.get_ydata()) == [0.9229, 0.9229]
    assert overall.get_label() == "all classes 92.29%"


def test_an_interval_that_excludes_its_value_by_rounding_is_drawn():
    rows = [row | {"accuracy_high": row["accuracy"] - 1e-16} for row in PER_CLASS]
    (axes,) = plots.per_class_accuracy(rows, 0.9229, NAMES).axes
    ((points, _, _),) = axes.containers
    assert_shows(points, range(10), ACCURACIES)


@pytest.mark.parametrize("count", [1, 8, 9, 41])
def test_mistakes_are_images_with_titles(count):
    images, labels, predictions, confidences = mistakes(count)
    figure = plots.mistakes(images, labels, predictions, confidences, NAMES)

    assert figure.axes[0].get_gridspec().get_geometry() == (-(-count // 8), 8)
    assert not any(axes.axison for axes in figure.axes)
    assert [bool(axes.images) for axes in figure.axes[:count]] == [True] * count
    for i, axes in enumerate(figure.axes[:count]):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[i, 0])
        assert axes.images[0].get_clim() == (0, 255)
        assert axes.get_title() == f"{labels[i]} → {predictions[i]}\n{confidences[i]:.1%}"
    assert not any(axes.images for axes in figure.axes[count:])


def test_no_mistakes_are_reported_as_such(tmp_path):
    figure = plots.mistakes(*mistakes(0), NAMES)
    assert not any(axes.images for axes in figure.axes)
    assert [text.get_text() for axes in figure.axes for text in axes.texts] == ["no mistakes"]
    files.write_png(tmp_path / "mistakes.png", figure)


def test_an_image_sheet_has_the_given_number_of_columns():
    figure = plots.image_sheet(mistakes(7)[0], [*"abcdefg"], columns=3)
    assert figure.axes[0].get_gridspec().get_geometry() == (3, 3)


def test_plots_name_the_classes():
    names = ["T-shirt/top", *(f"class {k}" for k in range(1, 10))]
    counts, percentages = plots.confusion_matrix(COUNTS, names).axes
    (accuracies,) = plots.per_class_accuracy(PER_CLASS, 0.9229, names).axes
    for axis in (counts.xaxis, counts.yaxis, percentages.xaxis, accuracies.xaxis):
        assert ticks(axis) == names
    for draw in (plots.roc, plots.precision_recall):
        legend = draw(CURVES, names).axes[0].get_legend().get_texts()
        labels = [text.get_text().split("  ")[0] for text in legend]
        assert labels == [*names, "micro", "macro"]
    title = plots.mistakes(*mistakes(1), names).axes[0].get_title()
    assert title == "T-shirt/top →\nclass 1\n99.0%"


def test_colour_images_are_drawn_in_their_colours():
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    (drawn,) = plots.image_sheet([image], ["red, green and blue"]).axes[0].images
    np.testing.assert_array_equal(drawn.get_array(), image.transpose(1, 2, 0))
