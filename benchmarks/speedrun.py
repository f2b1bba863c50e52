"""How fast `fit` reaches the accuracy of the article, compared with two baselines.

    python benchmarks/speedrun.py --article

Times are of the training alone, from tensors in memory to the trained network. `fit` and the recipe
of `one_epoch.py` take turns. With `--article`, one of the five epochs of the article's training is
timed as well, from files. The recipe of `fit` is in `speedrun.yaml`. It was chosen with
`--validation`, never on the test set.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mnist_cnn import yaml_files
from mnist_cnn.datasets import arrays, description
from mnist_cnn.learning import compute, data, training
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import Hyperparameters, parse
from mnist_cnn.learning.training import Precision

import article
import one_epoch
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

RECIPE = Path(__file__).with_name("speedrun.yaml")
BASELINE = "one epoch, `channels_last`"
FORM = description.load("MNIST").form


def fit(
    hyperparameters: Hyperparameters,
    examples: Examples,
    epochs: int,
    seed: int,
    precision: Precision = "float32",
) -> nn.Module:
    """Train as the stages do, with `build` and `fit`, on the device of the examples."""
    model = training.build(hyperparameters, FORM, seed).to(examples.labels.device)
    for _ in training.fit(
        model, hyperparameters, examples, epochs=epochs, seed=seed, precision=precision
    ):
        pass
    return model


def timed(train: Callable[[], nn.Module]) -> tuple[nn.Module, float]:
    """The result of `train`, and the seconds it took."""
    begun = time.perf_counter()
    model = train()
    return model, time.perf_counter() - begun


def megaflops(model: nn.Module) -> float:
    """Millions of floating-point operations for one example, forward and backward."""
    with FlopCounterMode(display=False) as counter:
        model.cpu()(torch.zeros(2, 1, 28, 28)).sum().backward()
    return counter.get_total_flops() / 2e6


def time_the_article(examples: Examples) -> float:
    """Seconds of the article's training. Prints them, and those of `fit` for its network."""
    hyperparameters = parse(article.HYPERPARAMETERS, "deep_cnn")
    model, theirs = timed(lambda: next(article.train(epochs=1, seed=0)))
    _, ours = timed(partial(fit, hyperparameters, examples, 1, 0))
    print(
        f"the article's training: 5 × {theirs:.0f} s, {megaflops(model):.1f} MFLOP an example; "
        f"the same in `fit`: 5 × {ours:.0f} s, {ours / theirs:.2f} of it\n"
    )
    return 5 * theirs


def main() -> None:
    """Print a Markdown table of all recipes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=5, help="trainings of each recipe (default 5)")
    parser.add_argument("--threads", type=int, default=2, help="default 2")
    parser.add_argument("--recipe", type=Path, default=RECIPE, help=f"default {RECIPE.name}")
    parser.add_argument(
        "--article", action="store_true", help="time an epoch of the article's training too"
    )
    parser.add_argument(
        "--validation", action="store_true", help="evaluate on 5,000 of the training images"
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    options = parser.parse_args()
    compute.configure(options.threads)
    device, machine = compute.device(options.device), compute.machine()
    print(f"{machine['cpu' if device.type == 'cpu' else 'gpu']}, {options.precision}\n")

    everything = data.load("train", arrays.folder("MNIST"))
    train, test = everything, data.load("test", arrays.folder("MNIST"))
    if options.validation:
        train, test = data.subset(everything, (55_000, 5_000), seed=0)
    train, test = train.to(device), test.to(device)
    recipe = yaml_files.read(options.recipe)
    hyperparameters = parse(recipe["hyperparameters"], "deep_cnn")
    trainings: dict[str, Callable[[int], nn.Module]] = {
        BASELINE: partial(one_epoch.train, one_epoch.prepare(train)),
        **{
            f"`fit`, epochs: {epochs}": partial(
                fit, hyperparameters, train, epochs, precision=options.precision
            )
            for epochs in recipe["epochs"]
        },
    }
    fit(hyperparameters, data.subset(train, (10_000,), 0)[0], epochs=1, seed=0)  # warm
    models: dict[str, nn.Module] = {}
    seconds: dict[str, list[float]] = {name: [] for name in trainings}
    accuracies: dict[str, list[float]] = {name: [] for name in trainings}
    for seed in range(options.seeds):
        for name, training_ in trainings.items():
            models[name], taken = timed(partial(training_, seed))
            seconds[name].append(taken)
            accuracies[name].append(training.validate(models[name], test)[1])
    article_seconds = time_the_article(everything) if options.article else None

    print(
        "| recipe | accuracy, mean and deviation | range | MFLOP an example | seconds "
        "| of the baseline's time | faster than the article |"
    )
    print("|---|---|---|--:|--:|--:|--:|")
    for name in trainings:
        median = statistics.median(seconds[name])
        ratio = statistics.median(
            ours / theirs for ours, theirs in zip(seconds[name], seconds[BASELINE], strict=True)
        )
        low, high = min(accuracies[name]), max(accuracies[name])
        spread = statistics.stdev(accuracies[name]) if options.seeds > 1 else 0.0
        faster = f"{article_seconds / median:.0f} ×" if article_seconds else ""
        print(
            f"| {name} | {statistics.mean(accuracies[name]):.3%} ± {100 * spread:.3f} "
            f"| {low:.2%} to {high:.2%} | {megaflops(models[name]):.2f} | {median:.2f} "
            f"| {ratio:.2f} | {faster} |"
        )


if __name__ == "__main__":
    main()
