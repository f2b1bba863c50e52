"""Versions are registered once each, and a paired test chooses the champion, in a real store."""

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

from mnist_cnn import files, stores
from mnist_cnn.errors import UserError
from mnist_cnn.tracking import registry
from mnist_cnn.tracking.resume import resume_run

import mlflow
import pytest
import torch
from described import DESCRIPTIONS
from small_networks import deep_cnn

MODEL = Path("models/best_model.pth")
VALIDATION = Path("reports/tune/validation_predictions.csv")
NETWORK = deep_cnn([2], []).eval()
IMAGES = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)


def register(
    validation="",
    accuracy=0.9,
    *,
    weights=None,
    dataset="MNIST",
    network=NETWORK,
    images="v",
    size=10,
):
    """Register the model of a new run.

    `validation` has an x for each of `size` validation images that the finalist gets wrong. Models
    with equal `weights` are identical; without `weights`, all differ.
    """
    MODEL.parent.mkdir(exist_ok=True)
    MODEL.write_text(weights or uuid4().hex)
    rows = [
        {"image": f"{images}{n}", "label": 0, "seed_0": int(mark == "x")}
        for n, mark in enumerate(validation.ljust(size, "."))
    ]
    files.write_csv(VALIDATION, rows)
    result = registry.Result(accuracy, round(100 * (1 - accuracy)), 100)
    with resume_run("train", f"train-{uuid4().hex}", {}) as run:
        run.log_outputs(MODEL)
        candidate = registry.Candidate(
            *(DESCRIPTIONS[dataset], network, MODEL, IMAGES, VALIDATION, result),
            facts={"seed": 1},
            note="a note",
        )
        return registry.register(run, candidate, confidence=0.95)


def aliases(store, model="mnist-cnn"):
    found = store.get_registered_model(model).aliases
    return {alias: int(version) for alias, version in found.items()}


def test_a_version_replaces_the_champion_only_if_the_paired_test_shows_that_it_is_better(store):
    assert str(register("xxxxx")) == "mnist-cnn version 1 (90.00% on 100 test images), champion"
    # Four better ones could be chance; and a better test result does not help.
    assert str(register("x", accuracy=1.0)) == (
        "mnist-cnn version 2 (100.00% on 100 test images), challenger of version 1: "
        "better on 4 validation images, worse on 0, p = 0.062"
    )
    assert aliases(store) == {"champion": 1, "challenger": 2}
    assert str(register("", accuracy=0.5, weights="a")) == (
        "mnist-cnn version 3 (50.00% on 100 test images), champion, replaces version 1: "
        "better on 5 validation images, worse on 0, p = 0.031"
    )
    assert aliases(store) == {"champion": 3, "challenger": 2}
    assert register("xxxxxxx").place.startswith("challenger of version 3: better on 0")
    assert aliases(store) == {"champion": 3, "challenger": 4}
    assert register("", weights="a").place == "champion"


def test_a_version_has_the_results_of_its_last_evaluation(store):
    register("x", 0.95, weights="a")
    registered = register("x", 0.9, weights="a")
    assert (registered.version, registered.result.accuracy) == (1, 0.9)
    champion = store.get_model_version_by_alias("mnist-cnn", "champion")
    assert champion.description == "a note"
    assert champion.tags == {
        "test_accuracy": "0.9",
        "test_mistakes": "10",
        "test_examples": "100",
        "validation_accuracy": "0.9",
        "run": store.get_run(champion.run_id).info.run_name,
        "seed": "1",
    }


def test_other_validation_images_decide_by_fishers_test(store):
    register("xxx")
    # 10 of 10 against 7 of 10 could be chance.
    assert register("", images="w").place == (
        "challenger of version 1: 100.00% of 10 validation images against 70.00% of 10, p = 0.11"
    )
    assert register("", images="w" * 2, size=30).place.startswith("champion, replaces version 1: ")
    assert aliases(store) == {"champion": 3, "challenger": 2}


@pytest.mark.parametrize("lost", ["artifact", "run"])
def test_a_champion_without_validation_predictions_is_not_replaced(store, lost):
    register("xxxxx")
    run_id = store.get_model_version("mnist-cnn", "1").run_id
    if lost == "artifact":
        shutil.rmtree(next(Path("mlruns").glob(f"**/{run_id}/artifacts/tune")))
    else:
        store.delete_run(run_id)
        command = [sys.executable, "-m", "mlflow", "gc", "--run-ids", run_id]
        subprocess.run(command, check=True, capture_output=True)
    reason, command = register("").place.split(" To make it champion: ")
    assert reason == "challenger of version 1, which has no validation predictions: not compared."
    program, *arguments = shlex.split(command)
    assert program == "python"
    subprocess.run([sys.executable, *arguments], check=True)
    assert aliases(store) == {"champion": 2, "challenger": 2}


def test_a_challenger_that_becomes_champion_is_no_challenger_any_more(store):
    register("xxxxx")
    register("xxxxx", weights="a")
    assert aliases(store) == {"champion": 1, "challenger": 2}
    register("", weights="a")
    assert aliases(store) == {"champion": 2}
    # Its predictions are those of its last registration, although another run made these.
    assert register("").place == (
        "challenger of version 2: better on 0 validation images, worse on 0, p = 1"
    )


def test_a_version_whose_run_was_deleted_is_registered_again(store):
    register(weights="a")
    store.delete_run(store.get_model_version("mnist-cnn", "1").run_id)
    assert register(weights="a").version == 2


def test_each_data_set_has_a_model_and_a_champion(store):
    register()
    assert register("x", dataset="FashionMNIST").version == 1
    assert aliases(store) == aliases(store, "fashionmnist-cnn") == {"champion": 1}
    description = store.get_registered_model("fashionmnist-cnn").description
    assert description.startswith("Classifies the kind of fashion product in an image.")


@pytest.mark.usefixtures("store")
def test_the_registered_model_computes_what_the_network_does():
    network = deep_cnn([4], [8], batch_norm=True).eval()
    register(network=network)
    loaded = mlflow.pyfunc.load_model("models:/mnist-cnn@champion")
    images = torch.randint(0, 256, (5, 1, 28, 28), dtype=torch.uint8)
    assert loaded.predict(images.numpy()) == pytest.approx(network(images).detach().numpy(), 1e-4)
    assert loaded.predict(images[:1].numpy()).shape == (1, 10)
    assert loaded.metadata.signature.inputs.inputs[0].type.name == "uint8"


@pytest.mark.usefixtures("store")
def test_a_version_is_found_by_its_alias_or_its_number(tmp_path):
    register(weights="a")
    for name in ("mnist-cnn@champion", "mnist-cnn/1", "models:/mnist-cnn/1"):
        assert registry.find_version(name).version == 1
        assert registry.download_model(name, tmp_path).read_text() == "a"
    for name in ("mnist-cnn@nobody", "mnist-cnn/99", "other@champion", "other/1"):
        with pytest.raises(UserError, match=f"^{name}: not in the registry of sqlite:///"):
            registry.find_version(name)


@pytest.mark.parametrize(
    "name", ["mnist-cnn", "@champion", "mnist-cnn@", "mnist-cnn/", "models/best.pt", f"a/{10**20}"]
)
def test_a_name_of_another_form_is_rejected(name):
    with pytest.raises(UserError, match=f"^{name}: not a registered model, such as mnist-cnn@"):
        registry.find_version(name)


def test_a_registry_that_cannot_be_reached_is_an_error_of_one_line(monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://alice:secret@127.0.0.1:1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(
        stores.StoreError, match=r"^MLflow's store http://127\.0\.0\.1:1: "
    ) as error:
        registry.find_version("mnist-cnn@champion")
    assert str(error.value).isprintable()
    assert "secret" not in str(error.value)
