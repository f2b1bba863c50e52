"""Tables of runs with the columns that matter, which the MLflow UI offers under *Views*.

The UI keeps a view as a tag of the experiment, in JSON; MLflow has no function that makes one.
"""

import json


def _view(name: str, *, stage: str, metric: str, columns: list[str]) -> str:
    """The runs of a stage, those of the highest metric first."""
    state = {
        "searchFilter": f"tags.stage = '{stage}'",
        "orderByKey": f"metrics.`{metric}`",
        "orderByAsc": False,
        "selectedColumns": [f"metrics.`{metric}`", *columns],
    }
    return json.dumps({"name": name, "createdAt": 0, "updatedAt": 0, "state": json.dumps(state)})


VIEWS = {
    "trials": _view(
        "Trials, the best first",
        stage="trial",
        metric="validation_accuracy",
        columns=[
            "tags.`state`",
            "tags.`dataset`",
            "params.`learning_rate`",
            "params.`weight_decay`",
            "params.`batch_size`",
            "params.`dropout`",
        ],
    ),
    "models": _view(
        "Models, the best first",
        stage="train",
        metric="test_accuracy",
        columns=[
            "tags.`dataset`",
            "metrics.`test_mistakes`",
            "metrics.`test_examples`",
            "attributes.`Models`",
            "tags.`dvc.experiment`",
            "tags.`git.commit`",
        ],
    ),
}
"""By the name that a link has for it: `…&viewStateShareKey=trials`."""
