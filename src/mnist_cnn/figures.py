"""The common style of all plots.

Blue is the usual case, orange the one to look at, grey the rest. The colours are those of Okabe and
Ito, which people with colour blindness can tell apart.
"""

from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#999999"
GREEN, PURPLE, SKY = "#009E73", "#CC79A7", "#56B4E9"
WIDTH = 7.5
"""The width of a README in inches, at which text has its full size."""

# A user's matplotlibrc must not change a plot.
mpl.rcdefaults()
mpl.rcParams.update(
    {
        "axes.axisbelow": True,
        "axes.grid": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlesize": "medium",
        "figure.constrained_layout.use": True,
        "figure.titlesize": "medium",
        "font.size": 9,
        "grid.alpha": 0.3,
        "legend.frameon": False,
    }
)

_LINEAR_BELOW = 1e-3
_ROUND: dict[str, Any] = {"nbins": 6, "steps": [1, 2, 5, 10]}


def figure(width: float = WIDTH, height: float = 4) -> Figure:
    """An empty figure, its size in inches."""
    return Figure(figsize=(width, height))


def metric_label(metric: str) -> str:
    """The label of an axis with the scale of `scale_metric`."""
    scale = "log scale of the error" if metric.endswith("accuracy") else "nats, log scale"
    return f"{metric.replace('_', ' ')}\n({scale})"


def scale_metric(panels: Sequence[Axes], metric: str) -> None:
    """Scale a y axis to tell small errors and losses apart, with all values in view.

    The scale is logarithmic in the loss, or in the error (1 - accuracy), and linear below 0.001, so
    that it has a place for 0.

    Args:
        panels: axes that share the y axis, with values of the metric; an accuracy is a fraction.
        metric: a name that ends with `accuracy` or `loss`.
    """
    accuracy = metric.endswith("accuracy")
    shift, sign = (1, -1) if accuracy else (0, 1)  # accuracy = 1 - error

    def scale(value: Any) -> Any:
        return np.arcsinh((value - shift) / _LINEAR_BELOW)

    def inverse(scaled: Any) -> Any:
        return shift + _LINEAR_BELOW * np.sinh(scaled)

    first = panels[0]
    first.set_yscale("function", functions=(scale, inverse))
    limits = np.array([axes.dataLim.intervaly for axes in panels])
    low, high = scale(limits[:, 0].min()), scale(limits[:, 1].max())
    margin = max(0.05 * (high - low), 0.1)
    first.set_ylim(inverse(low - margin), inverse(high + margin))
    if accuracy:
        format_percent(first.yaxis)
    else:
        first.yaxis.set_major_formatter(lambda y, _: f"{y:.6g}")
    first.yaxis.set_major_locator(_StepLocator(shift, sign))


class _StepLocator(MaxNLocator):
    """Ticks at 0 and round errors or losses; if fewer than three are in view, at round values."""

    def __init__(self, shift: int, sign: int) -> None:
        super().__init__(**_ROUND)
        self._shift, self._sign = shift, sign

    def tick_values(self, vmin: float, vmax: float) -> Any:
        for digits in ((1, 2, 5), (1,)):
            steps = [0.0, *(float(f"{m}e{k}") for k in range(-3, 4) for m in digits)]
            values = self._shift + self._sign * np.array(steps)
            inside = np.sort(values[(values >= vmin) & (values <= vmax)])
            if 3 <= len(inside) <= 7:
                return inside
        if len(inside) > 7:
            return inside
        others = np.asarray(super().tick_values(vmin, vmax))
        return others[self._sign * (others - self._shift) >= 0]  # none at an accuracy above 1


def format_percent(axis: Axis) -> None:
    """Round ticks of fractions, as percentages with no more digits than needed."""
    axis.set_major_locator(MaxNLocator(**_ROUND))
    axis.set_major_formatter(lambda value, _: f"{100 * value:.6g}%")


def tick_epochs(axes: Axes, last: int) -> None:
    """Label the x axis as epochs, with ticks at the first, which is 1, and at the last."""
    ticks = MaxNLocator(8, steps=[1, 2, 5, 10], integer=True).tick_values(1, last)
    space = 0.6 * (ticks[1] - ticks[0])
    between = [tick for tick in ticks if 1 + space < tick < last - space]
    axes.set_xticks([1, *between, last] if last > 1 else [1])
    axes.set_xlabel("epoch")
