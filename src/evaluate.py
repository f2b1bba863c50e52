"""Stage `evaluate`: look at the test set, once; report every figure; register the model."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from mnist_cnn import (
    arithmetic,
    compute,
    console,
    data,
    datasets,
    files,
    metrics,
    model,
    model_card,
    notes,
    params,
    plots,
    probes,
    provenance,
    registry,
    runs,
    tracking,
    work,
)
from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray

REPORTS = Path("reports/evaluate")
CARD = Path("reports/model_card.md")
MODEL = Path("models/best_model.pth")
TRAINING = Path("reports/train/metrics.json")
BEST_PARAMS = Path("reports/tune/best_params.json")


class Report(NamedTuple):
    """Figures of the test set, as `metrics` names them."""

    summary: dict[str, float]
    per_class: list[dict[str, float]]
    confusion: NDArray[np.int64]


def main() -> None:
    """Judge the model on the test set, write the report, complete the model's run, register it."""
    console.options(argparse.ArgumentParser(description=__doc__))
    given = params.load()
    arithmetic.ensure(given.compute.arithmetic)
    device = compute.configure(given.evaluate.threads, given.compute.arithmetic)
    evaluate, dataset = given.evaluate, given.download.dataset
    raw, about = data.folder(dataset), datasets.INFO[dataset]
    origin = provenance.of_stage("evaluate")
    training = json.loads(TRAINING.read_text())
    network, learnt = model.load(MODEL)
    if learnt != dataset:
        raise UserError(f"{MODEL}: has learnt {learnt!r}; `dvc repro` trains one on {dataset}")
    (digits,) = data.subset(data.load("test", raw), (evaluate.test_size,), seed=0)
    probabilities = model.predict(network.to(device), digits.images.to(device)).cpu().numpy()

    report = _write_report(evaluate, digits, probabilities, about.classes)
    _write_card(evaluate, about, origin, training, network, digits, report)
    summary = report.summary
    console.say(
        f"test accuracy {summary['accuracy']:.2%} "
        f"({summary['accuracy_low']:.2%} to {summary['accuracy_high']:.2%} "
        f"at {100 * evaluate.confidence:.6g}% confidence), {summary['mistakes']} mistakes"
    )

    images, _ = data.paths("test", raw)
    note = notes.model(training, summary, dataset=about.name, confidence=evaluate.confidence)
    with runs.that_made(MODEL, "train", origin, provenance.commit()) as run:
        tracking.log_metrics(summary, prefix="test_")
        tracking.log_dataset(dataset, "test", digits, images)
        tracking.log_folder(REPORTS)
        runs.log_made(CARD)
        tracking.describe(run, note)
        tested = registry.Tested(
            accuracy=summary["accuracy"],
            mistakes=int(summary["mistakes"]),
            examples=len(digits.labels),
            data=digits.digest(),
        )
        registered = registry.register(about, network.cpu(), MODEL, digits.images[:2], tested, note)
    work.sweep()  # DVC has recorded the training by now
    console.say(f"registered as {registered}")


def _write_report(
    evaluate: params.Evaluate,
    digits: data.Digits,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> Report:
    """Write tables and figures, and return what the model card tells of too."""
    labels = digits.labels.numpy()
    guesses = metrics.predicted(probabilities)
    summary = metrics.summary(
        labels, probabilities, confidence=evaluate.confidence, bins=evaluate.calibration_bins
    )
    per_class = metrics.per_class(labels, probabilities, confidence=evaluate.confidence)
    confusion = metrics.confusion_matrix(labels, probabilities)
    roc = metrics.roc_curves(labels, probabilities)
    precision_recall = metrics.precision_recall_curves(labels, probabilities)
    bins = metrics.reliability(
        labels, probabilities, evaluate.calibration_bins, confidence=evaluate.confidence
    )
    worst = metrics.worst_mistakes(labels, probabilities, evaluate.worst_mistakes)
    report = metrics.classification_report(labels, probabilities)

    files.write_json(REPORTS / "metrics.json", summary)
    files.write_json(REPORTS / "per_class.json", per_class)
    files.write_json(REPORTS / "classification_report.json", report)
    files.write_csv(
        REPORTS / "predictions.csv",
        [
            {"label": label, "prediction": guess} | {f"p{k}": float(p) for k, p in enumerate(row)}
            for label, guess, row in zip(labels, guesses, probabilities, strict=True)
        ],
    )
    files.write_csv(
        REPORTS / "confusion_matrix.csv",
        [
            {"true": str(k)} | {str(i): count for i, count in enumerate(row)}
            for k, row in enumerate(confusion.tolist())
        ],
    )
    files.write_csv(REPORTS / "reliability.csv", [asdict(row) for row in bins])
    for name, curves, x, y in (
        ("roc", roc, "fpr", "tpr"),
        ("precision_recall", precision_recall, "recall", "precision"),
    ):
        files.write_csv(
            REPORTS / f"{name}.csv",
            [
                {"class": which, x: float(a), y: float(b)}
                for which, curve in curves.items()
                for a, b in zip(curve.x, curve.y, strict=True)
            ],
        )
    for name, figure in {
        "confusion_matrix": plots.confusion_matrix(confusion, classes),
        "roc": plots.roc(roc, classes),
        "precision_recall": plots.precision_recall(precision_recall, classes),
        "reliability": plots.reliability(bins, summary["calibration_error"]),
        "per_class_accuracy": plots.per_class_accuracy(per_class, summary["accuracy"], classes),
        "mistakes": plots.mistakes(
            digits.images[worst, 0].numpy(),
            labels[worst],
            guesses[worst],
            probabilities[worst].max(1),
            classes,
        ),
    }.items():
        files.write_png(REPORTS / f"{name}.png", figure)
    return Report(summary, per_class, confusion)


def _write_card(
    evaluate: params.Evaluate,
    dataset: datasets.DatasetInfo,
    origin: provenance.Provenance,
    training: Mapping[str, Any],
    network: model.DeepCNN,
    digits: data.Digits,
    report: Report,
) -> None:
    """Show the model what it does not know too, and write its card."""
    device = next(network.parameters()).device
    sure = {
        kind: model.predict(network, images.to(device)).amax(1).cpu()
        for kind, images in probes.probes(digits.images, dataset.thing, seed=0).items()
    }
    card = model_card.Facts(
        dataset=dataset,
        architecture=network.architecture,
        hyperparameters=params.load_hyperparameters(BEST_PARAMS)[0],
        training=training,
        summary=report.summary,
        confidence=evaluate.confidence,
        per_class=report.per_class,
        confusions=metrics.confusions(report.confusion, 5),
        limits=probes.sureness(sure),
        inputs={path: md5 for path, md5 in origin.inputs.items() if not path.startswith("src/")},
    )
    files.write_text(CARD, model_card.render(card))


if __name__ == "__main__":
    console.run(main)
