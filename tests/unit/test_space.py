"""A trial has the hyperparameters whose conditions are met, and no others."""

from mnist_cnn.search import plots, space, study
from mnist_cnn.search.finalists import Finalist
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


def test_conditions_of_conditions_are_met_together():
    """In any order, and also if the first value that is allowed is not the one that works."""
    layers = RANGES["layers"]
    ranges = {
        "a": layers,
        "b": layers | {"only_if": {"a": 2}},
        "x": layers | {"only_if": {"b": 3, "a": [1, 2]}},
    }
    corners = dict(space.corners(make_tune(search_space=ranges).search_space, {}))
    assert corners["search_space.x at 1"] == {"a": 2, "b": 3, "x": 1}


@pytest.mark.parametrize(
    "parent",
    [
        {"type": "int", "low": 0, "high": 4, "step": 2},
        {"type": "float", "low": 0.0, "high": 4.0},
        {"type": "categorical", "choices": ["3", 4]},
    ],
    ids=["between steps", "continuous", "no choice"],
)
def test_a_condition_that_no_trial_meets_is_refused(parent):
    child = {"type": "int", "low": 1, "high": 2, "only_if": {"parent": 3}}
    tune = make_tune(search_space={"parent": parent, "child": child})
    with pytest.raises(ValueError, match=r"^search_space\.child: its only_if is never met$"):
        list(space.corners(tune.search_space, {}))


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
    best = Finalist(trials[0], (trials[0],))
    panels = plots.draw(tune, trials, [best], best)["slice"].axes
    with_gain = [trial for trial in trials if "gain" in trial.hyperparameters]
    (gain,) = (axes for axes in panels if axes.get_xlabel() == "gain\nif b_width is 9")
    assert sum(len(line.get_xdata()) for line in gain.get_lines()) == len(with_gain)
