"""An experiment leaves the workspace as it is, and its runs in the store of the project."""

import json
from pathlib import Path

import pytest
from clone import ROOT, make_clone
from drawings import draw

SMALL = [
    "tune.trials=2",
    "tune.epochs=1",
    "tune.train_size=200",
    "train.train_size=200",
    "train.epochs=1",
]


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone in which the experiment `article` has run, with small parameters."""
    clone = make_clone(tmp_path_factory.mktemp("project"))
    clone.run("dvc", "repro", "download")
    clone.before = clone.run("git", "status", "--porcelain").stdout, clone.read("params.yaml")
    run_experiment(clone, "article")
    return clone


def run_experiment(clone, name):
    """Run an experiment with small parameters, as its make target does with others."""
    lines = (ROOT / "experiments" / name).read_text().splitlines()
    changes = [line for line in lines if line[0] != "#"] + SMALL
    options = [word for change in changes for word in ("--set-param", change)]
    clone.run("dvc", "exp", "run", "--temp", "--name", name, *options)


def runs_of(project, experiment):
    """The runs of an experiment, by name."""
    runs = (run for run in project.runs() if run.data.tags["dvc.experiment"] == experiment)
    return {run.info.run_name: run for run in runs}


@pytest.fixture(scope="module")
def runs(project):
    """The runs of the experiment `article`, by name."""
    return runs_of(project, "article")


def test_the_workspace_does_not_change(project):
    status, params = project.before

    assert project.run("git", "status", "--porcelain").stdout == status
    assert project.read("params.yaml") == params
    assert not (project.folder / "models/best_model.pth").exists()


def test_its_runs_and_artifacts_are_in_the_store_of_the_project(project, runs):
    assert runs.keys() == {"tune", "train", "trial-000", "trial-001"}
    for name, run in runs.items():
        assert run.data.tags["dvc.experiment"] == "article"
        if name in ("tune", "train"):
            folder = Path(run.info.artifact_uri)
            assert folder.is_relative_to(project.folder / "mlruns")
            assert (folder / name).is_dir()


def test_dvc_and_mlflow_have_the_same_metrics(project, runs):
    (row,) = json.loads(project.run("dvc", "exp", "show", "--json").stdout)[1]["experiments"]
    (revision,) = row["revs"]
    metrics = revision["data"]["metrics"]["reports/evaluate/metrics.json"]["data"]

    assert row["name"] == "article"
    assert metrics["accuracy"] == runs["train"].data.metrics["test_accuracy"]


def test_the_experiment_article_has_the_search_space_of_the_article(runs):
    params = runs["trial-000"].data.params

    assert 32 <= int(params["conv1_out_channels"]) <= 128
    assert 64 <= int(params["conv2_out_channels"]) <= 256
    assert 128 <= int(params["fc1_out_features"]) <= 512
    assert params["crop"] == "0"
    assert (params["optimizer"], params["learning_rate"]) == ("adam", "0.001")
    assert (params["schedule"], params["batch_norm"]) == ("constant", "False")


def test_the_experiment_residual_tunes_trains_and_registers_another_network(project, tmp_path):
    run_experiment(project, "residual")
    runs = runs_of(project, "residual")

    trial = runs["trial-000"].data.params
    assert int(trial["blocks"]) in (1, 2)
    assert int(trial["width"]) in (8, 12, 16)
    artifacts = Path(runs["train"].info.artifact_uri)
    assert "A residual network of" in (artifacts / "reports/model_card.md").read_text()
    version = max(
        project.mlflow.search_model_versions("name = 'mnist-cnn'"), key=lambda v: int(v.version)
    )
    assert version.run_id == runs["train"].info.run_id
    draw(7).save(tmp_path / "seven.png")
    name = f"{version.name}/{version.version}"
    predicted = project.run("python", "src/predict.py", "--model", name, f"{tmp_path}/seven.png")
    assert "seven.png" in predicted.stdout
    rebuilt = project.run("python", "src/reproduce.py", runs["train"].info.run_id, "--force")
    assert "are the same" in rebuilt.stdout
