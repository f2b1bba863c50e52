"""Eight clones at once, each with the whole pipeline, against one server."""

from collections import Counter

import pytest
from clone import RUNS, logged_once, make_clone, name_of, runs_of, same_results
from mlflow import MlflowClient
from postgres import serve_postgres
from server import free_port, serve

CLONES = 8


@pytest.fixture
def stores(tmp_path):
    """The variables of clones that share a server of MLflow and a database for Optuna."""
    with serve_postgres() as postgres:
        port = free_port()
        folder = tmp_path / "server"
        folder.mkdir()
        places = ["--backend-store-uri", postgres.create("mlflow")]
        places += ["--artifacts-destination", str(folder / "artifacts")]
        with serve(folder, ["mlflow", "server", "--port", str(port), *places], port) as address:
            yield {
                "MLFLOW_TRACKING_URI": address,
                "OPTUNA_STORAGE": postgres.create("optuna"),
                "TUNE_WORKERS": "1",
            }


def test_clones_at_once_have_their_own_runs_and_share_one_champion(clone, stores, tmp_path):
    clones = [make_clone(tmp_path / str(number)) for number in range(CLONES)]
    processes = [each.start("dvc", "repro", **stores) for each in clones]
    outputs = [process.communicate()[0] for process in processes]
    assert {process.returncode for process in processes} == {0}, "\n".join(outputs)

    for each in clones:
        same_results(each, clone)
    client = MlflowClient(stores["MLFLOW_TRACKING_URI"])
    runs = runs_of(client)
    names = Counter(name_of(run) for run in runs)
    assert names == dict.fromkeys(RUNS, CLONES)
    logged_once(client, runs)
    versions = client.search_model_versions("name = 'mnist-cnn'")
    champion = client.get_model_version_by_alias("mnist-cnn", "champion")
    assert champion.version in {version.version for version in versions}
    assert client.get_run(champion.run_id).data.metrics["test_accuracy"]
