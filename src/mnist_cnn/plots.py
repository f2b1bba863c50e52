"""Every figure, as a pure function from numbers to a matplotlib `Figure`. Writes no files.

Colours are told apart by people with colour-blindness: Paul Tol's `muted` scheme for classes, line
styles besides, and one hue from light to dark for amounts.
"""

from collections.abc import Mapping, Sequence
from textwrap import fill
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
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    return figure


def confusion_matrix(counts: NDArray[np.int64], classes: Sequence[str]) -> Figure:
    """Counts `(10, 10)`, true class by row, beside the same as percentages of their rows.

    Args:
        counts: as `metrics.confusion_matrix` gives them.
        classes: their names.
    """
    figure = _figure(13, 6.2)
    left, right = figure.subplots(1, 2)
    rates = counts / counts.sum(1, keepdims=True).clip(min=1)
    labels = np.vectorize(str)(counts)
    _matrix(left, rates, labels, classes, "Test images")
    percentages = np.vectorize("{:.1f}".format)(100 * rates)
    _matrix(right, rates, percentages, classes, "Percent of the true class")
    return figure


def _matrix(
    axes: Axes,
    rates: NDArray[np.floating],
    texts: NDArray[np.str_],
    classes: Sequence[str],
    title: str,
) -> None:
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
    )
    _name_below(axes, classes)
    axes.set_yticks(range(size), classes)


def _name_below(axes: Axes, classes: Sequence[str]) -> None:
    """Names of classes below an axis, turned where they would not stand beside each other."""
    long = max(map(len, classes)) > 3
    turned: dict[str, Any] = (
        {"rotation": 45, "ha": "right", "rotation_mode": "anchor"} if long else {}
    )
    axes.set_xticks(range(len(classes)), classes, **turned)


def roc(curves: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """ROC curves, whole and in the corner that matters.

    Args:
        curves: as `metrics.roc_curves` gives them.
        classes: their names.
    """
    figure = _figure(11, 5)
    whole, corner = figure.subplots(1, 2)
    for axes in (whole, corner):
        _curves(axes, curves, classes, "AUC")
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
    whole.plot([0, 1], [0, 1], ":", color="grey", linewidth=1)
    whole.set(title="ROC, one class against the rest", xlim=(-0.01, 1), ylim=(0, 1.01))
    reach = _reach(curves, 0.01, 10)
    corner.set(title="its upper left corner", xlim=(-0.02 * reach, reach))
    corner.set_ylim(max(0, 1 - 3 * reach), 1 + 0.1 * reach)
    whole.legend(loc="lower right", fontsize=8.5, ncols=2)
    return figure


def precision_recall(curves: Mapping[str, Any], classes: Sequence[str]) -> Figure:
    """Precision-recall curves, whole and in the corner that matters.

    Args:
        curves: as `metrics.precision_recall_curves` gives them.
        classes: their names.
    """
    figure = _figure(11, 5)
    whole, corner = figure.subplots(1, 2)
    for axes in (whole, corner):
        _curves(axes, curves, classes, "AP")
        axes.set(xlabel="recall", ylabel="precision")
    whole.set(title="Precision and recall, one class against the rest", xlim=(0, 1.01))
    whole.set_ylim(0, 1.02)
    reach = _reach(curves, 0.05, 2)
    corner.set(title="its upper right corner", xlim=(1 - reach, 1 + 0.02 * reach))
    corner.set_ylim(1 - reach, 1 + 0.04 * reach)
    whole.legend(loc="lower left", fontsize=8.5, ncols=2)
    return figure


def _reach(curves: Mapping[str, Any], least: float, times: float) -> float:
    """The side of a corner that shows the worst curve too: so many times the area above it."""
    missed: float = 1 - min(curve.area for curve in curves.values())
    return min(1.0, max(least, times * missed))


def _curves(axes: Axes, curves: Mapping[str, Any], classes: Sequence[str], measure: str) -> None:
    for number, (name, curve) in enumerate(curves.items()):
        average = name in ("micro", "macro")
        axes.plot(
            curve.x,
            curve.y,
            color="black" if average else _CLASS_COLOURS[number],
            linestyle={"micro": "--", "macro": ":"}.get(name, ("-", "-.")[number % 2]),
            linewidth=2 if average else 1.4,
            label=f"{name if average else classes[int(name)]}  {measure} {curve.area:.5f}",
        )
    axes.grid(alpha=0.3)


def reliability(bins: Sequence[Any], error: float) -> Figure:
    """Accuracy over confidence, and how many predictions are that confident.

    Args:
        bins: as `metrics.reliability` gives them.
        error: the expected calibration error, for the title.
    """
    figure = _figure(6.2, 6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    filled = [row for row in bins if row.count]
    above.plot([0, 1], [0, 1], ":", color="grey", label="perfectly calibrated")
    _intervals(
        above,
        [row.confidence for row in filled],
        [(row.accuracy, row.accuracy_low, row.accuracy_high) for row in filled],
        label="this model, with intervals",
    )
    above.set(
        ylabel="fraction right",
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
    """The accuracy of every class with its interval, and of all of them as a line.

    Args:
        rows: one a class with `accuracy`, `accuracy_low` and `accuracy_high`, as fractions.
        overall: the accuracy over all classes.
        classes: their names.
    """
    figure = _figure(7.5, 4)
    axes = figure.subplots()
    axes.axhline(overall, color=_ORANGE, linestyle="--", label=f"all classes {overall:.2%}")
    _intervals(
        axes,
        range(len(rows)),
        [(row["accuracy"], row["accuracy_low"], row["accuracy_high"]) for row in rows],
        label="one class, with its interval",
    )
    axes.set(xlabel="class", ylabel="accuracy")
    _name_below(axes, classes)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left", fontsize=9)
    return figure


def _intervals(
    axes: Axes, x: Sequence[float], rows: Sequence[tuple[float, float, float]], label: str
) -> None:
    """Points with the intervals about them: each row is a value and the ends of its interval."""
    middle, low, high = np.array(rows).reshape(-1, 3).T
    # Rounding can put the end of an interval on the wrong side of its middle.
    lengths = np.clip([middle - low, high - middle], 0, None)
    axes.errorbar(x, middle, lengths, fmt="o", color=_BLUE, capsize=4, label=label)


def mistakes(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    guesses: NDArray[np.int64],
    confidences: NDArray[np.floating],
    classes: Sequence[str],
    *,
    columns: int = 8,
) -> Figure:
    """A sheet of images, each under its true and its predicted class and the confidence.

    Args:
        images: `(n, height, width)`, 0 to 255.
        labels: the true classes, `(n,)`.
        guesses: the predicted classes, `(n,)`.
        confidences: the probabilities of the predicted classes, `(n,)`.
        classes: the names of all classes.
        columns: images in a row.
    """
    taken_for = "taken\N{NO-BREAK SPACE}for"
    figure = _sheet(
        images,
        [
            f"{fill(f'{classes[label]} {taken_for} {classes[guess]}', 14)}\n{confidence:.1%}"
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
    answers: Sequence[str],
    confidences: NDArray[np.floating],
    *,
    columns: int = 8,
) -> Figure:
    """A sheet of images, each under its name, what it is taken for and the confidence.

    Args:
        images: `(n, height, width)`, 0 to 255; what is bright is drawn dark.
        names: one an image; of a long one the end is shown.
        answers: the predicted classes, by name.
        confidences: the probabilities of the predicted classes, `(n,)`.
        columns: images in a row.
    """
    titles = [
        f"{name if len(name) <= 14 else '…' + name[-13:]}\n{answer}  ({confidence:.1%})"
        for name, answer, confidence in zip(names, answers, confidences, strict=True)
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
