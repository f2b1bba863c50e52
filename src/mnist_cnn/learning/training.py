"""`fit`, the training loop of the search and of the final training."""

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from mnist_cnn import faults, networks
from mnist_cnn.datasets.description import Form
from mnist_cnn.errors import FailedJobError
from mnist_cnn.files import write_bytes
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import Hyperparameters
from mnist_cnn.networks import Classifier

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LRScheduler

Precision = Literal["float32", "bfloat16"]


class DivergedError(FailedJobError):
    """The loss is no longer finite."""


@dataclass(frozen=True)
class Epoch:
    """The metrics of one epoch: mean cross-entropies in nats, accuracies as fractions.

    Training metrics are those of the augmented batches, each before its optimiser step. Validation
    metrics are measured at the end of the epoch.
    """

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def metrics(self) -> dict[str, float]:
        """The metrics that were measured, by name, with `epoch`."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def mean(epochs: Sequence[Epoch]) -> Epoch:
    """The mean metrics of the same epoch of several trainings, which have no validation set."""
    return Epoch(
        epochs[0].epoch,
        fmean(each.train_loss for each in epochs),
        fmean(each.train_accuracy for each in epochs),
    )


def derive_seed(seed: int, *path: int) -> int:
    """A 32-bit seed for one use of `seed`, practically independent of those for other paths."""
    return int(np.random.SeedSequence(seed, spawn_key=path).generate_state(1)[0])


def build(hyperparameters: Hyperparameters, form: Form, seed: int) -> Classifier:
    """A network with random weights, always the same for a seed."""
    torch.manual_seed(seed)
    return networks.build(hyperparameters.network, hyperparameters.config, form)


def fit(
    model: Classifier,
    hyperparameters: Hyperparameters,
    train: Examples,
    validation: Examples | None = None,
    *,
    epochs: int,
    seed: int,
    precision: Precision = "float32",
    checkpoint: Path | None = None,
) -> Iterator[Epoch]:
    """Train `model` in place, and yield the metrics of each epoch when it ends.

    Each epoch has a random seed of its own for order, augmentation and dropout, so it depends only
    on the state before it. Therefore a training that is resumed from its checkpoint ends with the
    same bytes as one that never stopped.

    Args:
        model: on the device of the examples.
        hyperparameters: how to train.
        train: the training set.
        validation: the validation set, if any.
        epochs: the number of epochs.
        seed: of all random numbers.
        precision: of convolutions and matrix products on a GPU; a CPU uses `float32`.
        checkpoint: the file for the state after each epoch. If it exists, training continues from
            it, and finished epochs are yielded again without computing. The caller must name it
            after all that determines the result, and delete it.

    Raises `DivergedError` if a loss is not finite.
    """
    loop = hyperparameters.loop
    optimizer = hyperparameters.optimizer.build(model, loop.learning_rate)
    steps = epochs * math.ceil(len(train.labels) / loop.batch_size)
    scheduler = hyperparameters.schedule.build(optimizer, steps)

    history: list[Epoch] = []
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    if checkpoint and checkpoint.exists():
        history = _load_checkpoint(checkpoint, parts)
    yield from history

    for number in range(len(history) + 1, epochs + 1):
        faults.point("epoch begun")
        torch.manual_seed(derive_seed(seed, number))
        loss, accuracy = _train_epoch(
            model, hyperparameters, train, optimizer, scheduler, precision
        )
        epoch = Epoch(number, loss, accuracy)
        if validation:
            loss, accuracy = validate(model, validation)
            epoch = replace(epoch, validation_loss=loss, validation_accuracy=accuracy)
        if not all(map(math.isfinite, epoch.metrics().values())):
            raise DivergedError(f"epoch {number}: the loss is not finite; lower the learning rate")
        history.append(epoch)
        if checkpoint:
            faults.point("epoch ended")
            _save_checkpoint(checkpoint, parts, history)
            faults.point("checkpoint saved", path=checkpoint, epoch=number)
        yield epoch


def restore(model: Classifier, checkpoint: Path) -> None:
    """Give a network the weights that it had when `fit` wrote a checkpoint."""
    _load_checkpoint(checkpoint, {"model": model})


@torch.inference_mode()
def validate(model: Classifier, examples: Examples, batch_size: int = 250) -> tuple[float, float]:
    """Mean cross-entropy in nats and accuracy, without augmentation."""
    model.eval()
    losses, correct = [], []
    for images, labels in zip(
        examples.images.split(batch_size), examples.labels.split(batch_size), strict=True
    ):
        logits = model(images)
        losses.append(F.cross_entropy(logits, labels, reduction="sum"))
        correct.append((logits.argmax(1) == labels).sum())
    total = len(examples.labels)
    return float(torch.stack(losses).sum()) / total, int(torch.stack(correct).sum()) / total


def _train_epoch(
    model: Classifier,
    hyperparameters: Hyperparameters,
    examples: Examples,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
    precision: Precision,
) -> tuple[float, float]:
    """Train on every example once, in random order; return mean loss and accuracy."""
    model.train()
    loop = hyperparameters.loop
    device = examples.labels.device
    half = device.type == "cuda" and precision == "bfloat16"
    loss_sum = torch.zeros((), device=device, dtype=torch.float64)
    correct = torch.zeros((), device=device, dtype=torch.int64)
    order = torch.randperm(len(examples.labels), device=device)
    for batch in order.split(loop.batch_size):
        images, labels = examples.select(batch)
        images = hyperparameters.augmentation(images)
        with torch.autocast("cuda", torch.bfloat16, enabled=half):
            logits: Tensor = model(images)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=loop.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        # Summed on the device, because reading a value would wait for it at each step.
        loss_sum += F.cross_entropy(logits.detach(), labels, reduction="sum")
        correct += (logits.detach().argmax(1) == labels).sum()
    return float(loss_sum) / len(order), int(correct) / len(order)


def _save_checkpoint(path: Path, parts: dict[str, Any], history: list[Epoch]) -> None:
    content = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save(content | {"history": [epoch.metrics() for epoch in history]}, buffer)
    write_bytes(path, buffer.getvalue())


def _load_checkpoint(path: Path, parts: dict[str, Any]) -> list[Epoch]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(content[name])
    return [Epoch(**epoch) for epoch in content["history"]]
