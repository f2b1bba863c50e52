"""An experiment leaves the workspace as it was and its runs in the store of the project."""

import json
import re
import time
from pathlib import Path

import pytest
from clone import ROOT, make_clone

ARTICLE = [
    line
    for line in (ROOT / "experiments/article").read_text().split("\n")
    if line and line[0] != "#"
]
SMALL = [
    "tune.trials=2",
    "tune.epochs=1",
    "tune.train_size=200",
    "train.train_size=200",
    "train.epochs=1",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone in which the experiment `article` has run, on a slice of the data."""
    clone = make_clone(tmp_path_factory.mktemp("project"))
    clone.run("dvc", "repro", "download")
    clone.before = clone.run("git", "status", "--porcelain").stdout, clone.read("params.yaml")
    changes = [word for change in ARTICLE + SMALL for word in ("--set-param", change)]
    clone.run("dvc", "exp", "run", "--temp", "--name", "article", *changes)
    return clone


@pytest.fixture(scope="module")
def runs(project):
    """The runs of `article`, by name."""
    made = project.runs()
    (study,) = [
        run.info.run_id
        for run in made
        if run.info.run_name == "tune" and run.data.tags["dvc.experiment"] == "article"
    ]
    return {
        run.info.run_name: run
        for run in made
        if run.data.tags.get("dvc.experiment") == "article"
        or run.data.tags.get("mlflow.parentRunId") == study
    }


@pytest.fixture(scope="module")
def grid(project):
    """The experiments of a grid of three that was queued, by name, as `dvc exp show` has them."""
    changes = [*SMALL[:-1], "train.epochs=1,2,3"]
    words = [word for change in changes for word in ("--set-param", change)]
    project.run("dvc", "exp", "run", "--queue", *words)
    project.run("dvc", "queue", "start")
    while re.search("Queued|Running", project.run("dvc", "queue", "status").stdout):
        time.sleep(1)
    rows = json.loads(project.run("dvc", "exp", "show", "--json").stdout)[1]["experiments"]
    return {row["name"]: row["revs"][0]["data"] for row in rows if row["name"] != "article"}


def test_the_workspace_is_as_it_was(project):
    status, params = project.before

    assert project.run("git", "status", "--porcelain").stdout == status
    assert project.read("params.yaml") == params
    assert not (project.folder / "models/best_model.pth").exists()


def test_its_runs_are_in_the_store_of_the_project_with_their_artifacts(project, runs):
    assert runs.keys() == {"tune", "train", "trial-000", "trial-001"}
    for name in ("tune", "train"):
        assert runs[name].data.tags["dvc.experiment"] == "article"
        folder = Path(runs[name].info.artifact_uri)
        assert folder.is_relative_to(project.folder / "mlruns")
        assert (folder / name).is_dir()


def test_dvc_and_mlflow_agree_on_its_result(project, runs):
    (row,) = json.loads(project.run("dvc", "exp", "show", "--json").stdout)[1]["experiments"]
    (revision,) = row["revs"]
    metrics = revision["data"]["metrics"]["reports/evaluate/metrics.json"]["data"]

    assert row["name"] == "article"
    assert metrics["accuracy"] == runs["train"].data.metrics["test_accuracy"]


def test_the_experiment_article_searches_what_the_article_did(runs):
    params = runs["trial-000"].data.params

    assert 32 <= int(params["conv1_out_channels"]) <= 128
    assert 64 <= int(params["conv2_out_channels"]) <= 256
    assert params["crop"] == "0"
    assert 128 <= int(params["fc1_out_features"]) <= 512
    assert (params["optimizer"], params["learning_rate"]) == ("adam", "0.001")
    assert (params["schedule"], params["batch_norm"]) == ("constant", "False")


def test_dvc_and_mlflow_agree_on_a_grid_that_was_queued(project, grid):
    trained = {
        run.data.tags["dvc.experiment"]: run
        for run in project.runs()
        if run.info.run_name == "train"
    }

    assert {data["params"]["params.yaml"]["data"]["train"]["epochs"] for data in grid.values()} == {
        1,
        2,
        3,
    }
    for name, data in grid.items():
        assert trained[name].info.status == "FINISHED"
        metrics = data["metrics"]["reports/evaluate/metrics.json"]["data"]
        assert trained[name].data.metrics["test_accuracy"] == metrics["accuracy"]
        assert trained[name].data.params["epochs"] == str(
            data["params"]["params.yaml"]["data"]["train"]["epochs"]
        )


def test_the_run_of_an_experiment_is_made_again(project, grid):
    name = max(grid)
    (run,) = [
        run.info.run_id
        for run in project.runs()
        if run.data.tags.get("dvc.experiment") == name and run.info.run_name == "train"
    ]
    output = project.run("python", "src/reproduce.py", run).stdout

    assert "not committed: params.yaml" in output
    assert "all 19 are the same" in output


def test_an_experiment_in_the_workspace_has_its_runs_too(project, grid):
    assert "here" not in grid
    changes = [word for change in SMALL for word in ("--set-param", change)]
    project.run("dvc", "exp", "run", "--name", "here", *changes)

    tagged = [
        run.info.run_name for run in project.runs() if run.data.tags.get("dvc.experiment") == "here"
    ]
    assert sorted(tagged) == ["train", "trial-000", "trial-001", "tune"]
