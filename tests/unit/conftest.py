"""Fixtures of the unit tests."""

from pathlib import Path

import mlflow
import pytest
from clone import empty_store


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A client of an MLflow store of the test's own, `mlflow.db` in the current folder."""
    for name in ("MLFLOW_TRACKING_URI", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    Path("mlflow.db").write_bytes(empty_store())
    yield mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_tracking_uri(None)
