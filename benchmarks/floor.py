"""How close `fit` is to bare arithmetic: forward, backward and optimiser step on one batch.

    python benchmarks/floor.py

`fit` also selects and augments batches, follows a schedule, computes metrics and saves a
checkpoint. Both take turns, with the same network, batch size and number of steps.
"""

import argparse
import math
import statistics
import tempfile
import time
from pathlib import Path

from mnist_cnn.datasets import arrays, description
from mnist_cnn.learning import compute, data, training
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import Hyperparameters, load, parse

import article
import torch
from torch.nn import functional as F

BEST = Path("reports/tune/best_params.json")
FORM = description.load("MNIST").form


def bare(hyperparameters: Hyperparameters, examples: Examples) -> float:
    """Seconds of the steps of an epoch, all on one batch."""
    model = training.build(hyperparameters, FORM, seed=0).train()
    # A rate of 0: once the network has memorised the batch, gradients become denormal and slow.
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    images, labels = examples.select(torch.arange(hyperparameters.loop.batch_size))
    begun = time.perf_counter()
    for _ in range(math.ceil(len(examples.labels) / hyperparameters.loop.batch_size)):
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return time.perf_counter() - begun


def fit(hyperparameters: Hyperparameters, examples: Examples) -> float:
    """Seconds of an epoch of `fit`, with a checkpoint."""
    model = training.build(hyperparameters, FORM, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        for _ in training.fit(
            model,
            hyperparameters,
            examples,
            epochs=1,
            seed=0,
            checkpoint=Path(folder, "checkpoint.pt"),
        ):
            pass
        return time.perf_counter() - begun


def main() -> None:
    """Print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=10_000, help="examples (default 10,000)")
    parser.add_argument("--repeats", type=int, default=5, help="turns of each (default 5)")
    options = parser.parse_args()
    train = data.load("train", arrays.folder("MNIST"))
    _, best = load(BEST, "deep_cnn")

    print("| network | threads | bare, s | `fit`, s | ratio |")
    print("|---|--:|--:|--:|--:|")
    for name, hyperparameters, threads, repeats in [
        ("the best of the study", best, 1, options.repeats),
        ("the best of the study", best, 2, options.repeats),
        ("the article's", parse(article.HYPERPARAMETERS, "deep_cnn"), 2, 3),
    ]:
        compute.configure(threads)
        (examples,) = data.subset(train, (options.size,), seed=0)
        pairs = [
            (bare(hyperparameters, examples), fit(hyperparameters, examples))
            for _ in range(repeats + 1)
        ][1:]  # the first one warms
        floor, ours = map(statistics.median, zip(*pairs, strict=True))
        ratio = statistics.median(ours / floor for floor, ours in pairs)
        print(f"| {name} | {threads} | {floor:.2f} | {ours:.2f} | {ratio:.3f} |", flush=True)


if __name__ == "__main__":
    main()
