"""Versions are registered once each, and the best is the champion, in a real store."""

from pathlib import Path
from uuid import uuid4

from mnist_cnn import stores
from mnist_cnn.errors import UserError
from mnist_cnn.tracking import registry
from mnist_cnn.tracking.run import resume_run

import mlflow
import pytest
import torch
from described import DESCRIPTIONS
from small_networks import deep_cnn

MODEL = Path("models/best_model.pth")
NETWORK = deep_cnn([2], []).eval()
IMAGES = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)


def register(
    accuracy=0.9, data="d1", examples=100, *, weights=None, dataset="MNIST", network=NETWORK
):
    """Register the model of a new run, with this result.

    Models with equal `weights` are identical; without `weights`, all differ.
    """
    MODEL.parent.mkdir(exist_ok=True)
    MODEL.write_text(weights or uuid4().hex)
    result = registry.Result(accuracy, round(examples * (1 - accuracy)), examples, data)
    with resume_run("train", uuid4().hex, {}) as run:
        run.log_outputs(MODEL)
        return registry.register(
            run, DESCRIPTIONS[dataset], network, MODEL, IMAGES, result, "a note"
        )


def numbers(registration):
    """Of the version and of the champion."""
    return registration.version.number, registration.champion.number


def aliases(store, model="mnist-cnn"):
    found = store.get_registered_model(model).aliases
    return {alias: int(version) for alias, version in found.items()}


def test_the_champion_is_the_most_accurate_version_on_the_same_images(store):
    assert numbers(register(0.9)) == (1, 1)
    assert numbers(register(0.8, weights="a")) == (2, 1)
    assert aliases(store) == {"champion": 1, "challenger": 2}
    assert numbers(register(0.95, weights="a")) == (2, 2)  # the same version, evaluated again
    assert aliases(store) == {"champion": 2}
    assert numbers(register(0.95)) == (3, 3)
    assert numbers(register(1.0, data="d2")) == (4, 3)  # as many images, but others
    assert aliases(store) == {"champion": 3, "challenger": 4}
    champion = store.get_model_version_by_alias("mnist-cnn", "champion")
    assert champion.description == "a note"
    assert champion.tags == {
        "test_accuracy": "0.95",
        "test_mistakes": "5",
        "test_examples": "100",
        "test_data": "d1",
    }


def test_a_result_on_more_images_counts_more_than_accuracy(store):
    first = "mnist-cnn version 1 (90.00% on 1,000 test images), champion"
    assert str(register(0.9, "d2", 1000, weights="a")) == first
    tags = store.get_model_version("mnist-cnn", "1").tags
    assert str(register(1.0, "d1", 100, weights="a")) == first
    assert store.get_model_version("mnist-cnn", "1").tags == tags
    assert str(register(1.0, "d3", 900)) == (
        "mnist-cnn version 2 (100.00% on 900 test images), challenger of "
        "version 1 (90.00% on 1,000 test images)"
    )
    assert str(register(0.8, "d4", 2000)) == (
        "mnist-cnn version 3 (80.00% on 2,000 test images), champion, replaces "
        "version 1 (90.00% on 1,000 test images)"
    )


def test_the_best_result_of_a_version_counts_even_if_a_kill_lost_its_alias(store):
    register(0.9, "d2", 500)
    register(0.8, "d3", 1000, weights="a")
    store.set_registered_model_alias("mnist-cnn", "champion", "1")
    assert numbers(register(0.8, "d4", 100, weights="a")) == (2, 2)


def test_a_champion_without_a_result_is_replaced(store):
    register(0.9)
    store.delete_model_version_tag("mnist-cnn", "1", "test_examples")
    assert numbers(register(0.8)) == (2, 2)


def test_a_version_whose_run_was_deleted_is_registered_again(store):
    register(weights="a")
    store.delete_run(store.get_model_version("mnist-cnn", "1").run_id)
    assert numbers(register(weights="a")) == (2, 2)


def test_each_data_set_has_a_model_and_a_champion(store):
    register(0.9)
    assert numbers(register(0.8, dataset="FashionMNIST")) == (1, 1)
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
