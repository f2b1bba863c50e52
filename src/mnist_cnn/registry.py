"""MLflow's model registry: versions of the network, the best of which is the `champion`."""

import warnings
from collections.abc import Collection
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import mlflow
import mlflow.pytorch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.logging_utils import disable_logging, enable_logging
from torch import Tensor, nn

from mnist_cnn import runs, stores
from mnist_cnn.datasets import INFO, DatasetInfo
from mnist_cnn.errors import UserError

MODEL = INFO["MNIST"].model  # where a person names none

_DESCRIPTION = (
    "Says which {shown} an image shows. `champion` is the version with the best test: "
    "on the most images, then of the highest accuracy, the latest of equals; `challenger` is the "
    "latest that did not become it."
)

CHAMPION, CHALLENGER = "champion", "challenger"

# The codes of MLflow's errors for a model, a version or an alias that is not there, or cannot be.
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


class Tested(NamedTuple):
    """What a network showed on the test images."""

    accuracy: float
    mistakes: int
    examples: int
    """How many images."""
    data: str
    """Their digest."""


class Version(NamedTuple):
    """A version of a registered model, with its test on the most images."""

    number: int
    tested: Tested


@runs.asking()
def register(
    dataset: DatasetInfo,
    network: nn.Module,
    example: Tensor,
    tested: Tested,
    note: str,
    made_by: Collection[str],
) -> tuple[Version, Version]:
    """Register a network, once, and move an alias to it; return its version and the champion.

    The version is tagged with its test on the most images. It becomes `champion` when there is
    none, or when it was tested on more images than the present one, or on the same and is at least
    as accurate; else `challenger`.

    Args:
        dataset: which the network knows.
        network: takes pixel values `(n, 1, height, width)`, gives logits `(n, classes)`.
        example: such pixels, `uint8`, of two images or more.
        tested: its test.
        note: in Markdown, stands above the version in the UI.
        made_by: the ids of the runs that made this very network, the active one among them.
    """
    client, model = MlflowClient(), dataset.model
    number = _version_made_by(client, model, made_by) or _add_version(model, network, example)
    known = client.get_model_version(model, str(number))
    before = _tested(known)
    if before is None or tested.examples >= before.examples:
        for name, value in tested._asdict().items():
            client.set_model_version_tag(model, str(number), f"test_{name}", str(value))
        client.update_model_version(model, str(number), note)
        before = tested
    if not client.get_registered_model(model).description:  # or a person has written one
        client.update_registered_model(model, _DESCRIPTION.format(shown=dataset.shown))

    version, champion = Version(number, before), _champion(client, model)
    if champion is None or champion.number == number or _beats(tested, champion.tested):
        if CHALLENGER in known.aliases:
            client.delete_registered_model_alias(model, CHALLENGER)
        client.set_registered_model_alias(model, CHAMPION, str(number))
        return version, version
    client.set_registered_model_alias(model, CHALLENGER, str(number))
    return version, champion


@runs.asking()
def find_version(name: str) -> ModelVersion:
    """A version of a registered model.

    Args:
        name: a model with an alias, `mnist-cnn@champion`, or with a version, `mnist-cnn/3`;
            after `models:/` or not.

    Raises `UserError` for a name of neither form, and when the registry has no such model.
    """
    plain = name.removeprefix("models:/")
    model, mark, which = plain.partition("@") if "@" in plain else plain.rpartition("/")
    if not (model and which and (mark == "@" or which.isdecimal())):
        raise UserError(f"{name}: not a registered model, such as {MODEL}@champion or {MODEL}/3")
    client = runs.reader()
    try:
        if mark == "@":
            return client.get_model_version_by_alias(model, which)
        return client.get_model_version(model, which)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            where = stores.named_tracking_uri()
            raise UserError(
                f"{name}: not in the registry of {where}; `make repro` registers what it makes"
            ) from None
        raise


@runs.asking()
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
        runs.reader().download_artifacts(found.run_id, "models/best_model.pth", str(folder))
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


def _version_made_by(client: MlflowClient, model: str, made_by: Collection[str]) -> int | None:
    ids = ", ".join(f"'{run_id}'" for run_id in made_by)
    found = client.search_model_versions(f"run_id IN ({ids})")
    return min((int(version.version) for version in found if version.name == model), default=None)


def _tested(version: ModelVersion) -> Tested | None:
    """What the tags of a version tell; nothing where registering it was cut short."""
    said = {name: version.tags.get(f"test_{name}") for name in Tested._fields}
    if None in said.values():
        return None
    return Tested(
        float(said["accuracy"]), int(said["mistakes"]), int(said["examples"]), said["data"]
    )


def _beats(tested: Tested, champion: Tested) -> bool:
    if tested.data == champion.data:
        return tested.accuracy >= champion.accuracy
    return tested.examples > champion.examples


def _champion(client: MlflowClient, model: str) -> Version | None:
    """The champion. One of before its test told on how many images counts as none."""
    registered = client.search_registered_models(f"name = '{model}'")
    if not registered or CHAMPION not in registered[0].aliases:
        return None
    champion = client.get_model_version_by_alias(model, CHAMPION)
    tested = _tested(champion)
    return Version(int(champion.version), tested) if tested else None
