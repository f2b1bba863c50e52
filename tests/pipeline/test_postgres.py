"""MLflow and Optuna with a PostgreSQL server, which several clones use at once."""

import json
import shutil
import sys
from subprocess import PIPE, Popen

from mnist_cnn.search.study import from_frozen_trial

import boto3
import optuna
import pytest
from clone import ROOT, RUNS, Clone, make_clone, name_of, read_until, runs_of, same_results
from drawings import draw
from mlflow import MlflowClient
from postgres import serve_postgres
from server import free_port, serve


@pytest.fixture(scope="module")
def postgres():
    with serve_postgres() as server:
        yield server


@pytest.fixture(scope="module")
def stores(postgres, tmp_path_factory):
    """The variables of clones that share two databases and a folder of artifacts."""
    return {
        "MLFLOW_TRACKING_URI": postgres.create("mlflow"),
        "OPTUNA_STORAGE": postgres.create("optuna"),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(tmp_path_factory.mktemp("artifacts")),
    }


OPEN_RUN = """
import sys
from mnist_cnn.tracking.resume import resume_run
with resume_run("train", sys.argv[1], {}) as run:
    print(run.id)
"""


def test_clones_can_open_a_new_database_at_once(postgres, tmp_path):
    variables = {
        "MLFLOW_TRACKING_URI": postgres.create("new"),
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": str(tmp_path),
    }
    environment = Clone(ROOT).environment | variables | {"PYTHONPATH": str(ROOT / "src")}
    processes = [
        Popen([sys.executable, "-c", OPEN_RUN, job], env=environment, stdout=PIPE, text=True)
        for job in "1234"
    ]
    assert len({process.communicate()[0] for process in processes}) == 4
    assert {process.returncode for process in processes} == {0}


def test_a_search_continues_after_the_server_was_restarted(clone, postgres, stores, tmp_path):
    """A restart ends connections. Nothing is lost, and nothing is there twice."""
    project = make_clone(tmp_path / "project")
    project.environment |= stores
    with project.start("dvc", "repro") as running:
        read_until(running, "trial   1: complete")
        postgres.control("restart", "-m", "immediate")
        running.communicate()
    if running.returncode:  # the search was writing at that moment
        project.run("dvc", "repro")

    same_results(project, clone)
    client = MlflowClient(stores["MLFLOW_TRACKING_URI"])
    assert sorted(name_of(run) for run in runs_of(client)) == RUNS
    (study,) = optuna.get_all_study_summaries(stores["OPTUNA_STORAGE"])
    stored = optuna.load_study(study_name=study.study_name, storage=stores["OPTUNA_STORAGE"])
    assert [from_frozen_trial(trial).number for trial in stored.trials] == list(range(6))

    # Its champion is in reach of every clone, also when the first one is gone.
    other = make_clone(tmp_path / "other")
    other.environment |= stores
    shutil.rmtree(project.folder)
    draw("7").save(tmp_path / "digit.png")
    options = ("--model", "mnist-cnn@champion", "--json")
    done = other.run("python", "src/predict.py", *options, str(tmp_path / "digit.png"))
    assert json.loads(done.stdout)["label"] in range(10)


def test_a_server_of_mlflow_can_have_its_artifacts_in_s3(postgres, s3, tmp_path):
    port = free_port()
    command = [
        *("mlflow", "server", "--port", str(port)),
        *("--backend-store-uri", postgres.create("server")),
        *("--artifacts-destination", "s3://results/mlflow"),
    ]
    with serve(tmp_path, command, port, **s3) as address:
        client = MlflowClient(address)
        variables = {"MLFLOW_TRACKING_URI": address, "PYTHONPATH": str(ROOT / "src")}
        run = Clone(tmp_path).run(sys.executable, "-c", OPEN_RUN, "job", **variables).stdout.strip()
        client.log_text(run, "hello", "note.txt")
        assert [file.path for file in client.list_artifacts(run)] == ["note.txt"]
    bucket = boto3.client(
        "s3",
        endpoint_url=s3["AWS_ENDPOINT_URL"],
        region_name="us-east-1",
        aws_access_key_id=s3["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=s3["AWS_SECRET_ACCESS_KEY"],
    )
    stored = [each["Key"] for each in bucket.list_objects(Bucket="results")["Contents"]]
    assert [key for key in stored if key.endswith(f"{run}/artifacts/note.txt")]
