"""Plots of a training."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

_BLUE = "#0072B2"  # of Okabe and Ito, which people with colour blindness can tell apart


def history(epochs: Sequence[Mapping[str, Any]]) -> Figure:
    """Training loss and accuracy by epoch.

    Args:
        epochs: rows with `epoch`, `train_loss` in nats and `train_accuracy` as a fraction.
    """
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    x = [row["epoch"] for row in epochs]
    loss.plot(x, [row["train_loss"] for row in epochs], "o-", color=_BLUE)
    loss.set(xlabel="epoch", ylabel="training loss (nats)", ylim=(0, None))
    accuracy.plot(x, [row["train_accuracy"] for row in epochs], "o-", color=_BLUE)
    accuracy.set(xlabel="epoch", ylabel="training accuracy (augmented images)")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1))
    for axes in (loss, accuracy):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    return figure
