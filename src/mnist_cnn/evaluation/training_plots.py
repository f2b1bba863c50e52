"""Plots of a training."""

from collections.abc import Mapping, Sequence
from typing import Any

from mnist_cnn import figures
from mnist_cnn.figures import BLUE

from matplotlib.figure import Figure


def history(epochs: Sequence[Mapping[str, Any]]) -> Figure:
    """Training loss and accuracy by epoch.

    Args:
        epochs: rows with `epoch` from 1, `train_loss` in nats and `train_accuracy` as a fraction.
    """
    figure = figures.figure(height=3.2)
    for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        values = [row[f"train_{metric}"] for row in epochs]
        axes.plot([row["epoch"] for row in epochs], values, ".-", color=BLUE)
        axes.set_ylabel(figures.metric_label(f"training_{metric}"))
        figures.scale_metric([axes], metric)
        figures.tick_epochs(axes, epochs[-1]["epoch"])
    figure.suptitle("measured on augmented images")
    return figure
