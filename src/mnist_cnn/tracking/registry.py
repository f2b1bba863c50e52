"""MLflow's model registry: versions of a model, the best of which has the alias `champion`."""

import re
import warnings
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from mnist_cnn import faults, stores
from mnist_cnn.datasets.description import Description
from mnist_cnn.errors import UserError
from mnist_cnn.tracking.experiment import existing_store, find_runs_by_output, store_errors
from mnist_cnn.tracking.run import Run

import mlflow.pytorch
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import infer_signature
from mlflow.utils.logging_utils import disable_logging, enable_logging
from torch import Tensor, nn

EXAMPLE = "mnist-cnn"  # in messages

CHAMPION, CHALLENGER = "champion", "challenger"

_DESCRIPTION = (
    "Classifies the {subject} in an image. `champion` is the best version: the one evaluated on "
    "the most images, then the most accurate, then the latest. `challenger` is the last version "
    "that was evaluated and is not the champion. Identical weights are registered once."
)

# MLflow's error codes for a model, version or alias that does not exist or is not valid.
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


class Result(NamedTuple):
    """The result of a version on the test set."""

    accuracy: float
    mistakes: int
    examples: int
    data: str
    """The digest of the examples."""

    def __str__(self) -> str:
        """The result in a few words."""
        return f"{self.accuracy:.2%} on {self.examples:,} test images"


class Version(NamedTuple):
    """A version of a registered model, and its result on the most images."""

    number: int
    result: Result

    def __str__(self) -> str:
        """The version in a few words."""
        return f"version {self.number} ({self.result})"


class Registration(NamedTuple):
    """A registered version, and the champion afterwards."""

    model: str
    version: Version
    champion: Version
    former: Version | None
    """The champion before, if the version replaced one with a known result."""

    def __str__(self) -> str:
        """The outcome in a sentence, without a full stop."""
        registered = f"{self.model} {self.version}"
        if self.version.number != self.champion.number:
            return f"{registered}, challenger of {self.champion}"
        if self.former:
            return f"{registered}, champion, replaces {self.former}"
        return f"{registered}, champion"


@store_errors()
def register(
    run: Run,
    dataset: Description,
    model: nn.Module,
    path: Path,
    example: Tensor,
    result: Result,
    note: str,
) -> Registration:
    """Register the model of a run, unless identical weights are registered, and set an alias.

    The version becomes `champion` if there is none with a known result, if it was evaluated on more
    images than the champion, or on the same images with at least its accuracy. Else it becomes
    `challenger`. A result on fewer images than an earlier one of the version is ignored.

    Args:
        run: the open run of the training.
        dataset: that of the model.
        model: takes pixel values `(n, 1, height, width)`, returns logits `(n, classes)`.
        path: its `.pth`, whose content identifies the model.
        example: pixel values `uint8` of two images or more.
        result: of its evaluation.
        note: the description of the version, in Markdown.
    """
    client, name = MlflowClient(), dataset.model
    faults.point("model evaluated")
    number = _version_of(client, name, path) or _add_version(client, name, run, model, example)
    if not client.get_registered_model(name).description:  # a person may have written one
        client.update_registered_model(name, _DESCRIPTION.format(subject=dataset.subject))

    version = Version(number, _set_result(client, name, number, result, note))
    champion = _champion(client, name)
    faults.point("version registered")
    if champion is None or champion.number == number or _is_better(version, champion):
        if CHALLENGER in client.get_model_version(name, str(number)).aliases:
            client.delete_registered_model_alias(name, CHALLENGER)
        client.set_registered_model_alias(name, CHAMPION, str(number))
        former = champion if champion and champion.number != number else None
        return Registration(name, version, version, former)
    client.set_registered_model_alias(name, CHALLENGER, str(number))
    return Registration(name, version, champion, None)


@store_errors()
def find_version(name: str) -> ModelVersion:
    """A version of a registered model.

    Args:
        name: `mnist-cnn@champion` (an alias) or `mnist-cnn/3` (a version), also after `models:/`.

    Raises `UserError` for another form, and if the registry has no such version.
    """
    plain = name.removeprefix("models:/")
    model, mark, which = plain.partition("@") if "@" in plain else plain.rpartition("/")
    if not (model and which and (mark == "@" or re.fullmatch("[0-9]{1,9}", which))):
        raise UserError(
            f"{name}: not a registered model, such as {EXAMPLE}@champion or {EXAMPLE}/3"
        )
    client = existing_store()
    try:
        if mark == "@":
            return client.get_model_version_by_alias(model, which)
        return client.get_model_version(model, which)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            where = stores.hide_password(stores.tracking_uri())
            raise UserError(
                f"{name}: not in the registry of {where}; {stores.how_to_create('evaluate')}"
            ) from None
        raise


@store_errors()
def download_model(name: str, folder: Path) -> Path:
    """Download the `.pth` of a registered model into an existing folder, and return its path.

    Args:
        name: as for `find_version`.
        folder: where to put it.

    Raises what `find_version` raises.
    """
    found = find_version(name)
    return Path(
        existing_store().download_artifacts(found.run_id, "models/best_model.pth", str(folder))
    )


def _add_version(
    client: MlflowClient, name: str, run: Run, model: nn.Module, example: Tensor
) -> int:
    """Log the model to the active run, without pickle, and register it."""
    experiment = client.get_run(run.id).info.experiment_id
    for unfinished in client.search_logged_models([experiment], f"source_run_id = '{run.id}'"):
        client.delete_logged_model(unfinished.model_id)
    images, logits = example.numpy(), model(example).detach().numpy()
    with warnings.catch_warnings():
        # About weights that share memory; these do not.
        warnings.filterwarnings("ignore", "No complete tensor found")
        logged = mlflow.pytorch.log_model(
            model,
            name="model",
            signature=infer_signature(images, logits),
            input_example=images,
            serialization_format="pt2",
            pip_requirements=[
                f"{package}=={metadata.version(package)}"
                for package in ("mlflow", "torch", "numpy")
            ],
        )
    disable_logging()  # it prints what `evaluate` prints
    try:
        return int(mlflow.register_model(logged.model_uri, name).version)
    finally:
        enable_logging()


def _version_of(client: MlflowClient, name: str, path: Path) -> int | None:
    """The version with the weights of this file, the first if two clones registered it at once.

    A version whose run was deleted does not count, because its `.pth` is gone.
    """
    runs = {run.info.run_id for run in find_runs_by_output(path, "train")}
    found = client.search_model_versions(f"name = '{name}'")
    return min((int(version.version) for version in found if version.run_id in runs), default=None)


def _set_result(client: MlflowClient, name: str, number: int, result: Result, note: str) -> Result:
    """Tag a version with a result, unless it has one on more images; return the one it has then."""
    before = _result(client.get_model_version(name, str(number)))
    if before and before.examples > result.examples:
        return before
    for key, value in result._asdict().items():
        client.set_model_version_tag(name, str(number), f"test_{key}", str(value))
    client.update_model_version(name, str(number), note)
    return result


def _result(version: ModelVersion) -> Result | None:
    """The result in the tags of a version, if it has one."""
    tags = {key: version.tags.get(f"test_{key}") for key in Result._fields}
    if None in tags.values():
        return None
    return Result(
        float(tags["accuracy"]), int(tags["mistakes"]), int(tags["examples"]), tags["data"]
    )


def _is_better(version: Version, champion: Version) -> bool:
    ours, theirs = version.result, champion.result
    if ours.data == theirs.data:
        return ours.accuracy >= theirs.accuracy
    return ours.examples > theirs.examples


def _champion(client: MlflowClient, name: str) -> Version | None:
    """The champion, if there is one with a known result."""
    registered = client.search_registered_models(f"name = '{name}'")
    if not registered or CHAMPION not in registered[0].aliases:
        return None
    champion = client.get_model_version_by_alias(name, CHAMPION)
    result = _result(champion)
    return Version(int(champion.version), result) if result else None
