"""Plots of an evaluation, as pure functions from numbers to matplotlib figures.

The colours suit people with colour blindness: Paul Tol's `muted` scheme for classes, with different
line styles, and one hue from light to dark for amounts.
"""

from collections.abc import Collection, Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray
from sklearn.metrics import ConfusionMatrixDisplay

_CLASS_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#555555",
)  # fmt: skip
_BLUE, _ORANGE = "#0072B2", "#D55E00"  # of Okabe and Ito
_MANY = 20
"""With more classes, a plot has no room for a number or a legend entry for each."""
_SMALL = 6.5
"""The size of the names of many classes, in points."""


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """A confusion matrix as counts and as percentages of the true class.

    Args:
        counts: `(n, n)`, from `metrics.confusion_matrix`.
        classes: the names of the n classes.
    """
    scale = max(1, len(classes) / 50)
    figure = _figure(13 * scale, 6.2 * scale)
    numbers = len(classes) <= _MANY
    percentages = 100 * counts / counts.sum(1, keepdims=True).clip(min=1)
    for axes, values, format_, title in zip(
        figure.subplots(1, 2),
        (counts, percentages),
        ("d", ".1f"),
        ("Test images", "Percent of the true class"),
        strict=True,
    ):
        display = ConfusionMatrixDisplay(values, display_labels=classes)
        # A linear scale would show a few mistakes among a thousand images as white.
        norm = PowerNorm(0.3, 0, values.max())
        display.plot(
            ax=axes,
            cmap="Blues",
            include_values=numbers,
            values_format=format_,
            colorbar=not numbers,
            im_kw={"norm": norm},
        )
        if numbers:
            # scikit-learn chooses the colours of the numbers by a linear scale.
            for text, value in zip(display.text_.flat, values.flat, strict=True):
                text.set(color="white" if norm(value) > 0.5 else "black", visible=bool(value))
        axes.set(title=title, xlabel="predicted class", ylabel="true class")
        _label_classes(axes, classes)
        if not numbers:
            axes.tick_params("y", labelsize=_SMALL)
    return figure


def _label_classes(axes: Axes, classes: Sequence[str]) -> None:
    """Put the names of the classes at the x axis, without overlap."""
    axes.set_xticks(range(len(classes)), classes)
    if len(classes) > _MANY:
        axes.tick_params("x", rotation=90, labelsize=_SMALL)
    elif max(map(len, classes)) > 3:
        axes.set_xticks(
            range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor"
        )


def roc(curves: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """ROC curves, and their upper left corner enlarged.

    Args:
        curves: from `metrics.roc_curves`.
        classes: the names of the classes.
    """
    figure, whole, corner = _plot_twice(
        curves, classes, area="AUC", xlabel="false positive rate", ylabel="true positive rate"
    )
    whole.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    whole.set(title="ROC, each class against the rest", xlim=(-0.01, 1), ylim=(0, 1.01))
    size = _corner_size(curves, 0.01, 10)
    corner.set(title="Upper left corner", xlim=(-0.02 * size, size))
    corner.set_ylim(max(0, 1 - 3 * size), 1 + 0.1 * size)
    whole.legend(loc="lower right", **_legend_options(classes))
    return figure


def precision_recall(curves: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """Precision-recall curves, and their upper right corner enlarged.

    Args:
        curves: from `metrics.precision_recall_curves`.
        classes: the names of the classes.
    """
    figure, whole, corner = _plot_twice(
        curves, classes, area="AP", xlabel="recall", ylabel="precision"
    )
    whole.set(title="Precision and recall, each class against the rest", xlim=(0, 1.01))
    whole.set_ylim(0, 1.02)
    size = _corner_size(curves, 0.05, 2)
    corner.set(title="Upper right corner", xlim=(1 - size, 1 + 0.02 * size))
    corner.set_ylim(1 - size, 1 + 0.04 * size)
    whole.legend(loc="lower left", **_legend_options(classes))
    return figure


def _legend_options(classes: Sequence[str]) -> dict[str, Any]:
    title = "averages, and the five worst classes" if len(classes) > _MANY else None
    return {"fontsize": 8.5, "ncols": 2, "title": title, "title_fontsize": 8.5}


def _plot_twice(
    curves: Mapping[str, Any], classes: Sequence[str], *, area: str, **labels: str
) -> tuple[Figure, Axes, Axes]:
    """A figure with the same curves in two axes, the second of which is to be enlarged."""
    figure = _figure(11, 5)
    whole, corner = figure.subplots(1, 2)
    for axes in (whole, corner):
        _plot_curves(axes, curves, classes, area)
        axes.set(**labels)
    return figure, whole, corner


def _corner_size(curves: Mapping[str, Any], least: float, factor: float) -> float:
    """The size of a corner in which even the worst curve can be seen."""
    worst: float = 1 - min(curve.area for curve in curves.values())
    return min(1.0, max(least, factor * worst))


def _plot_curves(axes: Axes, curves: Mapping[str, Any], classes: Sequence[str], area: str) -> None:
    """Plot the curves; of many, the legend has the averages and the five worst classes."""
    worst = sorted(curves, key=lambda name: curves[name].area)[:5]
    for number, (name, curve) in enumerate(curves.items()):
        average = name in ("micro", "macro")
        style = ("-", "-.")[(number + number // len(_CLASS_COLOURS)) % 2]
        axes.plot(
            curve.x,
            curve.y,
            color="black" if average else _CLASS_COLOURS[number % len(_CLASS_COLOURS)],
            linestyle={"micro": "--", "macro": ":"}.get(name, style),
            linewidth=2 if average else 1.4,
            label=f"{name if average else classes[int(name)]}  {area} {curve.area:.5f}"
            if average or name in worst or len(classes) <= _MANY
            else None,
        )
    axes.grid(alpha=0.3)


def reliability(bins: Sequence[Any], error: float) -> Figure:
    """A reliability diagram: accuracy by confidence, and the number of images by confidence.

    Args:
        bins: from `metrics.reliability`.
        error: the expected calibration error.
    """
    figure = _figure(6.2, 6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [row for row in bins if row.count]
    above.plot([0, 1], [0, 1], ":", color="grey", label="perfect calibration")
    _plot_intervals(
        above,
        [row.confidence for row in filled],
        [(row.accuracy, row.accuracy_low, row.accuracy_high) for row in filled],
        label="this model, with intervals",
    )
    above.set(
        ylabel="accuracy",
        ylim=(-0.02, 1.02),
        title=f"Reliability (expected calibration error {error:.4f})",
    )
    above.legend(loc="best", fontsize=9)
    below.bar(
        [row.low for row in bins],
        [row.count for row in bins],
        width=[row.high - row.low for row in bins],
        align="edge",
        color=_BLUE,
        edgecolor="white",
    )
    below.set(xlabel="confidence", ylabel="images", yscale="log", ylim=(0.8, None), xlim=(0, 1))
    for axes in (above, below):
        axes.grid(alpha=0.3)
    return figure


def per_class_accuracy(
    rows: Sequence[Mapping[str, float]], overall: float, classes: Sequence[str]
) -> Figure:
    """The accuracy of each class with its interval, and the overall accuracy.

    Args:
        rows: from `metrics.per_class`.
        overall: the accuracy over all classes, a fraction.
        classes: the names of the classes.
    """
    figure = _figure(max(7.5, len(classes) / 8), 4)
    axes = figure.subplots()
    axes.axhline(overall, color=_ORANGE, linestyle="--", label=f"all classes {overall:.2%}")
    _plot_intervals(
        axes,
        range(len(rows)),
        [(row["accuracy"], row["accuracy_low"], row["accuracy_high"]) for row in rows],
        label="one class, with its interval",
    )
    axes.set(xlabel="class", ylabel="accuracy")
    _label_classes(axes, classes)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=9)
    return figure


def _plot_intervals(
    axes: Axes, x: Sequence[float], rows: Sequence[tuple[float, float, float]], label: str
) -> None:
    """Plot points with intervals, each given as value, low end and high end."""
    middle, low, high = np.array(rows).reshape(-1, 3).T
    # An end can be rounded to the wrong side of the value.
    lengths = np.clip([middle - low, high - middle], 0, None)
    axes.errorbar(x, middle, lengths, fmt="o", color=_BLUE, capsize=4, label=label)


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    predictions: NDArray[np.int64],
    confidences: NDArray[np.floating],
    classes: Sequence[str],
) -> Figure:
    """Images with true class, predicted class and confidence.

    Args:
        images: `(n, channels, height, width)`, 0 to 255.
        labels: the true classes, `(n,)`.
        predictions: the predicted classes, `(n,)`.
        confidences: the probabilities of the predictions, `(n,)`.
        classes: the names of all classes.
    """
    figure = image_sheet(
        images,
        [
            f"{fill(f'{classes[label]} → {classes[predicted]}', 14)}\n{confidence:.1%}"
            for label, predicted, confidence in zip(labels, predictions, confidences, strict=True)
        ],
    )
    if not len(images):
        figure.axes[0].text(0, 0.5, "no mistakes", fontsize=12)
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
    figure = _figure(1.25 * columns, 1.55 * rows)
    sheet = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in sheet:
        axes.axis("off")
    for axes, image, title in zip(sheet, images, titles, strict=False):
        # Matplotlib ignores the colour map for three channels.
        pixels = image[0] if len(image) == 1 else image.transpose(1, 2, 0)
        axes.imshow(pixels, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        # A file name can have dollar signs, which are no formulas.
        axes.set_title(title, fontsize=9, parse_math=False)
    return figure
