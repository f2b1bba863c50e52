"""The points at which tests inject faults, in the order in which `dvc repro` reaches them."""

KILLS = [
    "data downloaded",
    "run opened",
    "trial proposed",
    "epoch ended",
    "trial ended",
    "trial half logged",
    "trial half logged:7",  # the first finalist
    "search ended",
    "outputs logged",
    "dvc records a stage",  # the search
    "job half deleted",
    "epoch ended:2",  # of the final training
    "report written",
    "model evaluated",
    "version registered",
]
"""Where a kill would do the most harm."""

FULL_DISK = {
    "data": "data downloaded",
    "the name of a job": "job claimed",
    "a checkpoint": "epoch ended",
    "a trial in Optuna's storage": "trial ended",
    "a trial in MLflow's store": "trial half logged",
    "the report of the search": "search ended",
    "artifacts": "report written",
    "DVC's cache": "dvc records a stage",
    "the model": "model trained",
    "the report of the evaluation": "test set predicted",
    "the registry": "model evaluated",
}
"""What is written next after a point."""
