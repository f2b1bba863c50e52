"""A study of any size has every plot, the same each time."""

from mnist_cnn import files
from mnist_cnn.search import plots
from mnist_cnn.search.study import study_of

import pytest
from studies import bowl, bowl_with_failures, make_tune, run_search

FIGURES = {
    "optimization_history",
    "intermediate_values",
    "param_importances",
    "parallel_coordinate",
    "slice",
    "contour",
}
ROTATION = {"rotation": {"type": "float", "low": 0.0, "high": 30.0}}


def make_study(objective=bowl, **changes):
    tune = make_tune(**changes)
    return study_of(run_search(tune, objective), tune)


def x_labels(figure):
    return {axes.get_xlabel() for axes in figure.axes} - {""}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("trials", [1, 2, 12])
def test_a_study_of_any_size_has_every_plot(trials):
    study = make_study(trials=trials)
    page = plots.page(study, "accuracy")

    assert plots.figures(study, "accuracy").keys() == FIGURES
    assert page.count('class="plotly-graph-div"') == len(FIGURES) + 1  # and a timeline
    assert "<script src" not in page


def test_a_study_of_one_hyperparameter_is_plotted():
    figures = plots.figures(make_study(search_space=ROTATION), "accuracy")
    assert x_labels(figures["slice"]) == {"rotation"}


def test_plots_of_a_study_with_failed_trials_are_labelled_and_the_same_each_time(tmp_path):
    study = make_study(bowl_with_failures)
    for name in ("first", "second"):
        figures = plots.figures(study, "accuracy")
        for figure in FIGURES:
            files.write_png(tmp_path / name / figure, figures[figure])

    assert figures["intermediate_values"].axes[0].get_xlabel() == "epoch"
    for name in ("optimization_history", "intermediate_values", "slice"):
        assert figures[name].axes[0].get_ylabel() == "accuracy"
    names = {"learning_rate", "batch_size", "rotation"}
    assert x_labels(figures["slice"]) == x_labels(figures["contour"]) == names
    for name in FIGURES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
