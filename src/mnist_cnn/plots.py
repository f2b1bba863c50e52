"""Every figure, as a pure function from numbers to a matplotlib `Figure`. Writes no files.

Colours are told apart by people with colour-blindness: Paul Tol's `muted` scheme for classes, line
styles besides, and one hue from light to dark for amounts.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter
from numpy.typing import NDArray

_CLASS_COLOURS = (
    "#332288", "#88CCEE", "#44AA99", "#117733", "#999933",
    "#DDCC77", "#CC6677", "#882255", "#AA4499", "#555555",
)  # fmt: skip
_BLUE, _ORANGE = "#0072B2", "#D55E00"  # of Okabe and Ito


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), layout="constrained")


def history(epochs: Sequence[Mapping[str, Any]]) -> Figure:
    """Loss and accuracy of training after each epoch.

    Args:
        epochs: rows with `epoch`, `train_loss` in nats and `train_accuracy` as a fraction.
    """
    figure = _figure(9, 3.6)
    loss, accuracy = figure.subplots(1, 2)
    x = [row["epoch"] for row in epochs]
    loss.plot(x, [row["train_loss"] for row in epochs], "o-", color=_BLUE)
    loss.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
    accuracy.plot(x, [row["train_accuracy"] for row in epochs], "o-", color=_BLUE)
    accuracy.set(xlabel="epoch", ylabel="training accuracy, augmented")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    for axes in (loss, accuracy):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
    return figure


def confusion_matrix(counts: NDArray[np.int64]) -> Figure:
    """Counts `(10, 10)`, true class by row, beside the same as percentages of their rows."""
    figure = _figure(13, 6.2)
    left, right = figure.subplots(1, 2)
    rates = counts / counts.sum(1, keepdims=True).clip(min=1)
    labels = np.vectorize(str)(counts)
    _matrix(left, rates, labels, "Test images")
    percentages = np.vectorize("{:.1f}".format)(100 * rates)
    _matrix(right, rates, percentages, "Percent of the true class")
    return figure


def _matrix(axes: Axes, rates: NDArray[np.floating], texts: NDArray[np.str_], title: str) -> None:
    # A few images in a thousand are confused; on a linear scale all of them would be white.
    axes.imshow(rates, cmap="Blues", norm=PowerNorm(0.3, 0, 1))
    size = len(rates)
    for row in range(size):
        for column in range(size):
            if rates[row, column] > 0:
                dark = rates[row, column] > 0.1
                axes.text(
                    column,
                    row,
                    texts[row, column],
                    ha="center",
                    va="center",
                    fontsize=10,
                    color="white" if dark else "black",
                )
    axes.set(
        title=title,
        xlabel="predicted",
        ylabel="true",
        xticks=range(size),
        yticks=range(size),
    )


def roc(curves: Mapping[str, Any]) -> Figure:
    """ROC curves by name, each with `x`, `y` and `area`, whole and in the corner that matters."""
    figure = _figure(11, 5)
    whole, corner = figure.subplots(1, 2)
    for axes in (whole, corner):
        _curves(axes, curves, "AUC")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
    whole.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    whole.set(title="ROC, one class against the rest", xlim=(-0.01, 1), ylim=(0, 1.01))
    corner.set(title="its upper left corner", xlim=(-0.0002, 0.01), ylim=(0.97, 1.001))
    whole.legend(loc="lower right", fontsize=8.5, ncols=2)
    return figure


def precision_recall(curves: Mapping[str, Any]) -> Figure:
    """Precision-recall curves by name, each with `x`, `y` and `area`, whole and in the corner."""
    figure = _figure(11, 5)
    whole, corner = figure.subplots(1, 2)
    for axes in (whole, corner):
        _curves(axes, curves, "AP")
        axes.set(xlabel="recall", ylabel="precision")
    whole.set(title="Precision and recall, one class against the rest", xlim=(0, 1.01))
    whole.set_ylim(0, 1.02)
    corner.set(title="its upper right corner", xlim=(0.95, 1.001), ylim=(0.95, 1.002))
    whole.legend(loc="lower left", fontsize=8.5, ncols=2)
    return figure


def _curves(axes: Axes, curves: Mapping[str, Any], measure: str) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        average = name in ("micro", "macro")
        axes.plot(
            curve.x,
            curve.y,
            color="black" if average else _CLASS_COLOURS[number],
            linestyle={"micro": "--", "macro": ":"}.get(name, ("-", "-.")[number % 2]),
            linewidth=2 if average else 1.4,
            label=f"{name}  {measure} {curve.area:.5f}",
        )
    axes.grid(alpha=0.3)


def reliability(bins: Sequence[Any], error: float) -> Figure:
    """Accuracy over confidence, and how many predictions are that confident.

    Args:
        bins: rows with `low`, `high`, `count`, and `confidence` and `accuracy`, which are `None`
            where `count` is 0.
        error: the expected calibration error, for the title.
    """
    figure = _figure(6.2, 6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [row for row in bins if row.count]
    above.plot([0, 1], [0, 1], ":", color="grey", label="perfectly calibrated")
    above.plot(
        [row.confidence for row in filled],
        [row.accuracy for row in filled],
        "o-",
        color=_BLUE,
        label="this model",
    )
    above.set(
        ylabel="fraction right",
        ylim=(-0.02, 1.02),
        title=f"Reliability (expected calibration error {error:.4f})",
    )
    above.legend(loc="upper left")
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


def per_class_accuracy(rows: Sequence[Mapping[str, float]], overall: float) -> Figure:
    """The accuracy of every class with its interval, and of all of them as a line.

    Args:
        rows: with `class`, `accuracy`, `accuracy_low` and `accuracy_high`, as fractions.
        overall: the accuracy over all classes.
    """
    figure = _figure(7.5, 4)
    axes = figure.subplots()
    middle = np.array([row["accuracy"] for row in rows])
    below = middle - [row["accuracy_low"] for row in rows]
    above = np.array([row["accuracy_high"] for row in rows]) - middle
    axes.axhline(overall, color=_ORANGE, linestyle="--", label=f"all classes {overall:.2%}")
    axes.errorbar(
        [row["class"] for row in rows],
        middle,
        # Rounding can put the end of an interval on the wrong side of its middle.
        np.clip([below, above], 0, None),
        fmt="o",
        color=_BLUE,
        capsize=4,
        label="one class, with its interval",
    )
    axes.set(xlabel="digit", ylabel="accuracy", xticks=[row["class"] for row in rows])
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=9)
    return figure


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    guesses: NDArray[np.int64],
    confidences: NDArray[np.floating],
    *,
    columns: int = 8,
) -> Figure:
    """A sheet of images, each under its true and its predicted label and the confidence.

    Args:
        images: `(n, height, width)`, 0 to 255.
        labels: the true classes, `(n,)`.
        guesses: the predicted classes, `(n,)`.
        confidences: the probabilities of the predicted classes, `(n,)`.
        columns: images in a row.
    """
    figure = _sheet(
        images,
        [
            f"{label} taken for {guess}\n{confidence:.1%}"
            for label, guess, confidence in zip(labels, guesses, confidences, strict=True)
        ],
        columns,
    )
    if not len(images):
        figure.axes[0].text(0, 0.5, "no mistakes", fontsize=12)
    return figure


def predictions(
    images: NDArray[np.uint8],
    names: Sequence[str],
    digits: NDArray[np.int64],
    confidences: NDArray[np.floating],
    *,
    columns: int = 8,
) -> Figure:
    """A sheet of images, each under its name, the digit it is taken for and the confidence.

    Args:
        images: `(n, height, width)`, 0 to 255; what is bright is drawn dark.
        names: one an image; of a long one the end is shown.
        digits: the predicted classes, `(n,)`.
        confidences: the probabilities of the predicted classes, `(n,)`.
        columns: images in a row.
    """
    titles = [
        f"{name if len(name) <= 14 else '…' + name[-13:]}\n{digit}  ({confidence:.1%})"
        for name, digit, confidence in zip(names, digits, confidences, strict=True)
    ]
    return _sheet(images, titles, columns)


def _sheet(images: NDArray[np.uint8], titles: Sequence[str], columns: int) -> Figure:
    lines = max(1, -(-len(images) // columns))
    figure = _figure(1.25 * columns, 1.55 * lines)
    sheet = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes in sheet:
        axes.axis("off")
    for axes, image, title in zip(sheet, images, titles, strict=False):
        axes.imshow(image, cmap="gray_r", vmin=0, vmax=255, interpolation="nearest")
        # The name of a file may have dollar signs.
        axes.set_title(title, fontsize=9, parse_math=False)
    return figure
