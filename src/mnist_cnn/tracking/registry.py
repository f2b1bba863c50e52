"""MLflow's model registry: versions of a model, one of which has the alias `champion`.

Validation predictions decide which one. No test result does, so test results stay unbiased.
"""

import re
import warnings
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from mnist_cnn import faults, stores
from mnist_cnn.datasets.description import Description
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation import paired_test
from mnist_cnn.evaluation.paired_test import Validated
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

# The folder of a run to which `register` logs validation predictions.
_FOLDER = "tune"

CHAMPION, CHALLENGER = "champion", "challenger"

_DESCRIPTION = (
    "Classifies the {subject} in an image. A new version becomes `champion` if its finalist has a "
    "higher accuracy on the validation set than that of the champion, by McNemar's exact test, or "
    "by Fisher's if their validation images or numbers of seeds differ. Else it becomes "
    "`challenger`. Test results decide nothing. Identical weights are registered once."
)

# MLflow's error codes for a model, version or alias that does not exist or is not valid.
_ABSENT = {"RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"}


class Result(NamedTuple):
    """The result of a version on the test set."""

    accuracy: float
    mistakes: int
    examples: int

    def __str__(self) -> str:
        """The result in a few words."""
        return f"{self.accuracy:.2%} on {self.examples:,} test images"


class Candidate(NamedTuple):
    """A model to register."""

    dataset: Description
    """The data set that it was trained on."""
    model: nn.Module
    """From pixel values `(n, channels, height, width)`; in the pipeline a `Calibrated`."""
    path: Path
    """Its `.pth`, whose content identifies the model."""
    example: Tensor
    """Pixel values `uint8` of two images or more."""
    predictions: Path
    """The file with the finalist's validation predictions, for the run of the version."""
    result: Result
    """Of its evaluation; it replaces that of an earlier one."""
    facts: Mapping[str, object]
    """What tells the version apart from others, by name; each becomes a tag."""
    note: str
    """The description of the version, in Markdown."""


class Registration(NamedTuple):
    """A registered version, and its place beside the champion."""

    model: str
    version: int
    result: Result
    place: str
    """The alias `champion` or `challenger`, and why."""

    def __str__(self) -> str:
        """The outcome in a sentence, without a full stop."""
        return f"{self.model} version {self.version} ({self.result}), {self.place}"


@store_errors()
def register(run: Run, candidate: Candidate, confidence: float) -> Registration:
    """Register the model of a run, unless identical weights are registered, and set an alias.

    The version becomes `champion` if there is none, or if `paired_test` shows that its finalist
    predicts validation images better than that of the champion. Else it becomes `challenger`, also
    if the champion has no validation predictions.

    Args:
        run: the open run of the training.
        candidate: the model.
        confidence: 1 minus the level of the test, in (0, 1).
    """
    client, dataset, predictions = MlflowClient(), candidate.dataset, candidate.predictions
    name = dataset.model
    faults.point("model evaluated")
    number = _version_of(client, name, candidate.path) or _add_version(client, run, candidate)
    if not client.get_registered_model(name).description:  # a person may have written one
        client.update_registered_model(name, _DESCRIPTION.format(subject=dataset.subject))
    validated = paired_test.read(predictions)
    # Identical weights may have been registered from another run.
    source = client.get_run(client.get_model_version(name, str(number)).run_id).info
    client.log_artifact(source.run_id, str(predictions), _FOLDER)
    results = {f"test_{key}": value for key, value in candidate.result._asdict().items()}
    tags = {"run": source.run_name, "validation_accuracy": validated.accuracy} | results
    for key, value in {**tags, **candidate.facts}.items():
        client.set_model_version_tag(name, str(number), key, str(value))
    client.update_model_version(name, str(number), candidate.note)

    faults.point("version registered")
    # Their numbers are text from a server, and integers from a database.
    holders = {
        alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()
    }
    alias, reason = CHAMPION, ""
    if holders.get(CHAMPION, number) != number:
        champion = client.get_model_version_by_alias(name, CHAMPION)
        former = _validated(client, champion, predictions.name)
        alias, reason = _choose_alias(champion, number, validated, former, confidence)
    if alias == CHAMPION and holders.get(CHALLENGER) == number:
        client.delete_registered_model_alias(name, CHALLENGER)
    client.set_registered_model_alias(name, alias, str(number))
    return Registration(name, number, candidate.result, alias + reason)


def _choose_alias(
    champion: ModelVersion,
    number: int,
    validated: Validated,
    former: Validated | None,
    confidence: float,
) -> tuple[str, str]:
    """The alias that another version than the champion gets, and the reason.

    Args:
        champion: the champion so far.
        number: of the other version.
        validated: its validation predictions.
        former: those of the champion, if it has any.
        confidence: as for `register`.
    """
    test = paired_test.compare(validated, former) if former else None
    if test and test.p_value < 1 - confidence:
        return CHAMPION, f", replaces version {champion.version}: {test}"
    if test:
        return CHALLENGER, f" of version {champion.version}: {test}"
    return CHALLENGER, (
        f" of version {champion.version}, which has no validation predictions: not compared. "
        "To make it champion: "
        f'python -c "import mlflow; mlflow.MlflowClient()'
        f".set_registered_model_alias('{champion.name}', '{CHAMPION}', '{number}')\""
    )


def _validated(client: MlflowClient, version: ModelVersion, predictions: str) -> Validated | None:
    """The validation predictions of a version; None if its run has none, or is gone."""
    path = f"{_FOLDER}/{predictions}"
    try:
        logged = client.list_artifacts(version.run_id, _FOLDER)
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise
    if path not in {file.path for file in logged}:
        return None
    with TemporaryDirectory() as folder:
        return paired_test.read(Path(client.download_artifacts(version.run_id, path, folder)))


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


def result_of(version: ModelVersion) -> Result | None:
    """The result of a version on the test set; None if another program registered it."""
    try:
        return Result(
            accuracy=float(version.tags["test_accuracy"]),
            mistakes=int(version.tags["test_mistakes"]),
            examples=int(version.tags["test_examples"]),
        )
    except (KeyError, ValueError):
        return None


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


def _add_version(client: MlflowClient, run: Run, candidate: Candidate) -> int:
    """Log the model to the active run, without pickle, and register it."""
    experiment = client.get_run(run.id).info.experiment_id
    for unfinished in client.search_logged_models([experiment], f"source_run_id = '{run.id}'"):
        client.delete_logged_model(unfinished.model_id)
    images = candidate.example.numpy()
    outputs = candidate.model(candidate.example).detach().numpy()
    with warnings.catch_warnings():
        # About weights that share memory; these do not.
        warnings.filterwarnings("ignore", "No complete tensor found")
        logged = mlflow.pytorch.log_model(
            candidate.model,
            name="model",
            signature=infer_signature(images, outputs),
            input_example=images,
            serialization_format="pt2",
            pip_requirements=[
                # The package index has no build with a local version, such as +cpu.
                f"{package}=={metadata.version(package).partition('+')[0]}"
                for package in ("mlflow", "torch", "numpy")
            ],
        )
    disable_logging()  # it prints what `evaluate` prints
    try:
        return int(mlflow.register_model(logged.model_uri, candidate.dataset.model).version)
    finally:
        enable_logging()


def _version_of(client: MlflowClient, name: str, path: Path) -> int | None:
    """The version with the weights of this file, the first if two clones registered it at once.

    A version whose run was deleted does not count, because its `.pth` is gone.
    """
    runs = {run.info.run_id for run in find_runs_by_output(path, "train")}
    found = client.search_model_versions(f"name = '{name}'")
    return min((int(version.version) for version in found if version.run_id in runs), default=None)
