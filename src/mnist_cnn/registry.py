"""MLflow's model registry: versions of the network, the best of which is the `champion`."""

import re
import warnings
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from mnist_cnn import runs, stores
from mnist_cnn.datasets import INFO, DatasetInfo
from mnist_cnn.errors import UserError

import mlflow
import mlflow.pytorch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from mlflow.utils.logging_utils import disable_logging, enable_logging
from torch import Tensor, nn

MODEL = INFO["MNIST"].model  # where a person names none

_DESCRIPTION = (
    "Says which {shown} an image shows. `champion` is the version with the best test: "
    "on the most images, then of the highest accuracy, the latest of equals; `challenger` is the "
    "last that was tested and did not become it."
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

    def __str__(self) -> str:
        """In a few words."""
        return f"{self.accuracy:.2%} of {self.examples:,} test images"


class Version(NamedTuple):
    """A version of a registered model, with its test on the most images."""

    number: int
    tested: Tested

    def __str__(self) -> str:
        """In a few words."""
        return f"version {self.number} ({self.tested})"


class Registered(NamedTuple):
    """A version of a registered model, and what has become of its champion."""

    model: str
    version: Version
    champion: Version
    """The same version, or the one that it does not beat."""
    former: Version | None
    """The champion of before, if that was another and tells of its test."""

    def __str__(self) -> str:
        """In a sentence, without its end."""
        told = f"{self.model} {self.version}"
        if self.version.number != self.champion.number:
            return f"{told}, the challenger of {self.champion}"
        if self.former:
            return f"{told}, the champion in place of {self.former}"
        return f"{told}, the champion"


@runs.asking()
def register(
    dataset: DatasetInfo, network: nn.Module, path: Path, example: Tensor, tested: Tested, note: str
) -> Registered:
    """Register the network of the active run, once, and move an alias to it.

    The same network of another run is the same version. It is tagged with its test on the most
    images, and becomes `champion` when there is none that tells of its test, or when it was tested
    on more images than the present one, or on the same and is at least as accurate; else
    `challenger`.

    Args:
        dataset: which the network knows.
        network: takes pixel values `(n, 1, height, width)`, gives logits `(n, classes)`.
        path: its `.pth`, by whose content it is known.
        example: such pixels, `uint8`, of two images or more.
        tested: its test.
        note: in Markdown, stands above the version in the UI.
    """
    client, model = MlflowClient(), dataset.model
    number = _version_of(client, model, path) or _add_version(model, network, example)
    if not client.get_registered_model(model).description:  # or a person has written one
        client.update_registered_model(model, _DESCRIPTION.format(shown=dataset.shown))

    version = Version(number, _keep(client, model, number, tested, note))
    champion = _champion(client, model)
    if champion is None or champion.number == number or _beats(version.tested, champion.tested):
        if CHALLENGER in client.get_model_version(model, str(number)).aliases:
            client.delete_registered_model_alias(model, CHALLENGER)
        client.set_registered_model_alias(model, CHAMPION, str(number))
        former = champion if champion and champion.number != number else None
        return Registered(model, version, version, former)
    client.set_registered_model_alias(model, CHALLENGER, str(number))
    return Registered(model, version, champion, None)


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
    if not (model and which and (mark == "@" or re.fullmatch("[0-9]{1,9}", which))):
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
            pip_requirements=[
                f"{name}=={metadata.version(name)}" for name in ("mlflow", "torch", "numpy")
            ],
        )
    disable_logging()  # it would print what `evaluate` says
    try:
        return int(mlflow.register_model(logged.model_uri, model).version)
    finally:
        enable_logging()


def _version_of(client: MlflowClient, model: str, path: Path) -> int | None:
    """The version that is this network, the first where two clones registered it at once.

    One whose run is no more does not count, as there is no `.pth` of it.
    """
    makers = {run.info.run_id for run in runs.makers(path, "train")}
    found = client.search_model_versions(f"name = '{model}'")
    return min(
        (int(version.version) for version in found if version.run_id in makers), default=None
    )


def _keep(client: MlflowClient, model: str, number: int, tested: Tested, note: str) -> Tested:
    """Tag a version with a test, unless it has one on more images; return the one that it keeps."""
    before = _tested(client.get_model_version(model, str(number)))
    if before and before.examples > tested.examples:
        return before
    for name, value in tested._asdict().items():
        client.set_model_version_tag(model, str(number), f"test_{name}", str(value))
    client.update_model_version(model, str(number), note)
    return tested


def _tested(version: ModelVersion) -> Tested | None:
    """What the tags of a version tell of its test, where they do."""
    tags = {name: version.tags.get(f"test_{name}") for name in Tested._fields}
    if None in tags.values():
        return None
    return Tested(
        float(tags["accuracy"]), int(tags["mistakes"]), int(tags["examples"]), tags["data"]
    )


def _beats(tested: Tested, champion: Tested) -> bool:
    if tested.data == champion.data:
        return tested.accuracy >= champion.accuracy
    return tested.examples > champion.examples


def _champion(client: MlflowClient, model: str) -> Version | None:
    """The champion, where there is one that tells of its test."""
    registered = client.search_registered_models(f"name = '{model}'")
    if not registered or CHAMPION not in registered[0].aliases:
        return None
    champion = client.get_model_version_by_alias(model, CHAMPION)
    tested = _tested(champion)
    return Version(int(champion.version), tested) if tested else None
