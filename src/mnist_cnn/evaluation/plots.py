"""Plots of an evaluation, as pure functions from numbers to matplotlib figures."""

from collections.abc import Collection, Mapping, Sequence
from math import floor
from textwrap import fill
from typing import Any

from mnist_cnn import figures
from mnist_cnn.evaluation import metrics
from mnist_cnn.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from numpy.typing import NDArray

_MANY = 20
"""With more classes or bins, a plot has no room for a number for each."""
_SMALL = 6.5
"""The size of the names of many classes, in points."""
_WORST = ((ORANGE, "-"), (BLUE, "--"), (GREEN, "-."), (PURPLE, "-"), (SKY, "--"))
"""Colours and line styles of the classes with the smallest areas, the smallest first."""

_INTERVAL: dict[str, Any] = {"fmt": "o", "markersize": 5, "color": BLUE, "capsize": 3}
"""The style of a point with an interval."""


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """A confusion matrix: counts as numbers, percentages of the true class as colours.

    Args:
        counts: `(n, n)`, from `metrics.confusion_matrix`.
        classes: the names of the n classes.
    """
    n = len(classes)
    size = max(min(n / 2 + 2, figures.WIDTH), n / 6.5)
    figure = figures.figure(size, 0.86 * size)
    figure.set_layout_engine("compressed")  # a colour bar as high as the matrix
    axes = figure.subplots()
    percentages = 100 * counts / counts.sum(1, keepdims=True).clip(min=1)
    # A linear scale would show a few mistakes among a thousand images as white.
    norm = PowerNorm(0.3, 0, 100)
    image = axes.imshow(percentages, cmap="Blues", norm=norm)
    bar = figure.colorbar(image, label="percentage of the true class", ticks=[0, 0.1, 1, 10, 100])
    bar.ax.set_yticklabels([f"{tick:g}%" for tick in bar.get_ticks()])
    if n <= _MANY:
        for row, column in np.argwhere(counts):
            axes.text(
                column,
                row,
                f"{counts[row, column]}",
                color="white" if norm(percentages[row, column]) > 0.5 else "black",
                fontsize=9 if n <= 12 else _SMALL,
                ha="center",
                va="center",
            )
    axes.set(title="Test images", xlabel="predicted class", ylabel="true class")
    axes.grid(visible=False)
    axes.set_xticks(range(n), classes)
    axes.set_yticks(range(n), classes)
    if n > _MANY:
        axes.tick_params("x", rotation=90)
        axes.tick_params(labelsize=_SMALL)
    elif max(map(len, classes)) > 3:
        axes.set_xticks(range(n), classes, rotation=45, ha="right", rotation_mode="anchor")
    return figure


def roc(curves: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """ROC curves: the upper left corner, enlarged so that the worst curve is in view.

    Args:
        curves: from `metrics.roc_curves`.
        classes: the names of the classes.
    """
    figure, axes = _draw_curves(curves, classes, area="AUC")
    size = _corner_size(curves, 0.01, 10)
    axes.set(xlabel="false positive rate", ylabel="true positive rate")
    axes.set(title="ROC, each class against the rest", xlim=(-0.02 * size, size))
    axes.set_ylim(max(0, 1 - 3 * size), 1 + 0.02 * min(1, 3 * size))
    return figure


def precision_recall(curves: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """Precision-recall curves: the upper right corner, enlarged so that the worst is in view.

    Args:
        curves: from `metrics.precision_recall_curves`.
        classes: the names of the classes.
    """
    figure, axes = _draw_curves(curves, classes, area="AP")
    size = _corner_size(curves, 0.05, 2)
    axes.set(xlabel="recall", ylabel="precision")
    axes.set(title="Precision and recall, each class against the rest")
    axes.set(xlim=(1 - size, 1 + 0.02 * size), ylim=(1 - size, 1 + 0.02 * size))
    return figure


def _corner_size(curves: Mapping[str, Any], least: float, factor: float) -> float:
    """The size of a corner in which even the worst curve can be seen."""
    worst: float = 1 - min(curve.area for curve in curves.values())
    return min(1.0, max(least, factor * worst))


def _draw_curves(
    curves: Mapping[str, Any], classes: Sequence[str], area: str
) -> tuple[Figure, Axes]:
    """Plot the curves: the five classes with the smallest areas in colour, averages in black."""
    figure = figures.figure(height=4.6)
    axes = figure.subplots()
    averages = {"micro": "--", "macro": ":"}
    classes_only = curves.keys() - averages.keys()
    ranked = sorted(classes_only, key=lambda name: (curves[name].area, int(name)))
    styles = dict(zip(ranked, _WORST, strict=False))
    styles |= {name: ("black", averages[name]) for name in averages if name in curves}
    areas = {name: round(curve.area, 9) for name, curve in curves.items()}
    # As many digits as tell the worst area from 1 well, rounded down, so that only 1 is 1.
    exponent = int(f"{1 - min(areas.values()):.0e}".split("e")[1])
    digits = min(5, 2 - exponent)
    for name, (color, line) in styles.items():
        shown = floor(round(areas[name] * 10**digits, 3)) / 10**digits
        of = f"{name} average" if name in averages else classes[int(name)]
        label = fill(f"{of}  {area} {shown:.{digits}f}", 28)
        x, y, _ = curves[name]
        axes.plot(x, y, color=color, linestyle=line, linewidth=1.4, zorder=3, label=label)
    for place, name in enumerate(ranked[len(_WORST) :]):
        entry = None if place else f"other classes, {area} larger"
        axes.plot(curves[name].x, curves[name].y, color=GREY, linewidth=0.8, label=entry)
    figure.legend(loc="outside right upper")
    return figure, axes


def reliability(bins: Sequence[Any], uncalibrated: Sequence[Any], confidence: float) -> Figure:
    """A reliability diagram: accuracy by confidence, and the number of images by confidence.

    The legend has the expected calibration errors (ECE). Points with longer intervals are paler.

    Args:
        bins: from `metrics.reliability`.
        uncalibrated: the same before calibration.
        confidence: the confidence level of the intervals, in (0, 1).
    """
    figure = figures.figure(6.2, 5.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], ":", color=GREY)
    for row in bins:
        if row.count:
            above.errorbar(
                row.confidence,
                row.accuracy,
                yerr=_lengths(row.accuracy, row.accuracy_low, row.accuracy_high),
                alpha=max(0.25, 1 - (row.accuracy_high - row.accuracy_low)),
                zorder=3,
                clip_on=False,
                **_INTERVAL,
            )
    (before,) = above.plot(
        [row.confidence for row in uncalibrated if row.count],
        [row.accuracy for row in uncalibrated if row.count],
        "x",
        color=ORANGE,
        zorder=4,
        clip_on=False,
    )
    above.set(ylabel="accuracy", ylim=(-0.02, 1.02))
    names = [
        "perfect calibration",
        f"before calibration (ECE {metrics.calibration_error(uncalibrated):.4f})",
        f"calibrated (ECE {metrics.calibration_error(bins):.4f}), {_interval(confidence)}",
    ]
    handles: list[Any] = [above.get_lines()[0], before, above.containers[-1]]
    figure.legend(handles, names, loc="outside upper center")
    below.bar(
        [row.low for row in bins],
        [row.count for row in bins],
        width=[row.high - row.low for row in bins],
        align="edge",
        color=BLUE,
        edgecolor="white",
    )
    if len(bins) <= _MANY:
        for row in bins:
            if row.count:
                middle = (row.low + row.high) / 2
                below.text(middle, row.count * 1.2, f"{row.count:,}", ha="center", fontsize=_SMALL)
    below.set(xlabel="confidence", ylabel="images (log scale)", yscale="log")
    below.set(xlim=(0, 1), ylim=(0.5, 6 * max(row.count for row in bins)))
    return figure


def per_class_accuracy(
    rows: Sequence[Mapping[str, float]], overall: float, classes: Sequence[str], confidence: float
) -> Figure:
    """The accuracy of each class with its interval, and the overall accuracy.

    Args:
        rows: from `metrics.per_class`.
        overall: the accuracy over all classes, a fraction.
        classes: the names of the classes.
        confidence: the confidence level of the intervals, in (0, 1).
    """
    figure = figures.figure(height=1.4 + (0.26 if len(rows) <= _MANY else 0.15) * len(rows))
    axes = figure.subplots()
    axes.axvline(overall, color=ORANGE, linestyle="--")
    for place, row in enumerate(rows):
        lengths = _lengths(row["accuracy"], row["accuracy_low"], row["accuracy_high"])
        axes.errorbar(row["accuracy"], place, xerr=lengths, **_INTERVAL)
    axes.set_yticks(range(len(rows)), classes)
    axes.set(xlabel="accuracy", ylabel="class", ylim=(len(rows) - 0.5, -0.5))
    figures.format_percent(axes.xaxis)
    names = [f"all classes {overall:.2%}", f"one class, {_interval(confidence)}"]
    handles: list[Any] = [axes.get_lines()[0], axes.containers[0]]
    figure.legend(handles, names, loc="outside upper center", ncols=2)
    return figure


def _interval(confidence: float) -> str:
    return f"with {100 * confidence:.4g}% interval"


def _lengths(value: float, low: float, high: float) -> NDArray[np.float64]:
    """The lengths of an interval below and above a value, `(2, 1)`."""
    # An end can be rounded to the wrong side of the value.
    return np.array([[max(value - low, 0)], [max(high - value, 0)]])


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    confidences: NDArray[np.floating],
    disputed: NDArray[np.bool_],
    classes: Sequence[str],
) -> Figure:
    """Images with true class, predicted class and confidence.

    Args:
        images: `(n, channels, height, width)`, 0 to 255.
        labels: the true classes, `(n,)`.
        predictions: the predicted classes, `(n,)`.
        confidences: the probabilities of the predictions, `(n,)`.
        disputed: whether the label is probably wrong, `(n,)`.
        classes: the names of all classes.
    """
    columns = (labels, predictions, confidences, disputed)
    figure = image_sheet(
        images,
        [
            f"{classes[label]}{'*' if doubt else ''} → {classes[predicted]}\n{confidence:.1%}"
            for label, predicted, confidence, doubt in zip(*columns, strict=True)
        ],
    )
    if len(images):
        note = "; * disputed label" if disputed.any() else ""
        figure.suptitle(f"true class → predicted class, and the confidence in the prediction{note}")
    else:
        figure.axes[0].text(0, 0.5, "no mistakes")
    return figure


def image_sheet(
    images: Collection[NDArray[np.uint8]],
    titles: Sequence[str],
    columns: int = 8,
) -> Figure:
    """Images in rows, each below its title.

    Args:
        images: each `(channels, height, width)`, 0 to 255. With one channel, bright pixels are
            drawn dark; with three, they are red, green and blue.
        titles: one for each image.
        columns: images in a row.
    """
    rows = max(1, -(-len(images) // columns))
    wrapped = ["\n".join(fill(line, 15) for line in title.split("\n")) for title in titles]
    lines = max((title.count("\n") + 1 for title in wrapped), default=1)
    figure = figures.figure(columns, (0.9 + 0.17 * lines) * rows + 0.3)
    sheet = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in sheet:
        axes.axis("off")
    for axes, image, title in zip(sheet, images, wrapped, strict=False):
        # Matplotlib ignores the colour map for three channels.
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        # A file name can have dollar signs, which are no formulas.
        axes.set_title(title, fontsize=8, parse_math=False)
    return figure
