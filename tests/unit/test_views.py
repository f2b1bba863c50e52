"""The views of MLflow's table of runs are stored in the experiment, in a real store."""

import json

from mnist_cnn.tracking import views
from mnist_cnn.tracking.experiment import NAME, open_experiment

import pytest
from studies import make_tune

TRIALS = "mlflow.sharedViewState.trials"


@pytest.fixture
def tags(store):
    """Saves the views, and returns the tags of the experiment."""

    def save(**tune):
        open_experiment()
        views.save(make_tune(**tune))
        return store.get_experiment_by_name(NAME).tags

    return save


def test_trials_are_ordered_by_the_objective_and_have_the_tuned_hyperparameters(tags):
    loss = {"metric": "validation_loss", "direction": "minimize"}
    view = json.loads(tags(objective=loss)[TRIALS])
    state = json.loads(view["state"])
    assert view["name"] == "Trials"
    assert (state["orderByKey"], state["orderByAsc"]) == ("metrics.`validation/loss`", True)
    assert state["selectedColumns"] == [
        "metrics.`validation/loss`",
        "metrics.`validation/accuracy`",
        *(f"params.`{name}`" for name in make_tune().search_space),
        "tags.`state`",
    ]


def test_a_view_follows_the_search_space_until_a_person_changes_it(tags, store):
    ranges = {"dropout": {"type": "float", "low": 0.0, "high": 0.5}}
    first, second = tags(), tags(search_space=ranges)
    assert first[TRIALS] != second[TRIALS]
    assert "params.`dropout`" in second[TRIALS]
    view = json.loads(second[TRIALS])
    changed = json.dumps(view | {"updatedAt": view["updatedAt"] + 1})
    experiment = store.get_experiment_by_name(NAME).experiment_id
    store.set_experiment_tag(experiment, TRIALS, changed)
    assert tags()[TRIALS] == changed
