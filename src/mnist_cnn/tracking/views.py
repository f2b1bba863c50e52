"""Views of MLflow's table of runs, with the columns that tell trials, or models, apart.

MLflow's page lists them under *Views*. It stores a view as a tag of the experiment, in the form
that MLflow 3.17 has; earlier versions do not list it.
"""

import json
from collections.abc import Mapping, Sequence

from mnist_cnn.search.params import Tune
from mnist_cnn.tracking.experiment import NAME, store_errors
from mnist_cnn.tracking.run import metric_name

from mlflow import MlflowClient

_TAG = "mlflow.sharedViewState."


@store_errors()
def save(tune: Tune) -> None:
    """Save the views `Trials` and `Models`, unless a person has changed them on the page.

    The best run is first. Columns are its metrics and the tuned hyperparameters.
    """
    objective, tuned = tune.objective, list(tune.search_space)
    accuracy, loss = metric_name("validation_accuracy"), metric_name("validation_loss")
    metrics = list(dict.fromkeys((metric_name(objective.metric), accuracy, loss)))
    trials = {"metrics": metrics, "params": tuned, "tags": ["state"]}
    _save("Trials", "trial", trials, ascending=objective.direction == "minimize")
    models = {
        "metrics": [accuracy, "test_accuracy", "test_mistakes", "parameters"],
        "params": ["epochs", "seed", "train_size", *tuned],
    }
    _save("Models", "train", models, ascending=False)


def _save(name: str, stage: str, columns: Mapping[str, Sequence[str]], *, ascending: bool) -> None:
    """Save a view of the runs of a stage, in the order of the first metric."""
    widths = {f"{kind}.`{each}`": _width(each) for kind in columns for each in columns[kind]}
    state = {
        "searchFilter": f"tags.stage = '{stage}'",
        "orderByKey": f"metrics.`{columns['metrics'][0]}`",
        "orderByAsc": ascending,
        "selectedColumns": list(widths),
        "columnOrder": ["attributes.`Run Name`", "runDateAndNestInfo", *widths],
        "columnWidths": widths,
    }
    client = MlflowClient()
    experiment = client.get_experiment_by_name(NAME)
    key = _TAG + name.lower()
    known = experiment.tags.get(key)
    if known and (view := json.loads(known))["updatedAt"] != view["createdAt"]:
        return
    created = experiment.creation_time
    view = {"name": name, "createdAt": created, "updatedAt": created, "state": json.dumps(state)}
    client.set_experiment_tag(experiment.experiment_id, key, json.dumps(view))


def _width(title: str) -> int:
    """The pixels that a column needs for its title."""
    return 28 + 7 * len(title)
