"""Baseline: the training of the article, written anew: one PIL image at a time.

    python benchmarks/article.py --epochs 5

The images come from the files of `download`, through a `DataLoader`.
"""

import argparse
import time
from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from torchvision import transforms
from torchvision.datasets import MNIST

# The same network and training, as hyperparameters for `fit`.
HYPERPARAMETERS = {
    "conv1_out_channels": 88,
    "conv2_out_channels": 237,
    "fc1_out_features": 389,
    "optimizer": "adam",
    "learning_rate": 1e-3,
    "schedule": "constant",
    "batch_size": 64,
    "rotation": 10,
    "translation": 0.1,
}


def transform(*, augmented: bool) -> transforms.Compose:
    """Images as the article's network sees them, turned and shifted when `augmented`."""
    moves = [
        transforms.RandomRotation(10),
        transforms.RandomAffine(0, translate=(0.1, 0.1)),
    ]
    return transforms.Compose(
        [*(moves if augmented else []), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)]
    )


def network() -> nn.Sequential:
    """That network, plainly: 4,710,567 weights."""
    return nn.Sequential(
        *(nn.Conv2d(1, 88, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(88, 237, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(237 * 7 * 7, 389), nn.ReLU(), nn.Linear(389, 10)),
    )


def accuracy(model: nn.Module, loader: DataLoader) -> float:
    """The fraction of the loader's images that the model gets right."""
    model.eval()
    with torch.inference_mode():
        hits = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    return hits / len(loader.dataset)


def train(epochs: int, seed: int) -> Iterator[nn.Module]:
    """Train on the whole training set, and yield the network after each epoch."""
    torch.manual_seed(seed)
    digits = MNIST("data", transform=transform(augmented=True))
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    for _ in range(epochs):
        model.train()
        for images, labels in DataLoader(digits, 64, shuffle=True):
            optimizer.zero_grad()
            F.cross_entropy(model(images), labels).backward()
            optimizer.step()
        yield model


def main() -> None:
    """Print the time and the test accuracy after each epoch."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)

    test = DataLoader(MNIST("data", train=False, transform=transform(augmented=False)), 64)
    trained = train(options.epochs, options.seed)
    seconds = 0.0
    for epoch in range(1, options.epochs + 1):
        begun = time.perf_counter()
        model = next(trained)
        seconds += time.perf_counter() - begun
        print(
            f"epoch {epoch}: {seconds:.1f} s, test accuracy {accuracy(model, test):.2%}", flush=True
        )


if __name__ == "__main__":
    main()
