"""Where state lives that must outlive a stage: MLflow's store, Optuna's, and checkpoints.

All of it is in the root of the project, where the tools look for it by themselves. DVC runs an
experiment in a copy of the project and removes the copy; `DVC_ROOT` then names the original, so
that what an experiment did stands beside everything else.
"""

import os
from pathlib import Path


def root() -> Path:
    """The root of the project, an absolute path."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def tracking_uri() -> str:
    """The address of MLflow's store: `MLFLOW_TRACKING_URI`, or `mlflow.db` in the root."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root()}/mlflow.db"


def artifact_location() -> str | None:
    """The folder of artifacts of MLflow's store: `mlruns` in the root, or as its server says."""
    return None if tracking_uri().startswith("http") else str(root() / "mlruns")


def study_storage() -> str:
    """The address of Optuna's storage: `OPTUNA_STORAGE`, or `optuna.db` in the root."""
    return os.environ.get("OPTUNA_STORAGE") or f"sqlite:///{root()}/optuna.db"


def checkpoints() -> Path:
    """The folder of the state of unfinished work."""
    return root() / "models/checkpoints"
