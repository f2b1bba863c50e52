"""Stage `train`: train with the best hyperparameters on the whole training set."""

import argparse
import json
from functools import partial
from pathlib import Path

from mnist_cnn import console, files, params
from mnist_cnn.datasets import arrays
from mnist_cnn.evaluation import training_plots
from mnist_cnn.learning import (
    arithmetic,
    compute,
    data,
    ensemble,
    hyperparameters,
    model,
    training,
)
from mnist_cnn.learning.calibration import Calibration, fit_detector
from mnist_cnn.learning.training import Epoch
from mnist_cnn.reproduce import jobs, provenance
from mnist_cnn.tracking import notes, views
from mnist_cnn.tracking.resume import resume_run

REPORTS = Path("reports/train")
BEST_PARAMS = Path("reports/tune/best_params.json")
CALIBRATION = Path("reports/tune/calibration.json")
MODEL = Path("models/best_model.pth")


def main() -> None:
    """Train, or resume the training, and write the model and its report."""
    console.parse_args(argparse.ArgumentParser(description=__doc__))
    settings = params.load()
    arithmetic.restart_with(settings.compute.arithmetic)
    train, dataset = settings.train, settings.download.dataset
    compute.configure(train.threads, settings.compute.arithmetic)
    device = compute.device(settings.compute.device)
    origin = provenance.of_stage("train", device)
    folder = arrays.folder(dataset)
    metadata = arrays.read_metadata(folder)
    flat, chosen = hyperparameters.load(BEST_PARAMS, settings.model.network)
    (examples,) = data.subset(data.load("train", folder), (train.train_size,), train.seed)
    seeds = [train.seed] + [
        training.derive_seed(train.seed, member, 3) for member in range(1, train.ensemble)
    ]
    members = [training.build(chosen, metadata.form, seed).to(device) for seed in seeds]
    placed = examples.to(device)

    history: list[Epoch] = []
    with (
        jobs.claim(origin.inputs) as job,
        resume_run("train", job.name, origin.tags()) as run,
        console.progress_bar(train.epochs, "epochs", "epoch") as bar,
    ):
        views.save(settings.tune)
        run.log_params(origin.params() | flat)
        run.log_provenance("train", origin.document(), origin.patch)
        run.log_dataset(dataset, "train", examples, folder / "train")
        trainings = [
            training.fit(
                member,
                chosen,
                placed,
                epochs=train.epochs,
                seed=seed,
                precision=settings.compute.precision,
                checkpoint=job.folder / f"member-{number}.pt",
            )
            for number, (member, seed) in enumerate(zip(members, seeds, strict=True))
        ]
        for epochs in zip(*trainings, strict=True):
            epoch = training.mean(epochs)
            history.append(epoch)
            run.log_later(partial(run.log_epoch, epoch))
            console.write(
                f"epoch {epoch.epoch:3}: loss {epoch.train_loss:.4f}, "
                f"accuracy {epoch.train_accuracy:.2%}"
            )
            bar.set_postfix_str(f"accuracy {epoch.train_accuracy:.2%}", refresh=False)
            bar.update()
        last, network = history[-1], ensemble.combine(members)
        metrics = {
            "train_loss": last.train_loss,
            "train_accuracy": last.train_accuracy,
            "parameters": sum(weights.numel() for weights in network.parameters()),
            "train_examples": len(examples.labels),
            "epochs": last.epoch,
        }
        fitted = json.loads(CALIBRATION.read_text())
        if train.ensemble > 1:
            fitted["temperature"] = 1.0  # a mean of probabilities is less confident than they are
        calibration = Calibration(**fitted, detector=fit_detector(members[0], placed))
        model.save(network, metadata, MODEL, calibration)
        rows = [epoch.metrics() for epoch in history]
        files.write_csv(REPORTS / "history.csv", rows)
        files.write_json(REPORTS / "metrics.json", metrics)
        files.write_png(REPORTS / "plots/history.png", training_plots.history(rows))
        run.flush()
        run.set_note(notes.training(metrics))
        run.log_folder(REPORTS)
        run.log_outputs(MODEL)


if __name__ == "__main__":
    console.run(main)
