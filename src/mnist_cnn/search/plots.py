"""Plots of a search: matplotlib figures, and Optuna's interactive plots as an HTML page.

The figures depend on hyperparameters and results only, so they are the same each time. Only the
page has plots of times.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from math import sqrt
from textwrap import fill
from typing import Any

from mnist_cnn import figures
from mnist_cnn.figures import BLUE, GREY, ORANGE
from mnist_cnn.search.finalists import Finalist
from mnist_cnn.search.params import Tune
from mnist_cnn.search.space import Choices, FloatRange, IntRange
from mnist_cnn.search.trial import Trial

import optuna
import optuna.visualization as interactive
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from optuna.exceptions import ExperimentalWarning

_STYLES: dict[str, dict[str, Any]] = {
    "complete": {"color": BLUE, "marker": "o", "alpha": 0.7},
    "pruned": {"color": GREY, "marker": "v", "markerfacecolor": "none"},
    "failed": {"color": "black", "marker": "x"},
    "chosen": {"color": ORANGE, "marker": "D", "zorder": 3},
}


def draw(
    tune: Tune, trials: Sequence[Trial], finalists: Sequence[Finalist], chosen: Finalist
) -> dict[str, Figure]:
    """All plots by name, without `slice` if no trial has a tuned hyperparameter.

    Args:
        tune: the parameters of the search.
        trials: all trials in order of number.
        finalists: from `finalists.train`.
        chosen: one of them, a complete one.
    """
    complete = [each for each in finalists if each.complete]
    tuned = sorted({name for trial in trials for name in trial.hyperparameters})
    plots = {
        "optimization_history": _optimization_history(tune, trials, chosen),
        "learning_curves": _learning_curves(tune, trials, complete, chosen),
        "finalists": _finalists(tune, complete, chosen),
    }
    return plots | ({"slice": _slice(tune, trials, chosen, tuned)} if tuned else {})


def _optimization_history(tune: Tune, trials: Sequence[Trial], chosen: Finalist) -> Figure:
    """The value of each trial, and the best of the complete ones so far."""
    figure = figures.figure(height=3.8)
    axes = figure.subplots()
    _scatter(axes, trials, chosen, [trial.number for trial in trials])
    if failed := [trial.number for trial in trials if trial.state == "failed"]:
        bottom, y = axes.get_xaxis_transform(), [0.03] * len(failed)
        axes.plot(failed, y, transform=bottom, linestyle="", label="failed", **_STYLES["failed"])
    complete = [trial for trial in trials if trial.state == "complete"]
    choose = min if tune.objective.direction == "minimize" else max
    best = [*accumulate((trial.value or 0.0 for trial in complete), choose)]
    numbers = [*(trial.number for trial in complete), trials[-1].number]
    axes.step(numbers, [*best, best[-1]], where="post", color=BLUE, label="best so far")
    axes.xaxis.set_major_locator(MaxNLocator(steps=[1, 2, 5, 10], integer=True, min_n_ticks=1))
    axes.set(xlabel="trial", ylabel=figures.metric_label(tune.objective.metric))
    figures.scale_metric([axes], tune.objective.metric)
    figure.legend(loc="outside upper center", ncols=5)
    return figure


def _slice(tune: Tune, trials: Sequence[Trial], chosen: Finalist, names: Sequence[str]) -> Figure:
    """The values of the trials by each of some hyperparameters, over its whole range."""
    space = tune.search_space
    columns = min(4, len(names))
    rows = -(-len(names) // columns)
    figure = figures.figure(max(4.5, figures.WIDTH * columns / 4), 1 + 2 * rows)
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, names, strict=False):
        tuned = [trial for trial in trials if name in trial.hyperparameters]
        x = [trial.hyperparameters[name] for trial in tuned]
        if isinstance(range_ := space[name], Choices):
            x = [range_.choices.index(choice) for choice in x]
        _scatter(axes, tuned, chosen, x)
        _show_range(axes, range_)
        conditions = " and ".join(
            f"{other} is {' or '.join(map(str, values if isinstance(values, list) else [values]))}"
            for other, values in range_.only_if.items()
            if other in space
        )
        label = [name, f"if {conditions}"] if conditions else [name]
        axes.set_xlabel("\n".join(map(_wrap, label)), fontsize=8)
    for axes in panels.flat[len(names) :]:
        axes.axis("off")
    figures.scale_metric([*panels.flat[: len(names)]], tune.objective.metric)
    figure.supylabel(figures.metric_label(tune.objective.metric), fontsize="medium")
    entries = {
        label: handle
        for axes in panels.flat
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=3)
    return figure


def _wrap(name: str) -> str:
    """Break a long name after underscores."""
    return fill(name.replace("_", "_ "), 26).replace("_ ", "_")


def _show_range(axes: Axes, range_: IntRange | FloatRange | Choices) -> None:
    """Scale an x axis to a whole range; with few possible values, only these are ticks."""
    if isinstance(range_, Choices):
        names = [str(choice) for choice in range_.choices]
        axes.set_xticks(range(len(names)), names, rotation=30 if len("".join(names)) > 16 else 0)
        axes.set_xlim(-0.5, len(names) - 0.5)
        return
    low, high = range_.low, range_.high
    if range_.log:
        margin = (high / low) ** 0.07 * 1.01
        axes.set(xscale="log", xlim=(low / margin, high * margin))
        axes.xaxis.set_major_locator(LogLocator(subs=(1,) if high / low > 50 else (1, 3)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        return
    margin = 0.07 * (high - low) or 0.5
    axes.set_xlim(low - margin, high + margin)
    if range_.step and (high - low) / range_.step < 5:
        axes.set_xticks(range_.values(), [f"{value:g}" for value in range_.values()])
    else:
        whole = isinstance(range_, IntRange)
        steps = [1, 2, 5, 10]
        axes.xaxis.set_major_locator(MaxNLocator(4, steps=steps, integer=whole, min_n_ticks=1))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:.6g}")


def _kind(trial: Trial, chosen: Finalist) -> str:
    """How to draw a trial: its state, or that it is the chosen one."""
    return "chosen" if trial.number == chosen.trial.number else trial.state


def _scatter(axes: Axes, trials: Sequence[Trial], chosen: Finalist, x: Sequence[float]) -> None:
    """Plot the values of trials that have one over x."""
    for kind, label in {
        "complete": "complete",
        "pruned": "pruned, at its last epoch",
        "chosen": f"chosen: trial {chosen.trial.number}",
    }.items():
        points = [
            (at, trial.value)
            for at, trial in zip(x, trials, strict=True)
            if _kind(trial, chosen) == kind
        ]
        if points:
            style = _STYLES[kind]
            axes.plot(*zip(*points, strict=True), linestyle="", ms=5, label=label, **style)


def _learning_curves(
    tune: Tune, trials: Sequence[Trial], complete: Sequence[Finalist], chosen: Finalist
) -> Figure:
    """The metric by epoch: of the trials, and of the trainings of the finalists."""
    metric = tune.objective.metric
    trainings = [training for finalist in complete for training in finalist.trainings]
    panels = {"trials": trials} if tune.epochs > 1 else {}  # one epoch is no curve
    panels |= {"finalists": trainings}
    figure = figures.figure(height=3.8)
    entries = {}
    for axes, (name, shown) in zip(
        figure.subplots(1, len(panels), squeeze=False).flat, panels.items(), strict=True
    ):
        for trial in shown:
            style = _STYLES[kind := _kind(trial, chosen)]
            if trial.history:
                _plot_epochs(axes, trial, metric, markevery=[-1], **style)
                entries[kind] = _entry(**style)
        if name == "finalists" and metric.startswith("validation"):
            style = {"color": ORANGE, "linestyle": ":"}
            for training in chosen.trainings:
                _plot_epochs(axes, training, metric.replace("validation", "train"), **style)
            entries["chosen, on augmented training images"] = _entry(**style)
        axes.set(title=name, ylabel=figures.metric_label(metric))
        figures.scale_metric([axes], metric)
        figures.tick_epochs(axes, max(len(trial.history) for trial in shown))
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=5)
    return figure


def _plot_epochs(axes: Axes, trial: Trial, metric: str, **style: Any) -> None:
    x = [epoch.epoch for epoch in trial.history]
    y = [epoch.metrics()[metric] for epoch in trial.history]
    axes.plot(x, y, linewidth=1, ms=4, **style)


def _entry(**style: Any) -> Line2D:
    """A line for a legend."""
    return Line2D([], [], linewidth=1, ms=4, **style)


def _finalists(tune: Tune, complete: Sequence[Finalist], chosen: Finalist) -> Figure:
    """The value of each finalist as a trial and at full length, the best trial on top."""
    metric = tune.objective.metric
    size = tune.validation_size if metric == "validation_accuracy" else None
    figure = figures.figure(height=1.4 + 0.35 * len(complete))
    axes = figure.subplots()

    def plot(value: float, y: float, **style: Any) -> None:
        error = _standard_error(value, size) if size else None
        axes.errorbar(value, y, xerr=error, capsize=3, **style)

    as_trial = {"color": GREY, "marker": "o", "markerfacecolor": "none"}
    entries = {f"as a trial, {tune.epochs} epochs": _entry(**as_trial)}
    for row, finalist in enumerate(complete):
        style = _STYLES[kind := _kind(finalist.trial, chosen)]
        values = [training.history[-1].metrics()[metric] for training in finalist.trainings]
        plot(finalist.trial.value or 0.0, row + 0.12, **as_trial)
        plot(finalist.mean(metric), row - 0.12, **style)
        entries["at full length" if kind == "complete" else "chosen"] = _entry(**style)
        if len(values) > 1:
            axes.plot(values, [row - 0.12] * len(values), "|", color=style["color"], ms=12)
            entries["each seed"] = _entry(color=BLUE, marker="|", linestyle="")
    figure.legend(entries.values(), entries, loc="outside upper center", ncols=4)
    error = f" ± standard error ({size:,} images)" if size else ""
    unit = "" if metric.endswith("accuracy") else " (nats)"
    axes.set(xlabel=f"{tune.objective.label}{unit}{error}", ylim=(len(complete) - 0.5, -0.5))
    axes.set_yticks(range(len(complete)), [f"trial {each.trial.number}" for each in complete])
    if metric.endswith("accuracy"):
        figures.format_percent(axes.xaxis)
    return figure


def _standard_error(accuracy: float, n: int) -> list[list[float]]:
    """The lengths below and above of Wilson's interval of one standard error, which is in [0, 1].

    That of a perfect accuracy is not 0, unlike the usual standard error.
    """
    middle = (accuracy + 0.5 / n) / (1 + 1 / n)
    half = sqrt(max(accuracy * (1 - accuracy) / n, 0) + 0.25 / n**2) / (1 + 1 / n)
    return [[max(accuracy - middle + half, 0)], [max(middle + half - accuracy, 0)]]


def page(study: optuna.Study, target: str) -> str:
    """An HTML page of Optuna's interactive plots, with a timeline of the trials.

    It contains its scripts, 5 MB, and needs no network.

    Args:
        study: from `study.study_of`.
        target: what its value is called.
    """
    # The hyperparameters that every trial has; others would hide the trials without them.
    names = [name for name in study.trials[0].params if all(name in t.params for t in study.trials)]
    with _without_warnings():
        plots = [
            interactive.plot_optimization_history(study, target_name=target),
            interactive.plot_intermediate_values(study).update_layout(
                xaxis_title="epoch", yaxis_title=target
            ),
            interactive.plot_param_importances(study, params=names, target_name=target),
            interactive.plot_parallel_coordinate(study, params=names, target_name=target),
            interactive.plot_slice(study, target_name=target),
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
