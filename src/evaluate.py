"""Stage `evaluate`: look at the test set, once; report every figure; register the model."""

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_cnn import (
    compute,
    console,
    data,
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
    tracking,
    work,
)

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
    evaluate = params.load().evaluate
    origin = provenance.of_stage("evaluate")
    training = json.loads(TRAINING.read_text())
    (digits,) = data.subset(data.load("test"), (evaluate.test_size,), seed=0)
    device = compute.configure(evaluate.threads)
    network = model.load(MODEL).to(device)
    probabilities = model.predict(network, digits.images.to(device)).cpu().numpy()

    report = _write_report(evaluate, digits, probabilities)
    _write_card(evaluate, origin, training, network, digits, report)
    summary = report.summary
    console.say(
        f"test accuracy {summary['accuracy']:.2%} "
        f"({summary['accuracy_low']:.2%} to {summary['accuracy_high']:.2%} "
        f"at {100 * evaluate.confidence:.6g}% confidence), {summary['mistakes']} mistakes"
    )

    images, _ = data.paths("test")
    note = notes.model(training, summary, tested=len(digits.labels), confidence=evaluate.confidence)
    with tracking.run_that_made(MODEL, "train", origin, provenance.commit()) as run:
        tracking.log_metrics(summary, prefix="test_")
        tracking.log_dataset("mnist-test", digits, images, "testing")
        tracking.log_folder(REPORTS)
        tracking.log_made(CARD)
        tracking.describe(run, note)
        matters = {name: summary[name] for name in ("accuracy", "mistakes")}
        version, alias = registry.register(
            network.cpu(), digits.images[:2], matters, digits.digest(), note
        )
    work.sweep()  # DVC has recorded the training by now
    console.say(f"registered as {registry.MODEL} version {version}, the {alias}")


def _write_report(
    evaluate: params.Evaluate, digits: data.Digits, probabilities: np.ndarray
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
    bins = metrics.reliability(labels, probabilities, evaluate.calibration_bins)
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
        "confusion_matrix": plots.confusion_matrix(confusion),
        "roc": plots.roc(roc),
        "precision_recall": plots.precision_recall(precision_recall),
        "reliability": plots.reliability(bins, summary["calibration_error"]),
        "per_class_accuracy": plots.per_class_accuracy(per_class, summary["accuracy"]),
        "mistakes": plots.mistakes(
            digits.images[worst, 0].numpy(),
            labels[worst],
            guesses[worst],
            probabilities[worst].max(1),
        ),
    }.items():
        files.write_png(REPORTS / f"{name}.png", figure)
    return Report(summary, per_class, confusion)


def _write_card(
    evaluate: params.Evaluate,
    origin: provenance.Provenance,
    training: Mapping[str, Any],
    network: model.DeepCNN,
    digits: data.Digits,
    report: Report,
) -> None:
    """Show the model what is no digit too, and write its card."""
    device = next(network.parameters()).device
    sure = {
        kind: model.predict(network, images.to(device)).amax(1).cpu()
        for kind, images in probes.probes(digits.images, seed=0).items()
    }
    card = model_card.Facts(
        architecture=network.architecture,
        hyperparameters=params.load_hyperparameters(BEST_PARAMS)[0],
        training=training,
        summary=report.summary,
        confidence=evaluate.confidence,
        tested=len(digits.labels),
        per_class=report.per_class,
        confusions=metrics.confusions(report.confusion, 5),
        limits=probes.sureness(sure),
        inputs={path: md5 for path, md5 in origin.inputs.items() if not path.startswith("src/")},
    )
    files.write_text(CARD, model_card.render(card))


if __name__ == "__main__":
    console.run(main)
