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
UNCALIBRATED = [
    Bin(0.0, 0.5, 0, None, None, None, None),
    Bin(0.5, 1.0, 10, 0.9, 0.8, 0.5, 0.95),
]
ACCURACIES = np.linspace(0.9, 0.95, 10)
PER_CLASS = [
    {"class": k, "accuracy": p, "accuracy_low": p - 0.02, "accuracy_high": p + 0.01}
    for k, p in enumerate(ACCURACIES)
]
NAMES = "0123456789"


def mistakes(count):
    """Images, labels, predictions, confidences, and which labels are disputed."""
    images = np.random.default_rng(0).integers(0, 256, (count, 1, 28, 28), dtype=np.uint8)
    numbers = np.arange(count)
    return images, numbers % 10, (numbers + 1) % 10, np.linspace(0.99, 0.4, count), numbers == 0


DRAW = {
    "history": lambda: training_plots.history(EPOCHS),
    "confusion_matrix": lambda: plots.confusion_matrix(COUNTS, NAMES),
    "roc": lambda: plots.roc(CURVES, NAMES),
    "precision_recall": lambda: plots.precision_recall(CURVES, NAMES),
    "reliability": lambda: plots.reliability(BINS, UNCALIBRATED, 0.95),
    "per_class_accuracy": lambda: plots.per_class_accuracy(PER_CLASS, 0.9229, NAMES, 0.95),
    "mistakes": lambda: plots.mistakes(*mistakes(9), NAMES),
    "image_sheet": lambda: plots.image_sheet(mistakes(9)[0], [*"abcdefgh", r"no $\formula$"]),
}
every_plot = pytest.mark.parametrize("draw", DRAW.values(), ids=DRAW)


def assert_shows(line, x, y):
    np.testing.assert_array_equal(line.get_xdata(), x)
    np.testing.assert_array_equal(line.get_ydata(), y)


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
            if axes.get_label() == "<colorbar>":
                continue
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


@pytest.mark.parametrize(
    ("last", "ticks"),
    [(1, [1]), (2, [1, 2]), (14, [1, 4, 6, 8, 10, 12, 14]), (100, [1, 20, 40, 60, 80, 100])],
)
def test_the_first_and_the_last_epoch_have_a_tick(last, ticks):
    rows = [EPOCHS[0] | {"epoch": epoch} for epoch in range(1, last + 1)]
    for axes in training_plots.history(rows).axes:
        assert list(axes.get_xticks()) == ticks


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("accuracies", "labels"),
    [
        ([0.1, 0.9, 0.9995], ["0%", "90%", "99%", "99.9%"]),
        ([0.95, 0.99, 1.0], ["95%", "98%", "99%", "99.5%", "99.8%", "99.9%", "100%"]),
        ([1.0, 1.0], ["99.99%", "99.995%", "100%"]),
        ([0.9912, 0.9921], ["99.05%", "99.1%", "99.15%", "99.2%", "99.25%"]),
    ],
)
def test_the_scale_of_an_accuracy_has_a_place_for_every_value(accuracies, labels, tmp_path):
    rows = [EPOCHS[0] | {"epoch": i, "train_accuracy": a} for i, a in enumerate(accuracies, 1)]
    figure = training_plots.history(rows)
    files.write_png(tmp_path / "history.png", figure)
    axes = figure.axes[1]
    low, high = axes.get_ylim()
    assert all(low < accuracy < high for accuracy in accuracies)
    shown = zip(axes.get_yticks(), ticks(axes.yaxis), strict=True)
    assert [label for tick, label in shown if low <= tick <= high] == labels


def test_the_confusion_matrix_has_true_classes_as_rows():
    axes, colours = plots.confusion_matrix(COUNTS, NAMES).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class")
    percentages = 100 * COUNTS / COUNTS.sum(1, keepdims=True)
    np.testing.assert_allclose(axes.images[0].get_array(), percentages)
    assert axes.images[0].origin == "upper"
    texts = {each.get_position(): each.get_text() for each in axes.texts}
    assert texts[5, 3] == "35"  # column 5, row 3
    assert colours.get_ylabel() == "percentage of the true class"


def test_zeros_of_the_confusion_matrix_are_not_printed():
    counts = COUNTS.copy()
    counts[4] = 0
    axes, _ = plots.confusion_matrix(counts, NAMES).axes
    printed = {text.get_position() for text in axes.texts}
    assert printed == {(x, y) for x in range(10) for y in range(10) if counts[y, x]}
    np.testing.assert_array_equal(axes.images[0].get_array()[4], 0)


def test_many_classes_have_no_numbers():
    names = [f"class {k}" for k in range(47)]
    axes, _ = plots.confusion_matrix(np.eye(47, dtype=np.int64), names).axes
    assert not axes.texts
    assert ticks(axes.xaxis) == ticks(axes.yaxis) == names


@pytest.mark.parametrize(
    ("draw", "area"), [(plots.roc, "AUC"), (plots.precision_recall, "AP")], ids=["roc", "pr"]
)
def test_the_worst_classes_and_the_averages_are_named(draw, area):
    figure = draw(CURVES, NAMES)
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.get_lines()}
    named = [
        *(f"{k}  {area} {0.9 + k / 1000:.3f}" for k in range(5)),
        f"micro average  {area} 0.910",
        f"macro average  {area} 0.911",
    ]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*named, f"other classes, {area} larger"]
    for label, name in zip(named, [*"01234", "micro", "macro"], strict=True):
        assert_shows(lines[label], CURVES[name].x, CURVES[name].y)
    assert len(axes.get_lines()) == len(CURVES)
    styles = {(lines[label].get_color(), lines[label].get_linestyle()) for label in named}
    assert len(styles) == len(named)


@pytest.mark.parametrize(
    ("areas", "shown"),
    [
        ((1.0, 1.0 - 1e-12), ["1.00", "1.00"]),
        ((0.99998, 0.999998), ["0.99998", "0.99999"]),
        ((0.5, 0.75), ["0.500", "0.750"]),
    ],
)
def test_areas_have_as_many_digits_as_tell_them_from_1(areas, shown):
    curves = {str(k): CURVES["0"]._replace(area=area) for k, area in enumerate(areas)}
    figure = plots.roc(curves, ["cat", "dog"])
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(text.split("AUC ")[1] for text in legend) == shown


@pytest.mark.parametrize(
    ("draw", "knee", "size"),
    [(plots.roc, (0.05, 0.9), 0.01), (plots.precision_recall, (0.9, 0.95), 0.05)],
    ids=["roc", "pr"],
)
def test_the_corner_is_as_large_as_the_worst_curve_needs(draw, knee, size):
    best = {name: curve._replace(area=1.0) for name, curve in CURVES.items()}
    left, right = draw(best, NAMES).axes[0].get_xlim()
    assert right - left == pytest.approx(size, rel=0.05)

    corner = draw(best | {"3": CURVES["3"]._replace(area=0.95)}, NAMES).axes[0]
    for value, (low, high) in zip(knee, (corner.get_xlim(), corner.get_ylim()), strict=True):
        assert low < value < high


def test_reliability_shows_the_accuracy_of_filled_bins_and_the_counts_of_all():
    figure = plots.reliability(BINS, UNCALIBRATED, 0.95)
    above, below = figure.axes
    assert_shows(above.get_lines()[0], [0, 1], [0, 1])
    assert_shows(above.get_lines()[-1], [0.9], [0.8])
    points = [point for point, _, _ in above.containers]
    assert_shows(points[0], [0.4], [0.5])
    assert_shows(points[1], [0.97], [0.96])
    np.testing.assert_allclose(
        [segment[:, 1] for _, _, (bar,) in above.containers for segment in bar.get_segments()],
        [[0.15, 0.85], [0.9, 0.98]],
    )
    uncertain, certain = (point.get_alpha() for point in points)
    assert uncertain < 0.5 < certain
    assert not any(point.get_clip_on() for point in points)
    bars = [(bar.get_x(), bar.get_width(), bar.get_height()) for bar in below.patches]
    assert bars == [(0, 0.25, 0), (0.25, 0.25, 4), (0.5, 0.25, 0), (0.75, 0.25, 96)]
    assert [text.get_text() for text in below.texts] == ["4", "96"]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [
        "perfect calibration",
        "before calibration (ECE 0.1000)",
        "calibrated (ECE 0.0136), with 95% interval",
    ]


def test_per_class_accuracy_shows_intervals_and_the_overall_accuracy():
    figure = plots.per_class_accuracy(PER_CLASS, 0.9229, NAMES, 0.9)
    (axes,) = figure.axes
    for place, (point, _, (bar,)) in enumerate(axes.containers):
        assert_shows(point, [ACCURACIES[place]], [place])
        ends = bar.get_segments()[0][:, 0]
        np.testing.assert_allclose(ends, [ACCURACIES[place] - 0.02, ACCURACIES[place] + 0.01])
    assert list(axes.get_lines()[0].get_xdata()) == [0.9229, 0.9229]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["all classes 92.29%", "one class, with 90% interval"]


def test_an_interval_that_excludes_its_value_by_rounding_is_drawn():
    rows = [row | {"accuracy_high": row["accuracy"] - 1e-16} for row in PER_CLASS]
    (axes,) = plots.per_class_accuracy(rows, 0.9229, NAMES, 0.95).axes
    assert len(axes.containers) == len(rows)


@pytest.mark.parametrize("count", [1, 8, 9, 41])
def test_mistakes_are_images_with_titles(count):
    images, labels, predictions, confidences, disputed = mistakes(count)
    figure = plots.mistakes(images, labels, predictions, confidences, disputed, NAMES)

    assert figure.axes[0].get_gridspec().get_geometry() == (-(-count // 8), 8)
    assert not any(axes.axison for axes in figure.axes)
    assert [bool(axes.images) for axes in figure.axes[:count]] == [True] * count
    for i, axes in enumerate(figure.axes[:count]):
        np.testing.assert_array_equal(axes.images[0].get_array(), images[i, 0])
        assert axes.images[0].get_clim() == (0, 255)
        label = "0*" if i == 0 else labels[i]
        assert axes.get_title() == f"{label} → {predictions[i]}\n{confidences[i]:.1%}"
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
    matrix, _ = plots.confusion_matrix(COUNTS, names).axes
    (accuracies,) = plots.per_class_accuracy(PER_CLASS, 0.9229, names, 0.95).axes
    for axis in (matrix.xaxis, matrix.yaxis, accuracies.yaxis):
        assert ticks(axis) == names
    for draw in (plots.roc, plots.precision_recall):
        legend = draw(CURVES, names).legends[0].get_texts()
        labels = [text.get_text().split("  ")[0] for text in legend]
        assert labels[:5] == names[:5]
    title = plots.mistakes(*mistakes(1), names).axes[0].get_title()
    assert title == "T-shirt/top* →\nclass 1\n99.0%"


def test_colour_images_are_drawn_in_their_colours():
    image = np.arange(12, dtype=np.uint8).reshape(3, 2, 2)
    (drawn,) = plots.image_sheet([image], ["red, green and blue"]).axes[0].images
    np.testing.assert_array_equal(drawn.get_array(), image.transpose(1, 2, 0))
