"""MLflow's model registry: versions of the network, the best of which is the `champion`."""

import warnings
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import mlflow
import mlflow.pytorch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.logging_utils import disable_logging, enable_logging
from torch import Tensor, nn

from mnist_cnn import tracking
from mnist_cnn.errors import UserError

MODEL = "mnist-cnn"

_DESCRIPTION = (
    "Says which digit of MNIST an image shows. `champion` is the best version on the test images "
    "by which it was chosen, the latest of equals; `challenger` the latest that did not become it."
)

# In the order of the life of a model version.
Alias = Literal["champion", "challenger"]


@tracking.asking()
def register(
    network: nn.Module, example: Tensor, metrics: Mapping[str, float], data: str, note: str
) -> tuple[int, Alias]:
    """Register the network of the active run, once, and move an alias to it.

    The version is tagged with its test metrics and with the digest of the data that they were taken
    on. It becomes `champion` when there is none, or when it is at least as accurate as the present
    one on the same data; else `challenger`.

    Args:
        network: takes pixel values `(n, 1, height, width)`, gives logits `(n, classes)`.
        example: such pixels, `uint8`, of two images or more.
        metrics: test metrics, `accuracy` among them.
        data: the digest.
        note: in Markdown, stands above the version in the UI.

    Returns:
        The number of the version, and its alias.
    """
    client = MlflowClient()
    number = _version_of_active_run(client) or _add_version(network, example)
    tags = {f"test_{name}": repr(value) for name, value in metrics.items()} | {"test_data": data}
    for name, value in tags.items():
        client.set_model_version_tag(MODEL, str(number), name, value)
    client.update_model_version(MODEL, str(number), note)
    if not client.get_registered_model(MODEL).description:  # or a person has written one
        client.update_registered_model(MODEL, _DESCRIPTION)

    champion = _champion(client)
    alias: Alias = "challenger"
    if champion is None or int(champion.version) == number or _beats(tags, champion.tags):
        alias = "champion"
        if "challenger" in client.get_model_version(MODEL, str(number)).aliases:
            client.delete_registered_model_alias(MODEL, "challenger")
    client.set_registered_model_alias(MODEL, alias, str(number))
    return number, alias


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
        raise UserError(
            f"{name}: neither a .pth file nor a registered model, {MODEL}@champion or {MODEL}/3"
        )
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


def _add_version(network: nn.Module, example: Tensor) -> int:
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
        return int(mlflow.register_model(logged.model_uri, MODEL).version)
    finally:
        enable_logging()


def _version_of_active_run(client: MlflowClient) -> int | None:
    active = mlflow.active_run()
    versions = client.search_model_versions(f"name = '{MODEL}' and run_id = '{active.info.run_id}'")
    return int(versions[0].version) if versions else None


def _beats(tags: Mapping[str, str], champion: Mapping[str, str]) -> bool:
    return tags["test_data"] == champion.get("test_data") and float(tags["test_accuracy"]) >= float(
        champion["test_accuracy"]
    )


def _champion(client: MlflowClient) -> ModelVersion | None:
    registered = client.search_registered_models(f"name = '{MODEL}'")
    if not registered or "champion" not in registered[0].aliases:
        return None
    return client.get_model_version_by_alias(MODEL, "champion")
