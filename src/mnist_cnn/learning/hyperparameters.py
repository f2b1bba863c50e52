"""Hyperparameters: how a network is built and trained, except for the seed and the epochs.

In files they are flat, so that each can be fixed or tuned. Each belongs to one part: the training
loop, or the network, optimiser, schedule or augmentation with its name.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from mnist_cnn import networks, yaml_files
from mnist_cnn.errors import UserError
from mnist_cnn.learning.augmentation import AUGMENTATIONS, Augmentation
from mnist_cnn.learning.optimizers import OPTIMIZERS, Optimizer
from mnist_cnn.learning.schedules import SCHEDULES, Schedule
from mnist_cnn.yaml_files import Section

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError

# The classes of each kind by name. A file names one with the kind as key: `optimizer: adamw`.
_KINDS: dict[str, tuple[Mapping[str, type[Section]], str]] = {
    "optimizer": (OPTIMIZERS, "adam"),
    "schedule": (SCHEDULES, "constant"),
    "augmentation": (AUGMENTATIONS, "affine"),
}


class Loop(Section):
    """The options of the training loop."""

    learning_rate: PositiveFloat = 1e-3
    """The highest rate of the schedule."""
    batch_size: PositiveInt = 64
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Part of a label that is spread over all classes (Szegedy et al. 2016)."""


@dataclass(frozen=True)
class Hyperparameters:
    """The parts, each with its own hyperparameters."""

    loop: Loop
    network: str
    """The name of a module in `networks`."""
    config: Section
    """The configuration of the network."""
    optimizer: Optimizer
    schedule: Schedule
    augmentation: Augmentation


def parse(flat: Mapping[str, Any], network: str) -> Hyperparameters:
    """Give each hyperparameter to the part that it belongs to.

    Args:
        flat: values by name, and under `optimizer`, `schedule` and `augmentation` the name of a
            part; what no other part knows is for the network.
        network: the name of the network.

    Raises `ValueError` that names every hyperparameter with a wrong name or value.
    """
    rest = dict(flat)
    parts: dict[str, Any] = {}
    errors: list[str] = []
    unknown = False
    models: dict[str, type[Section]] = {"loop": Loop}
    for kind, (classes, default) in _KINDS.items():
        name = rest.pop(kind, default)
        if isinstance(name, str) and name in classes:
            models[kind] = classes[name]
        else:
            errors.append(f"{kind}: {name!r} is unknown; there are {', '.join(classes)}")
    models["config"] = networks.config(network)
    fields = Counter(name for model in models.values() for name in model.model_fields)
    if twice := [name for name, count in fields.items() if count > 1]:
        raise ValueError(f"{twice[0]} is a hyperparameter of two parts; rename one of them")
    for part, model in models.items():
        names = rest.keys() if part == "config" else rest.keys() & model.model_fields.keys()
        options = {name: rest.pop(name) for name in list(names)}
        try:
            parts[part] = model.model_validate(options)
        except ValidationError as error:
            errors.append(yaml_files.describe(error, options))
            unknown |= any(each["type"] == "extra_forbidden" for each in error.errors())
    if unknown:
        chosen = {"network": network} | {kind: flat.get(kind, _KINDS[kind][1]) for kind in _KINDS}
        listed = ", ".join(f"{kind} {name}" for kind, name in chosen.items())
        errors.append(f"the parts are {listed}")
    if errors:
        raise ValueError("; ".join(errors))
    return Hyperparameters(network=network, **parts)


def load(path: Path, network: str) -> tuple[dict[str, Any], Hyperparameters]:
    """Read `best_params.json`: flat as in the file, and parsed. Raises `UserError`."""
    flat = yaml_files.read(path)  # JSON is YAML
    try:
        return flat, parse(flat, network)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None
