"""Stage `evaluate`: look at the test set, once; report every figure; register the model."""

from dataclasses import asdict
from pathlib import Path

import numpy as np

from mnist_cnn import (
    compute,
    console,
    data,
    files,
    metrics,
    model,
    params,
    plots,
    provenance,
    registry,
    tracking,
    work,
)

REPORTS = Path("reports/evaluate")
MODEL = Path("models/best_model.pth")


def main() -> None:
    """Judge the model on the test set, write the report, complete the model's run, register it."""
    evaluate = params.load().evaluate
    origin = provenance.of_stage("evaluate")
    (digits,) = data.subset(data.load("test"), (evaluate.test_size,), seed=0)
    network = model.load(MODEL)
    device = compute.configure(evaluate.threads)
    probabilities = model.predict(network.to(device), digits.images.to(device)).cpu().numpy()

    summary = _write_report(evaluate, digits, probabilities)
    console.say(
        f"test accuracy {summary['accuracy']:.2%} "
        f"({summary['accuracy_low']:.2%} to {summary['accuracy_high']:.2%} "
        f"at {evaluate.confidence:.0%} confidence), {summary['mistakes']} mistakes"
    )

    images, _ = data.paths("test")
    with tracking.run_that_made(MODEL, "train", origin, provenance.commit()):
        tracking.log_metrics(summary, prefix="test_")
        tracking.log_dataset("mnist-test", digits, images, "testing")
        tracking.log_folder(REPORTS)
        version, alias = registry.register(
            network.cpu(), digits.images[:2], summary, digits.digest()
        )
    work.sweep()  # DVC has recorded the training by now
    console.say(f"registered as {registry.MODEL} version {version}, the {alias}")


def _write_report(
    evaluate: params.Evaluate, digits: data.Digits, probabilities: np.ndarray
) -> dict[str, float]:
    """Write tables and figures; return the summary."""
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
    return summary


if __name__ == "__main__":
    console.run(main)
