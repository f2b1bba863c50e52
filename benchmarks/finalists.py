"""What finalists gain: the final model of the chosen finalist, and of the trial that was best.

    make seeds N=10
    python benchmarks/finalists.py 10

For each experiment `seed-1`, `seed-2`, … the best trial is trained as `train` trains the finalist
that was chosen, unless it is the same. Both are evaluated on the whole test set.
"""

import argparse
import json
from statistics import mean, stdev
from typing import Any

from mnist_cnn import params
from mnist_cnn.datasets import arrays
from mnist_cnn.learning import arithmetic, compute, data, model
from mnist_cnn.learning.hyperparameters import parse
from mnist_cnn.learning.training import build, fit
from mnist_cnn.params import Params

import dvc.api
import pandas as pd


def best_trial(experiment: str) -> "pd.Series[Any]":
    """The row of `trials.csv` of the trial that was best before finalists were trained."""
    with dvc.api.open("reports/tune/finalists.csv", rev=experiment) as file:
        number = pd.read_csv(file).number[0]  # the best trial comes first
    with dvc.api.open("reports/tune/trials.csv", rev=experiment) as file:
        # A hyperparameter that some trials lack is still an integer in the others.
        trials = pd.read_csv(file).convert_dtypes()
    return trials.set_index("number", drop=False).loc[number]


def test_accuracy(settings: Params, tuned: dict[str, object], seed: int) -> float:
    """Train on the training set as stage `train` does, and evaluate on the test set."""
    chosen = parse(settings.tune.hyperparameters | tuned, settings.model.network)
    folder = arrays.folder(settings.download.dataset)
    train, test = data.load("train", folder), data.load("test", folder)
    (train,) = data.subset(train, (settings.train.train_size,), seed)
    network = build(chosen, train.form, seed)
    for _ in fit(network, chosen, train, epochs=settings.train.epochs, seed=seed):
        pass
    return float(
        (model.probabilities(network, test.images).argmax(1) == test.labels).double().mean()
    )


def main() -> None:
    """Print a row for each seed, then mean and deviation."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("seeds", type=int)
    settings = params.load()
    arithmetic.restart_with(settings.compute.arithmetic)
    compute.configure(settings.train.threads, settings.compute.arithmetic)
    before, after = [], []
    print("| seed | best trial | its model | chosen | its model |\n|--:|--:|--:|--:|--:|")
    for seed in range(1, parser.parse_args().seeds + 1):
        experiment = f"seed-{seed}"
        show = dvc.api.metrics_show
        chosen = show("reports/tune/metrics.json", rev=experiment)["best_trial"]
        after.append(show("reports/evaluate/metrics.json", rev=experiment)["test_accuracy"])
        best = best_trial(experiment)
        tuned = json.loads(best[[*settings.tune.search_space]].dropna().to_json())
        same = best.number == chosen
        before.append(after[-1] if same else test_accuracy(settings, tuned, seed))
        print(
            f"| {seed} | {best.number} | {before[-1]:.2%} | {chosen} | {after[-1]:.2%} |",
            flush=True,
        )
    gains = [new - old for new, old in zip(after, before, strict=True)]
    for name, values in {"best trial": before, "finalist": after, "gain": gains}.items():
        print(f"{name}: mean {mean(values):.3%}, standard deviation {stdev(values):.3%}")


if __name__ == "__main__":
    main()
