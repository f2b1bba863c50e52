"""Optuna's plots of a study: matplotlib figures, and an interactive HTML page.

The figures depend on hyperparameters and results only, so they are the same each time. Only the
page has plots of times.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mnist_cnn.search.finalists import Finalist
from mnist_cnn.search.params import Objective

import numpy as np
import optuna
import optuna.visualization as interactive
import optuna.visualization.matplotlib as printed
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, PercentFormatter
from numpy.typing import NDArray
from optuna.distributions import IntDistribution
from optuna.exceptions import ExperimentalWarning

_BLUE = "#0072B2"  # of Okabe and Ito, which people with colour blindness can tell apart


def figures(study: optuna.Study, target: str) -> dict[str, Figure]:
    """Plots of a study by name; `target` is what its value is called.

    `slice` has the five most important hyperparameters, `contour` the three most important.
    """
    with _without_warnings():
        ranked = _ranked(study)
        return {
            "optimization_history": _history(study, target),
            "intermediate_values": _epochs(study, target),
            "param_importances": _importances(study, target),
            "parallel_coordinate": _parallel(study, target),
            "slice": _slice(study, ranked[:5], target),
            "contour": _contour(study, ranked[:3], target),
        }


def finalists(trained: Sequence[Finalist], objective: Objective) -> Figure:
    """The value of each finalist as a trial and at full length, the best trial first."""
    complete = [each for each in trained if each.complete]
    places = range(len(complete))
    as_trials = [each.trial.history[-1].metrics()[objective.metric] for each in complete]
    means = [each.mean(objective.metric) for each in complete]
    seeds = [
        (place, training.history[-1].metrics()[objective.metric])
        for place, each in zip(places, complete, strict=True)
        for training in each.trainings
    ]
    with style.context("ggplot"):  # that of Optuna's plots
        figure = Figure(figsize=(8, 5), layout="constrained")
        axes = figure.subplots()
    axes.scatter(places, as_trials, facecolors="none", edgecolors="#333333", label="as a trial")
    axes.scatter(*zip(*seeds, strict=True), color=_BLUE, alpha=0.5, label="at full length")
    axes.scatter(places, means, marker="_", s=600, color=_BLUE, label="mean at full length")
    axes.set_xticks(places, [f"trial {each.trial.number}" for each in complete])
    axes.set(ylabel=objective.label, xmargin=0.2)
    if objective.metric.endswith("accuracy"):
        axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.legend(loc="outside upper center", ncols=3)
    return figure


def page(study: optuna.Study, target: str) -> str:
    """An HTML page with the same plots, interactive, and with a timeline of the trials.

    It contains its scripts, 5 MB, and needs no network.
    """
    with _without_warnings():
        ranked = _ranked(study)
        plots = [
            interactive.plot_optimization_history(study, target_name=target),
            interactive.plot_intermediate_values(study).update_layout(
                xaxis_title="epoch", yaxis_title=target
            ),
            interactive.plot_param_importances(study, params=_names(study), target_name=target),
            interactive.plot_parallel_coordinate(study, params=_names(study), target_name=target),
            interactive.plot_slice(study, params=ranked, target_name=target),
            interactive.plot_contour(study, params=ranked[:4], target_name=target),
            interactive.plot_timeline(study),
        ]
    # The first plot contains the scripts of all.
    parts = [plot.to_html(full_html=False, include_plotlyjs=plot is plots[0]) for plot in plots]
    return "\n".join(
        ["<!doctype html>", '<meta charset="utf-8">', f"<title>{study.study_name}</title>", *parts]
    )


@contextmanager
def _without_warnings() -> Iterator[None]:
    """Hide warnings about experimental functions and about small studies."""
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        optuna.logging.set_verbosity(level)


def _names(study: optuna.Study) -> list[str]:
    """The hyperparameters that every trial has."""
    return [name for name in study.trials[0].params if all(name in t.params for t in study.trials)]


def _ranked(study: optuna.Study) -> list[str]:
    """The names of the hyperparameters, the most important first."""
    importances = optuna.importance.get_param_importances(study, params=_names(study))
    # Optuna orders equally important ones by the hash of their names, which changes.
    return sorted(importances, key=lambda name: (-importances[name], name))


def _history(study: optuna.Study, target: str) -> Figure:
    axes = printed.plot_optimization_history(study, target_name=target)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    return _sized(axes, 8, 5)


def _epochs(study: optuna.Study, target: str) -> Figure:
    axes = printed.plot_intermediate_values(study)
    axes.set(xlabel="epoch", ylabel=target)
    axes.locator_params(axis="x", integer=True, min_n_ticks=1)
    if legend := axes.get_legend():
        legend.remove()  # it would list every trial
    return _sized(axes, 8, 5)


def _importances(study: optuna.Study, target: str) -> Figure:
    # With names, for the same reason as in `_ranked`.
    axes = printed.plot_param_importances(study, params=_names(study), target_name=target)
    return _sized(axes, 8, 5)


def _parallel(study: optuna.Study, target: str) -> Figure:
    # Others would hide the trials without them.
    parallel = printed.plot_parallel_coordinate(study, params=_names(study), target_name=target)
    _, *names = (label.get_text() for label in parallel.get_xticklabels())
    for name, axes in zip(names, parallel.figure.axes[-len(names) :], strict=True):
        axes.grid(visible=False)  # its lines would cross the tick labels
        distribution = study.trials[0].distributions[name]
        if isinstance(distribution, IntDistribution) and not distribution.log:
            axes.locator_params(axis="y", integer=True)
    parallel.grid(visible=False)
    return _sized(parallel, 14, 5)


def _slice(study: optuna.Study, names: list[str], target: str) -> Figure:
    axes = printed.plot_slice(study, params=names, target_name=target)
    _tick_possible_values(study, np.atleast_1d(axes))
    return _sized(axes, 2.8 * len(names) + 1, 4)


def _contour(study: optuna.Study, names: list[str], target: str) -> Figure:
    axes = printed.plot_contour(study, params=names, target_name=target)
    _tick_possible_values(study, np.atleast_1d(axes))
    return _sized(axes, 11, 9)


def _tick_possible_values(study: optuna.Study, axes: NDArray[Any]) -> None:
    """Put the ticks of a whole-number axis at its possible values, if they are few."""
    for each in axes.flat:
        for axis in (each.xaxis, each.yaxis):
            distribution = study.trials[0].distributions.get(axis.get_label_text())
            if isinstance(distribution, IntDistribution):
                values = range(distribution.low, distribution.high + 1, distribution.step)
                if len(values) <= 5:
                    axis.set_ticks(list(values))


def _sized(axes: Any, width: float, height: float) -> Figure:
    """The figure of axes, or of an array of axes, in inches, without overlapping tick labels."""
    figure: Figure = (axes.flat[0] if hasattr(axes, "flat") else axes).figure
    figure.suptitle("")
    for each in figure.axes:
        for axis in (each.xaxis, each.yaxis):
            axis.set_minor_formatter(NullFormatter())
    figure.set_size_inches(width, height)
    return figure
