"""Stage `train`: train the best hyperparameters on the whole training set, and keep the model."""

import argparse
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path

from mnist_cnn import (
    arithmetic,
    compute,
    console,
    data,
    files,
    model,
    notes,
    params,
    plots,
    provenance,
    runs,
    tracking,
    training,
    work,
)

REPORTS = Path("reports/train")
BEST_PARAMS = Path("reports/tune/best_params.json")
MODEL = Path("models/best_model.pth")


def main() -> None:
    """Train, or go on training, and write the model and how it came to be."""
    console.options(argparse.ArgumentParser(description=__doc__))
    given = params.load()
    arithmetic.ensure(given.compute.arithmetic)
    device = compute.configure(given.train.threads, given.compute.arithmetic)
    train, dataset = given.train, given.download.dataset
    raw = data.folder(dataset)
    origin = provenance.of_stage("train")
    flat, hyperparameters = params.load_hyperparameters(BEST_PARAMS)
    (digits,) = data.subset(data.load("train", raw), (train.train_size,), train.seed)
    network = training.build(hyperparameters, train.seed).to(device)

    history = []
    entries: deque[Callable[[], object]] = deque()
    with (
        work.claim(origin) as job,
        runs.of_work(origin, provenance.commit(), flat, work=job.name) as run,
        console.progress(train.epochs, "epochs", "epoch") as bar,
    ):
        images, _ = data.paths("train", raw)
        tracking.log_dataset(dataset, "train", digits, images)
        for epoch in training.fit(
            network,
            hyperparameters,
            digits.to(device),
            epochs=train.epochs,
            seed=train.seed,
            checkpoint=job.folder / "checkpoint.pt",
        ):
            history.append(epoch.row())
            entries.append(partial(tracking.log_epoch, run, history[-1]))
            tracking.log_now(entries)
            console.say(
                f"epoch {epoch.epoch:3}: loss {epoch.train_loss:.4f}, "
                f"accuracy {epoch.train_accuracy:.2%}"
            )
            bar.set_postfix_str(f"accuracy {epoch.train_accuracy:.2%}", refresh=False)
            bar.update()
        model.save(network, dataset, MODEL)
        files.write_csv(REPORTS / "history.csv", history)
        figures = {
            "train_loss": epoch.train_loss,
            "train_accuracy": epoch.train_accuracy,
            "parameters": sum(weights.numel() for weights in network.parameters()),
            "examples": len(digits.labels),
            "epochs": epoch.epoch,
        }
        files.write_json(REPORTS / "metrics.json", figures)
        files.write_png(REPORTS / "history.png", plots.history(history))
        tracking.log_all(entries)
        tracking.describe(run, notes.training(figures))
        tracking.log_folder(REPORTS)
        runs.log_made(MODEL)


if __name__ == "__main__":
    console.run(main)
