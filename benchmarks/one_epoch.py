"""Baseline: the recipe of github.com/tuomaso/train_mnist_fast, one epoch, written anew.

Two changes make it faster than the original: the layout `channels_last`, which takes two thirds of
the time, and a fused Adam. Batches are drawn in random order, as in all recipes here.
"""

from mnist_cnn.learning.data import Examples

import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import OneCycleLR


class Normalise(nn.Module):
    """Scales pixel values to mean 0 and standard deviation 1 over the training set."""

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.float() / 255 - 0.1307) / 0.3081


def prepare(examples: Examples) -> Examples:
    """Normalised images for `train`. The original does not count this time either."""
    return Examples(Normalise()(examples.images), examples.labels)


def network() -> nn.Sequential:
    """A network with 215,194 parameters for normalised images `(n, 1, 28, 28)`."""
    return nn.Sequential(
        *(nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10)),
    ).to(memory_format=torch.channels_last)


def train(prepared: Examples, seed: int) -> nn.Sequential:
    """Train for one epoch; return a network for pixel values."""
    torch.manual_seed(seed)
    model = network().to(prepared.labels.device)
    optimizer = torch.optim.Adam(model.parameters(), 0.01, betas=(0.7, 0.9), fused=True)
    batches = torch.randperm(len(prepared.labels)).split(256)
    scheduler = OneCycleLR(optimizer, 0.01, total_steps=len(batches), cycle_momentum=False)
    for batch in batches:
        images, labels = prepared.select(batch)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
        scheduler.step()
    return nn.Sequential(Normalise(), model)
