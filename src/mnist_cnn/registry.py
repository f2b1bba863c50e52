"""MLflow's model registry: versions of the network, the best of which is the `champion`."""

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import mlflow
import mlflow.pytorch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.logging_utils import disable_logging, enable_logging
from torch import Tensor, nn

from mnist_cnn import tracking
from mnist_cnn.datasets import INFO, DatasetInfo
from mnist_cnn.errors import UserError

MODEL = INFO["MNIST"].model  # where a person names none

_DESCRIPTION = (
    "Says which {shown} an image shows. `champion` is the version with the best test: "
    "on the most images, then of the highest accuracy, the latest of equals; `challenger` is the "
    "latest that did not become it."
)

CHAMPION, CHALLENGER = "champion", "challenger"


class Tested(NamedTuple):
    """What a network showed on the test images."""

    accuracy: float
    mistakes: int
    examples: int
    """How many images."""
    data: str
    """Their digest."""


class Registered(NamedTuple):
    """A version of a registered model, and the one that is the champion, which may be the same."""

    model: str
    version: int
    champion: int


@tracking.asking()
def register(
    dataset: DatasetInfo, network: nn.Module, example: Tensor, tested: Tested, note: str
) -> Registered:
    """Register the network of the active run, once, and move an alias to it.

    The version is tagged with its test on the most images. It becomes `champion` when there is
    none, or when it was tested on more images than the present one, or on the same and is at least
    as accurate; else `challenger`.

    Args:
        dataset: which the network knows.
        network: takes pixel values `(n, 1, height, width)`, gives logits `(n, classes)`.
        example: such pixels, `uint8`, of two images or more.
        tested: its test.
        note: in Markdown, stands above the version in the UI.

    Raises `UserError` when the run has registered a network of another data set.
    """
    client, model = MlflowClient(), dataset.model
    number = _version_of_active_run(client, model) or _add_version(model, network, example)
    known = client.get_model_version(model, str(number))
    if tested.examples >= int(known.tags.get("test_examples", 0)):
        for name, value in tested._asdict().items():
            client.set_model_version_tag(model, str(number), f"test_{name}", str(value))
        client.update_model_version(model, str(number), note)
    if not client.get_registered_model(model).description:  # or a person has written one
        client.update_registered_model(model, _DESCRIPTION.format(shown=dataset.shown))

    champion = _champion(client, model)
    if champion is None or int(champion.version) == number or _beats(tested, champion.tags):
        if CHALLENGER in known.aliases:
            client.delete_registered_model_alias(model, CHALLENGER)
        client.set_registered_model_alias(model, CHAMPION, str(number))
        return Registered(model, number, champion=number)
    client.set_registered_model_alias(model, CHALLENGER, str(number))
    return Registered(model, number, champion=int(champion.version))


@tracking.asking()
def find_version(name: str) -> ModelVersion:
    """A version of a registered model.

    Args:
        name: a model with an alias, `mnist-cnn@champion`, or with a version, `mnist-cnn/3`;
            after `models:/` or not.

    Raises `UserError` for a name of neither form; `stores.StoreError` when the store has no such
    model, or does not answer.
    """
    plain = name.removeprefix("models:/")
    model, mark, which = plain.partition("@") if "@" in plain else plain.rpartition("/")
    if not (model and which and (mark == "@" or which.isdecimal())):
        raise UserError(f"{name}: not a registered model, such as {MODEL}@champion or {MODEL}/3")
    client = tracking.reader()
    if mark == "@":
        return client.get_model_version_by_alias(model, which)
    return client.get_model_version(model, which)


@tracking.asking()
def download_model(name: str, folder: Path) -> Path:
    """Get the `.pth` of a registered model into a folder; return its path.

    It is the file that the run of the version logged, as `mnist_cnn.model` reads it.

    Args:
        name: as `find_version` takes it.
        folder: must exist.

    Raises what `find_version` does.
    """
    found = find_version(name)
    return Path(
        tracking.reader().download_artifacts(found.run_id, "models/best_model.pth", str(folder))
    )


def _add_version(model: str, network: nn.Module, example: Tensor) -> int:
    """Log a network to the active run, without pickle, with signature and example; register it."""
    active = mlflow.active_run().info
    client = MlflowClient()
    for cut_short in client.search_logged_models(
        [active.experiment_id], f"source_run_id = '{active.run_id}'"
    ):
        client.delete_logged_model(cut_short.model_id)
    images, logits = example.numpy(), network(example).detach().numpy()
    signature = ModelSignature(
        *(Schema([TensorSpec(a.dtype, (-1, *a.shape[1:]))]) for a in (images, logits))
    )
    with warnings.catch_warnings():
        # Of weights that share memory, which these do not.
        warnings.filterwarnings("ignore", "No complete tensor found")
        logged = mlflow.pytorch.log_model(
            network,
            name="model",
            signature=signature,
            input_example=images,
            serialization_format="pt2",
            pip_requirements=[f"{name}=={version(name)}" for name in ("mlflow", "torch", "numpy")],
        )
    disable_logging()  # it would print what `evaluate` says
    try:
        return int(mlflow.register_model(logged.model_uri, model).version)
    finally:
        enable_logging()


def _version_of_active_run(client: MlflowClient, model: str) -> int | None:
    active = mlflow.active_run()
    versions = client.search_model_versions(f"run_id = '{active.info.run_id}'")
    if not versions:
        return None
    if versions[0].name != model:
        raise UserError(
            f"this network is {versions[0].name}; `dvc repro` trains one that is {model}"
        )
    return int(versions[0].version)


def _beats(tested: Tested, champion: Mapping[str, str]) -> bool:
    if tested.data == champion.get("test_data"):
        return tested.accuracy >= float(champion["test_accuracy"])
    # One that does not tell on how many images it was tested keeps its place.
    return tested.examples > int(champion.get("test_examples", tested.examples))


def _champion(client: MlflowClient, model: str) -> ModelVersion | None:
    registered = client.search_registered_models(f"name = '{model}'")
    if not registered or CHAMPION not in registered[0].aliases:
        return None
    return client.get_model_version_by_alias(model, CHAMPION)
