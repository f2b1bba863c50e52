"""An experiment leaves the workspace as it is, and its runs in the store of the project."""

import json
import shutil
from pathlib import Path

from mnist_cnn import params
from mnist_cnn.learning.hyperparameters import parse

import pytest
from clone import PARAMS_FILE, ROOT, Clone, make_clone, name_of
from drawings import draw
from dvc.utils.hydra import apply_overrides
from server import MAKE

SMALL = [
    "tune.trials=2",
    "tune.epochs=1",
    "tune.train_size=200",
    "tune.validation_size=200",
    "train.train_size=200",
    "train.epochs=1",
    "evaluate.test_size=500",
]

# Sections of `params.yaml` for other data.
ADAPTED = {
    "download": {"dataset": "FashionMNIST"},
    "model": {"network": "residual"},
    "tune": {
        "train_size": "all",
        "objective": {"metric": "validation_loss", "direction": "minimize"},
        "hyperparameters": {"augmentation": "flip_crop", "padding": 2, "blocks": 1},
        "search_space": {
            "width": {"type": "int", "low": 4, "high": 8},
            "learning_rate": {"type": "categorical", "choices": [0.01, 0.02]},
        },
    },
    "train": {"train_size": "all"},
    "evaluate": {"test_size": "all"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A clone for other data in which the experiment `article` has run, with small parameters."""
    clone = make_clone(tmp_path_factory.mktemp("project"))
    clone.set_params(ADAPTED)
    clone.run("git", "commit", "--quiet", "--all", "--message", "other data")
    clone.before = clone.run("git", "status", "--porcelain").stdout, clone.read("params.yaml")
    run_experiment(clone, "article")
    return clone


def changes(name):
    """The changes to `params.yaml` that an experiment makes."""
    lines = (ROOT / "experiments" / name).read_text().splitlines()
    return [line for line in lines if line[0] != "#"]


def run_experiment(clone, name):
    """Run an experiment with small parameters, as its make target does with others."""
    options = [word for change in changes(name) + SMALL for word in ("--set-param", change)]
    clone.run("dvc", "exp", "run", "--temp", "--name", name, *options)


def runs_of(project, experiment):
    """The runs of an experiment, by name."""
    runs = (run for run in project.runs() if run.data.tags["dvc.experiment"] == experiment)
    return {name_of(run): run for run in runs}


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
    (finalist,) = (name for name in runs if name.startswith("finalist"))
    assert runs.keys() == {"tune", "train", "trial-000", "trial-001", finalist}
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
    assert metrics["test_accuracy"] == runs["train"].data.metrics["test_accuracy"]


def test_the_commit_of_an_experiment_has_its_model(project, runs):
    revision = project.run("dvc", "exp", "list", "--sha-only").stdout.strip()
    model = Path(runs["train"].info.artifact_uri, "models/best_model.pth")
    committed = project.run("git", "rev-parse", f"{revision}:models/best_model.pth").stdout
    assert committed == project.run("git", "hash-object", str(model)).stdout


def test_the_experiment_article_has_the_search_space_of_the_article(runs):
    trial = runs["trial-000"].data.params

    assert 32 <= int(trial["conv1_out_channels"]) <= 128
    assert 64 <= int(trial["conv2_out_channels"]) <= 256
    assert 128 <= int(trial["fc1_out_features"]) <= 512
    assert trial["crop"] == "0"
    assert (trial["optimizer"], trial["learning_rate"]) == ("adam", "0.001")
    assert (trial["schedule"], trial["batch_norm"]) == ("constant", "False")


def test_an_experiment_in_a_shallow_clone_is_refused_before_it_computes(tmp_path):
    """DVC would run it for an hour, and keep nothing."""
    origin = make_clone(tmp_path / "origin")
    origin.run("git", "commit", "--quiet", "--allow-empty", "--message", "another")
    shallow = Clone(tmp_path / "shallow")
    origin.run("git", "clone", "--quiet", "--depth", "1", f"file://{origin.folder}", "../shallow")
    done = shallow.run(*MAKE, "article", check=False)
    assert done.returncode != 0
    assert "shallow clone keeps no experiment; run `git fetch --unshallow`" in done.stderr
    assert "Running stage" not in done.stdout


@pytest.fixture(params=[{}, ADAPTED], ids=["MNIST", "other data"])
def changed(request, tmp_path):
    """What an experiment makes of the parameters."""
    shutil.copy2(PARAMS_FILE, tmp_path / "params.yaml")
    Clone(tmp_path).set_params(request.param)

    def changed(name):
        apply_overrides(tmp_path / "params.yaml", changes(name))
        return params.load(tmp_path / "params.yaml")

    return changed


def test_the_experiment_article_is_the_protocol_of_the_article(changed):
    article = changed("article")
    tune = article.tune

    assert (article.download.dataset, article.model.network) == ("MNIST", "deep_cnn")
    assert (tune.train_size, tune.validation_size, article.train.train_size) == (
        50000,
        10000,
        60000,
    )
    assert article.evaluate.test_size == 10000
    assert tune.trials == 10
    assert tune.epochs == article.train.epochs == 5
    assert tune.objective.metric == "validation_accuracy"
    assert tune.pruner == {"name": "NopPruner"}
    assert {name: (r.low, r.high) for name, r in tune.search_space.items()} == {
        "conv1_out_channels": (32, 128),
        "conv2_out_channels": (64, 256),
        "fc1_out_features": (128, 512),
    }
    drawn = {"conv1_out_channels": 88, "conv2_out_channels": 237, "fc1_out_features": 389}
    plain = {
        "batch_norm": False,
        "dropout": 0.0,
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "weight_decay": 0.0,
        "schedule": "constant",
        "batch_size": 64,
        "rotation": 10.0,
        "translation": 0.1,
        "interpolation": "nearest",
    }
    assert parse(tune.hyperparameters | drawn, "deep_cnn") == parse(drawn | plain, "deep_cnn")


def test_the_experiment_quick_is_small(changed):
    quick = changed("quick")

    assert quick.tune.trials * quick.tune.epochs * quick.tune.train_size <= 30_000
    assert quick.train.epochs * quick.train.train_size <= 30_000


def test_the_experiment_residual_tunes_depth_width_and_training(changed):
    residual = changed("residual")

    assert (residual.download.dataset, residual.model.network) == ("MNIST", "residual")
    assert residual.tune.search_space.keys() == {
        *("blocks", "width"),
        *("dropout", "learning_rate", "batch_size", "weight_decay"),
    }
    assert residual.tune.hyperparameters.keys() == {
        *("optimizer", "schedule", "rotation", "translation", "interpolation")
    }


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
