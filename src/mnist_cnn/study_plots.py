"""Optuna's pictures of a study: figures to print, and a page to explore.

The figures are functions of hyperparameters and results alone, so they come out the same each time.
What tells of time, as the timeline does, is on the page only.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import optuna
import optuna.visualization as interactive
import optuna.visualization.matplotlib as printed
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray
from optuna.distributions import IntDistribution
from optuna.exceptions import ExperimentalWarning

ACCURACY = "validation accuracy"


def figures(study: optuna.Study) -> dict[str, Figure]:
    """Pictures of a study as matplotlib figures by name, wide enough to be read.

    `slice` shows the five hyperparameters that matter most, `contour` the first three of them.
    """
    with _without_warnings():
        ranked = _ranked(study)
        return {
            "optimization_history": _history(study),
            "intermediate_values": _epochs(study),
            "param_importances": _importances(study),
            "parallel_coordinate": _parallel(study),
            "slice": _slice(study, ranked[:5]),
            "contour": _contour(study, ranked[:3]),
        }


def page(study: optuna.Study) -> str:
    """An HTML page of the same pictures, and of when each trial ran; its slices are of all.

    It carries the scripts that it needs, 5 MB of them, and works without the internet.
    """
    with _without_warnings():
        ranked = _ranked(study)
        pictures = [
            interactive.plot_optimization_history(study, target_name=ACCURACY),
            interactive.plot_intermediate_values(study).update_layout(
                xaxis_title="epoch", yaxis_title=ACCURACY
            ),
            interactive.plot_param_importances(study, params=_names(study), target_name=ACCURACY),
            interactive.plot_parallel_coordinate(study, target_name=ACCURACY),
            interactive.plot_slice(study, params=ranked, target_name=ACCURACY),
            interactive.plot_contour(study, params=ranked[:4], target_name=ACCURACY),
            interactive.plot_timeline(study),
        ]
    # The first of them brings the scripts for all.
    parts = [
        picture.to_html(full_html=False, include_plotlyjs=picture is pictures[0])
        for picture in pictures
    ]
    return "\n".join(
        ["<!doctype html>", '<meta charset="utf-8">', f"<title>{study.study_name}</title>", *parts]
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Of what is experimental, and of studies that are small for a picture."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        warnings.simplefilter("ignore", UserWarning)
        yield
    optuna.logging.set_verbosity(level)


def _names(study: optuna.Study) -> list[str]:
    return list(study.trials[0].params)


def _ranked(study: optuna.Study) -> list[str]:
    """The hyperparameters, the most important first."""
    importances = optuna.importance.get_param_importances(study, params=_names(study))
    # Optuna would order equals by the hash of their names.
    return sorted(importances, key=lambda name: (-importances[name], name))


def _history(study: optuna.Study) -> Figure:
    axes = printed.plot_optimization_history(study, target_name=ACCURACY)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    return _sized(axes, 8, 5)


def _epochs(study: optuna.Study) -> Figure:
    axes = printed.plot_intermediate_values(study)
    axes.set(xlabel="epoch", ylabel=ACCURACY)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    if legend := axes.get_legend():
        legend.remove()  # a line a trial, all of them in `epochs.csv`
    return _sized(axes, 8, 5)


def _importances(study: optuna.Study) -> Figure:
    # Named in order, as in `_ranked`.
    axes = printed.plot_param_importances(study, params=_names(study), target_name=ACCURACY)
    return _sized(axes, 8, 5)


def _parallel(study: optuna.Study) -> Figure:
    parallel = printed.plot_parallel_coordinate(study, target_name=ACCURACY)
    _, *names = (label.get_text() for label in parallel.get_xticklabels())
    for name, axes in zip(names, parallel.figure.axes[-len(names) :], strict=True):
        axes.grid(visible=False)  # its lines would cross out the numbers of the axes
        distribution = study.trials[0].distributions[name]
        if isinstance(distribution, IntDistribution) and not distribution.log:
            axes.locator_params(axis="y", integer=True)
    parallel.grid(visible=False)
    return _sized(parallel, 14, 5)


def _slice(study: optuna.Study, names: list[str]) -> Figure:
    axes = printed.plot_slice(study, params=names, target_name=ACCURACY)
    _mark_possible(study, np.atleast_1d(axes))
    return _sized(axes, 2.8 * len(names) + 1, 4)


def _contour(study: optuna.Study, names: list[str]) -> Figure:
    axes = printed.plot_contour(study, params=names, target_name=ACCURACY)
    _mark_possible(study, np.atleast_1d(axes))
    return _sized(axes, 11, 9)


def _mark_possible(study: optuna.Study, axes: NDArray[Any]) -> None:
    """Number the axes of whole numbers at values that can be drawn, where these are few."""
    for each in axes.flat:
        for axis in (each.xaxis, each.yaxis):
            distribution = study.trials[0].distributions.get(axis.get_label_text())
            if isinstance(distribution, IntDistribution):
                values = range(distribution.low, distribution.high + 1, distribution.step)
                if len(values) <= 5:
                    axis.set_ticks(list(values))


def _sized(axes: Any, width: float, height: float) -> Figure:
    """The figure of axes, or of an array of them, at a size in inches, with numbers apart."""
    figure: Figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
    figure.suptitle("")
    for each in figure.axes:
        for axis in (each.xaxis, each.yaxis):
            axis.set_minor_formatter(NullFormatter())
    figure.set_size_inches(width, height)
    return figure
