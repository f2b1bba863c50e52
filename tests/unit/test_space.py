"""A trial has the hyperparameters whose conditions are met, and no others."""

from mnist_cnn.search import plots, space, study
from mnist_cnn.search.summary import trials_table

import pytest
from optuna.trial import FixedTrial
from studies import bowl, make_tune, run_search

RANGES = {
    "a_width": {"type": "int", "low": 8, "high": 9, "only_if": {"layers": [2, 3]}},
    "b_width": {"type": "int", "low": 8, "high": 9, "only_if": {"layers": 3}},
    "gain": {"type": "float", "low": 0.5, "high": 1.5, "step": 0.5, "only_if": {"b_width": 9}},
    "layers": {"type": "int", "low": 1, "high": 3},
    "momentum": {"type": "categorical", "choices": [0.5, 0.9], "only_if": {"optimizer": "sgd"}},
    "rotation": {"type": "float", "low": 0.0, "high": 30.0, "step": 5.0},
}
BASE = {"layers": 1, "rotation": 10.0}


def make(**changes):
    return make_tune(search_space=RANGES, trials=24, hyperparameters={"optimizer": "sgd"} | changes)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"layers": 1}, {"layers"}),
        ({"layers": 2, "a_width": 8}, {"layers", "a_width"}),
        ({"layers": 3, "a_width": 8, "b_width": 8}, {"layers", "a_width", "b_width"}),
        (
            {"layers": 3, "a_width": 8, "b_width": 9, "gain": 1.0},
            {"layers", "a_width", "b_width", "gain"},
        ),
    ],
)
def test_conditions_depend_on_other_tuned_hyperparameters(values, expected):
    trial = FixedTrial({"rotation": 10.0, "momentum": 0.5, "gain": 1.0, "b_width": 9} | values)
    found = space.suggest(trial, make().search_space, {"optimizer": "sgd"})
    assert found.keys() == expected | {"rotation", "momentum"}


def test_conditions_depend_on_fixed_hyperparameters():
    tuned = space.suggest(FixedTrial(BASE), make().search_space, {"optimizer": "adam"})
    assert tuned == BASE


def test_the_order_in_the_file_has_no_effect():
    forwards = run_search(make())
    backwards = make().model_copy(
        update={"search_space": dict(reversed(make().search_space.items()))}
    )
    assert trials_table(run_search(backwards)) == trials_table(forwards)


def test_every_end_of_every_range_is_reached():
    corners = dict(space.corners(make().search_space, {"optimizer": "sgd"}))
    assert corners["search_space.gain at 0.5"] == {
        "layers": 3,
        "a_width": 8,
        "b_width": 9,
        "gain": 0.5,
        "momentum": 0.5,
        "rotation": 0.0,
    }
    for name, range_ in make().search_space.items():
        for value in space.extremes(range_):
            assert corners[f"search_space.{name} at {value}"][name] == value


def test_trials_tables_and_plots_have_only_what_counts():
    tune = make()
    trials = run_search(tune, bowl)

    for trial in trials:
        tuned = trial.hyperparameters
        assert ("a_width" in tuned) == (tuned["layers"] >= 2)
        assert ("b_width" in tuned) == (tuned["layers"] == 3)
        assert ("gain" in tuned) == (tuned.get("b_width") == 9)
    assert {trial.hyperparameters["layers"] for trial in trials} == {1, 2, 3}
    plotted = study.study_of(trials, tune)
    for trial, stored in zip(trials, plotted.trials, strict=True):
        assert stored.params == trial.hyperparameters
    importances = plots.figures(plotted, "accuracy")["param_importances"].axes[0]
    named = {label.get_text() for label in importances.get_yticklabels()}
    assert named == {"layers", "momentum", "rotation"}
