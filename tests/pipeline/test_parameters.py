"""Every parameter in `params.yaml` changes the result."""

import copy
import runpy
import shutil
from concurrent.futures import ThreadPoolExecutor

from mnist_cnn import files
from mnist_cnn.learning import compute, data, training
from mnist_cnn.learning.hyperparameters import parse
from mnist_cnn.params import Params
from mnist_cnn.search.study import open_study, search
from mnist_cnn.search.summary import trials_table

import pytest
import torch
import yaml
from clone import PARAMS, empty_store
from described import FORM
from small_networks import objective

# Their keys are free, and have tests of their own.
FREE = ("hyperparameters", "search_space")


def leaves(section, prefix=""):
    """The dotted names of all parameters."""
    for key, value in section.items():
        if isinstance(value, dict) and key not in FREE:
            yield from leaves(value, f"{prefix}{key}.")
        elif key not in FREE:
            yield prefix + key


def changed(base, name, value):
    params = copy.deepcopy(base)
    *path, last = name.split(".")
    section = params
    for key in path:
        section = section[key]
    section[last] = value
    return params


STUDY = {
    "seed": 3,  # with pruned trials
    "trials": 8,
    "lag": 2,
    "epochs": 2,
    "threads": 1,
    "train_size": 100,
    "validation_size": 100,
    "objective": {"metric": "validation_accuracy", "direction": "maximize"},
    "sampler": {"name": "TPESampler", "n_startup_trials": 4},
    "pruner": {"name": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 0},
    "finalists": {"trials": 1, "seeds": 1},
    "rejected": 0.1,
    "hyperparameters": {"conv1_out_channels": 2, "batch_size": 25, "schedule": "one_cycle"},
    "search_space": {
        "learning_rate": {"type": "float", "low": 0.001, "high": 0.1, "log": True},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5},
    },
}

TUNE = {
    "seed": 1,
    "trials": 9,
    "lag": 3,
    "epochs": 3,
    "train_size": 120,
    "validation_size": 120,
    "objective.metric": "train_accuracy",
    "sampler.name": {"name": "RandomSampler"},
    "sampler.n_startup_trials": {"name": "TPESampler", "n_startup_trials": 0},
    "pruner.name": {"name": "NopPruner"},
    "pruner.n_startup_trials": {"name": "MedianPruner", "n_startup_trials": 8},
    "pruner.n_warmup_steps": {"name": "MedianPruner", "n_startup_trials": 2, "n_warmup_steps": 2},
}
TRAIN = {"ensemble": 2, "seed": 1, "epochs": 3, "train_size": 900}
EVALUATE = {"test_size": 400, "confidence": 0.9, "calibration_bins": 7, "worst_mistakes": 3}
EVALUATE |= {"corrupted_size": 60}

# Their effect is tested elsewhere: in test_sources.py, test_datasets.py, test_arithmetic.py,
# test_gpu.py, test_networks.py, test_summary.py, test_finalists.py, and below for the threads.
ELSEWHERE = {"compute.arithmetic", "compute.device", "compute.precision"}
ELSEWHERE |= {"model.network", "tune.objective.direction"}
ELSEWHERE |= {"tune.finalists.trials", "tune.finalists.seeds", "tune.rejected"}
ELSEWHERE |= {"download.dataset", "download.sources", "download.timeout"}
ELSEWHERE |= {f"{stage}.threads" for stage in ("tune", "train", "evaluate")}


def test_every_parameter_has_a_test():
    shown = {f"tune.{name}" for name in TUNE} | ELSEWHERE
    shown |= {f"train.{name}" for name in TRAIN} | {f"evaluate.{name}" for name in EVALUATE}

    assert set(leaves(PARAMS)) == shown


def study(settings, real_train):
    """The table of a search."""
    tune = Params.model_validate(PARAMS | {"tune": settings}).tune
    train, validation = data.subset(real_train, (tune.train_size, tune.validation_size), tune.seed)
    trained = objective(tune, train, validation)
    with ThreadPoolExecutor(1) as executor:
        recorded = open_study("0", "sqlite://", tune.objective.direction)
        trials = search(tune, trained, recorded, executor)
        return trials_table(list(trials))


@pytest.fixture(scope="module")
def usual_study(real_train):
    return study(STUDY, real_train)


@pytest.mark.parametrize("name", TUNE)
def test_a_parameter_of_tune_changes_the_study(name, usual_study, real_train):
    # The arguments of a sampler or pruner depend on its name.
    section = name.partition(".")[0] if isinstance(TUNE[name], dict) else name
    assert study(changed(STUDY, section, TUNE[name]), real_train) != usual_study


@pytest.mark.parametrize(
    ("name", "range_"),
    [
        ("learning_rate", {"type": "float", "low": 0.001, "high": 0.2, "log": True}),
        ("learning_rate", {"type": "float", "low": 0.001, "high": 0.1, "log": False}),
        ("dropout", {"type": "float", "low": 0.0, "high": 0.5, "step": 0.25}),
        ("dropout", {"type": "categorical", "choices": [0.0, 0.5]}),
        ("conv2_out_channels", {"type": "int", "low": 1, "high": 3}),
        ("n_fc_layers", {"type": "int", "low": 0, "high": 0}),
    ],
    ids=["high", "log", "step", "choices", "one more layer", "no layers"],
)
def test_the_search_space_changes_the_study(name, range_, usual_study, real_train):
    assert study(changed(STUDY, f"search_space.{name}", range_), real_train) != usual_study


NETWORK = {
    "conv1_out_channels": 3,
    "conv2_out_channels": 4,
    "fc1_out_features": 5,
    "fc2_out_features": 6,
    "optimizer": "adamw",
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "dropout": 0.1,
    "batch_size": 25,
}


def weights(flat, real_train):
    hyperparameters = parse(flat, "deep_cnn")
    (examples,) = data.subset(real_train, (100,), 0)
    compute.configure(1)
    network = training.build(hyperparameters, FORM, 0)
    list(training.fit(network, hyperparameters, examples, epochs=2, seed=0))
    return network.config, torch.cat([p.flatten() for p in network.parameters()]).tolist()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("conv1_out_channels", 4),
        ("conv2_out_channels", 5),
        ("fc1_out_features", 6),
        ("n_conv_layers", 1),
        ("n_fc_layers", 1),
        ("batch_norm", True),
        ("dropout", 0.2),
        ("crop", 2),
        ("label_smoothing", 0.1),
        ("decay_biases_and_norms", False),
        ("optimizer", "adam"),
        ("optimizer", "sgd"),
        ("learning_rate", 0.02),
        ("weight_decay", 0.2),
        ("schedule", "cosine"),
        ("schedule", "one_cycle"),
        ("augmentation", "none"),
        ("augmentation", "photometric"),
        ("batch_size", 20),
        ("rotation", 20.0),
        ("translation", 0.2),
        ("interpolation", "bilinear"),
        ("cutout", 8),
    ],
)
def test_a_hyperparameter_changes_the_network(name, value, real_train):
    assert weights(NETWORK | {name: value}, real_train) != weights(NETWORK, real_train)


@pytest.fixture
def workspace(clone, tmp_path, monkeypatch):
    """A copy of the clone in which to run scripts, in this process."""
    ignored = shutil.ignore_patterns(".dvc", ".git", "mlflow.db*", "mlruns")
    shutil.copytree(clone.folder, tmp_path, dirs_exist_ok=True, ignore=ignored)
    (tmp_path / "mlflow.db").write_bytes(empty_store())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr("sys.argv", ["a stage"])
    return tmp_path


def rerun(workspace, stage, name, value):
    path = workspace / "params.yaml"
    path.write_text(yaml.safe_dump(changed(yaml.safe_load(path.read_text()), name, value)))
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(workspace / f"src/{stage}.py"), run_name="__main__")


@pytest.mark.parametrize("name", TRAIN)
def test_a_parameter_of_train_changes_the_model(name, workspace):
    before = files.md5(workspace / "models/best_model.pth")
    rerun(workspace, "train", f"train.{name}", TRAIN[name])

    assert files.md5(workspace / "models/best_model.pth") != before


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("test_size", "metrics.json"),
        ("confidence", "tables/per_class.csv"),
        ("calibration_bins", "tables/reliability.csv"),
        ("worst_mistakes", "plots/mistakes.png"),
        ("corrupted_size", "tables/corruptions.csv"),
    ],
)
def test_a_parameter_of_evaluate_changes_the_report(name, file, workspace):
    before = files.md5(workspace / "reports/evaluate" / file)
    rerun(workspace, "evaluate", f"evaluate.{name}", EVALUATE[name])

    assert files.md5(workspace / "reports/evaluate" / file) != before


def test_the_number_of_threads_is_used(workspace, real_train):
    tune = Params.model_validate(PARAMS | {"tune": STUDY | {"threads": 2}}).tune
    train, validation = data.subset(real_train, (100, 100), 0)
    trained = objective(tune, train, validation)
    next(trained({"learning_rate": 0.1, "dropout": 0.0}, 0, 2, None))
    assert torch.get_num_threads() == 2

    rerun(workspace, "train", "train.threads", 1)
    assert torch.get_num_threads() == 1
    rerun(workspace, "evaluate", "evaluate.threads", 2)
    assert torch.get_num_threads() == 2
