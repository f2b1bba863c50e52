"""Pictures of a study show all of it, whatever its size, and come out the same each time."""

from mnist_cnn import files, search, study_plots
from mnist_cnn.params import Tune

import pytest
from test_search import broken_at_high_rates, run, settings

PRINTED = {
    "optimization_history",
    "intermediate_values",
    "param_importances",
    "parallel_coordinate",
    "slice",
    "contour",
}


def study(tune: Tune, **changes):
    return search.in_memory(run(tune, **changes), tune.search_space)


@pytest.fixture(scope="module")
def twelve():
    return study(settings())


def names(axes_):
    return {axes.get_xlabel() for axes in axes_} - {""}


@pytest.mark.filterwarnings("error::UserWarning")
@pytest.mark.parametrize("trials", [1, 2, 12])
def test_every_picture_of_a_study_is_drawn(trials):
    drawn = study(settings(trials=trials))

    assert set(study_plots.figures(drawn)) == PRINTED
    assert study_plots.page(drawn)


def test_a_study_of_one_hyperparameter_is_drawn():
    space = {"rotation": {"type": "float", "low": 0.0, "high": 30.0}}

    figures = study_plots.figures(study(settings(search_space=space)))

    assert names(figures["slice"].axes) == {"rotation"}


def test_a_study_with_failed_trials_is_drawn():
    assert study_plots.figures(study(settings(), objective=broken_at_high_rates))


def test_figures_say_what_they_show(twelve):
    figures = study_plots.figures(twelve)

    assert figures["intermediate_values"].axes[0].get_xlabel() == "epoch"
    for name in ("optimization_history", "intermediate_values", "slice"):
        assert figures[name].axes[0].get_ylabel() == "validation accuracy"
    searched = {"learning_rate", "batch_size", "rotation"}
    assert names(figures["slice"].axes) == names(figures["contour"].axes) == searched


def test_the_same_study_gives_the_same_files(twelve, tmp_path):
    for again in ("first", "second"):
        for name, figure in study_plots.figures(twelve).items():
            files.write_png(tmp_path / again / name, figure)

    for name in PRINTED:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()
