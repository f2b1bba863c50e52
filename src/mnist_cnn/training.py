"""`fit`, the one training loop: the search tries hyperparameters with it, `train` makes the model.

Knows nothing of where hyperparameters come from or of where the epochs that it yields are logged.
"""

import io
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mnist_cnn.data import Digits, augment
from mnist_cnn.errors import FailedWorkError
from mnist_cnn.files import write_bytes
from mnist_cnn.model import DeepCNN
from mnist_cnn.params import Hyperparameters

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR


class DivergedError(FailedWorkError):
    """The loss is no longer a finite number."""


@dataclass(frozen=True)
class Epoch:
    """The figures of one pass over the training examples.

    Losses are mean cross-entropies with the true labels in nats, accuracies fractions. Those of
    training are of the augmented batches as they were learnt from; those of validation, where there
    is any, are taken after the epoch.
    """

    epoch: int  # from 1
    train_loss: float
    train_accuracy: float
    validation_loss: float | None = None
    validation_accuracy: float | None = None

    def row(self) -> dict[str, float]:
        """The figures that were taken, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


def derive_seed(seed: int, *path: int) -> int:
    """A 32-bit seed for one use of `seed`, as good as independent of those for other paths."""
    return int(np.random.SeedSequence(seed, spawn_key=path).generate_state(1)[0])


def build(hyperparameters: Hyperparameters, seed: int) -> DeepCNN:
    """A network with the weights that `seed` gives."""
    torch.manual_seed(seed)
    return DeepCNN(
        hyperparameters.conv_layers,
        hyperparameters.fc_layers,
        batch_norm=hyperparameters.batch_norm,
        dropout=hyperparameters.dropout,
        crop=hyperparameters.crop,
    )


def fit(
    model: DeepCNN,
    hyperparameters: Hyperparameters,
    train: Digits,
    validation: Digits | None = None,
    *,
    epochs: int,
    seed: int,
    checkpoint: Path | None = None,
) -> Iterator[Epoch]:
    """Train `model` in place, and yield the figures of each epoch as it ends.

    The model and the examples are on one device. Every epoch draws its order, its augmentation and
    its dropout from a seed of its own, so that it depends on nothing but the state before it.

    Where a path `checkpoint` is given, the state is kept there after each epoch, and a checkpoint
    found there is continued: its epochs are yielded from memory and not computed again, and the
    weights end the same, to the byte, as if the training had never stopped. It is for the caller to
    name the file after all that determines the result, and to remove it.

    Raises `DivergedError` when the loss is not finite.
    """
    optimizer = _optimizer(model, hyperparameters)
    steps = math.ceil(len(train.labels) / hyperparameters.batch_size)
    scheduler = _scheduler(optimizer, hyperparameters, epochs * steps)

    history: list[Epoch] = []
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    if checkpoint and checkpoint.exists():
        history = _restore(checkpoint, parts)
    yield from history

    for number in range(len(history) + 1, epochs + 1):
        torch.manual_seed(derive_seed(seed, number))
        loss, accuracy = _train_epoch(model, hyperparameters, train, optimizer, scheduler)
        figures = Epoch(number, loss, accuracy)
        if validation:
            loss, accuracy = validate(model, validation)
            figures = replace(figures, validation_loss=loss, validation_accuracy=accuracy)
        if not all(map(math.isfinite, figures.row().values())):
            raise DivergedError(
                f"epoch {number}: the loss is no finite number; lower the learning rate"
            )
        history.append(figures)
        if checkpoint:
            _keep(checkpoint, parts, history)
        yield figures


@torch.inference_mode()
def validate(model: DeepCNN, digits: Digits, batch_size: int = 250) -> tuple[float, float]:
    """Mean cross-entropy and accuracy, without augmentation."""
    model.eval()
    losses, hits = [], []
    for images, labels in zip(
        digits.images.split(batch_size), digits.labels.split(batch_size), strict=True
    ):
        logits = model(images)
        losses.append(F.cross_entropy(logits, labels, reduction="sum"))
        hits.append((logits.argmax(1) == labels).sum())
    total = len(digits.labels)
    return float(torch.stack(losses).sum()) / total, int(torch.stack(hits).sum()) / total


def _train_epoch(
    model: DeepCNN,
    hyperparameters: Hyperparameters,
    digits: Digits,
    optimizer: torch.optim.Optimizer,
    scheduler: LRScheduler,
) -> tuple[float, float]:
    """One pass in random order; mean loss and accuracy over it."""
    model.train()
    device = digits.labels.device
    loss_sum = torch.zeros((), device=device, dtype=torch.float64)
    hits = torch.zeros((), device=device, dtype=torch.int64)
    order = torch.randperm(len(digits.labels), device=device)
    for batch in order.split(hyperparameters.batch_size):
        images, labels = digits.select(batch)
        images = augment(
            images,
            rotation=hyperparameters.rotation,
            translation=hyperparameters.translation,
            interpolation=hyperparameters.interpolation,
        )
        with torch.autocast("cuda", torch.bfloat16, enabled=device.type == "cuda"):
            logits: Tensor = model(images)
        logits = logits.float()
        loss = F.cross_entropy(logits, labels, label_smoothing=hyperparameters.label_smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        # Summed on the device: reading a number each step would wait for it.
        loss_sum += F.cross_entropy(logits.detach(), labels, reduction="sum")
        hits += (logits.detach().argmax(1) == labels).sum()
    return float(loss_sum) / len(order), int(hits) / len(order)


def _optimizer(model: DeepCNN, hyperparameters: Hyperparameters) -> torch.optim.Optimizer:
    rate, decay = hyperparameters.learning_rate, hyperparameters.weight_decay
    match hyperparameters.optimizer:
        case "adam":
            return torch.optim.Adam(model.parameters(), rate, weight_decay=decay, fused=True)
        case "adamw":
            return torch.optim.AdamW(model.parameters(), rate, weight_decay=decay, fused=True)
        case "sgd":
            return torch.optim.SGD(
                model.parameters(), rate, momentum=0.9, nesterov=True, weight_decay=decay
            )


def _scheduler(
    optimizer: torch.optim.Optimizer, hyperparameters: Hyperparameters, steps: int
) -> LRScheduler:
    match hyperparameters.schedule:
        case "constant":
            return LambdaLR(optimizer, lambda _step: 1.0)
        case "one_cycle":
            return OneCycleLR(optimizer, hyperparameters.learning_rate, total_steps=steps + 1)


def _keep(path: Path, parts: dict[str, Any], history: list[Epoch]) -> None:
    content = {name: part.state_dict() for name, part in parts.items()}
    buffer = io.BytesIO()
    torch.save(content | {"history": [epoch.row() for epoch in history]}, buffer)
    write_bytes(path, buffer.getvalue())


def _restore(path: Path, parts: dict[str, Any]) -> list[Epoch]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    for name, part in parts.items():
        part.load_state_dict(content[name])
    return [Epoch(**epoch) for epoch in content["history"]]
