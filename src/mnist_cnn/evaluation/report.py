"""The report of an evaluation: all metrics at once, written as tables, JSON and plots."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mnist_cnn import faults, files
from mnist_cnn.evaluation import metrics, plots
from mnist_cnn.evaluation.metrics import Bin, Curve, Labels, Probabilities
from mnist_cnn.evaluation.params import Evaluate

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Report:
    """The metrics of a model on test examples, as `metrics` defines them."""

    labels: Labels
    probabilities: Probabilities
    summary: dict[str, float]
    per_class: list[dict[str, float]]
    classification_report: dict[str, Any]
    confusion_matrix: NDArray[np.int64]
    roc: dict[str, Curve]
    precision_recall: dict[str, Curve]
    reliability: list[Bin]
    mistakes: NDArray[np.int64]
    """Indices of wrong predictions, the most confident first."""


def compute(labels: Labels, probabilities: Probabilities, evaluate: Evaluate) -> Report:
    """All metrics of predictions.

    Args:
        labels: `int64 (n,)`, with every class.
        probabilities: `float (n, 10)`, rows sum to 1.
        evaluate: confidence level, number of bins and of mistakes.
    """
    faults.point("test set predicted")
    level, bins = evaluate.confidence, evaluate.calibration_bins
    return Report(
        labels=labels,
        probabilities=probabilities,
        summary=metrics.summary(labels, probabilities, confidence=level, bins=bins),
        per_class=metrics.per_class(labels, probabilities, confidence=level),
        classification_report=metrics.classification_report(labels, probabilities),
        confusion_matrix=metrics.confusion_matrix(labels, probabilities),
        roc=metrics.roc_curves(labels, probabilities),
        precision_recall=metrics.precision_recall_curves(labels, probabilities),
        reliability=metrics.reliability(labels, probabilities, bins, confidence=level),
        mistakes=metrics.worst_mistakes(labels, probabilities, evaluate.worst_mistakes),
    )


def write(report: Report, images: NDArray[np.uint8], classes: Sequence[str], folder: Path) -> None:
    """Write a report as JSON, CSV and, in the folder `plots`, PNG.

    Args:
        report: from `compute`.
        images: the test images, `(n, height, width)`.
        classes: the names of the classes.
        folder: where to write.
    """
    files.write_json(folder / "metrics.json", report.summary)
    files.write_json(folder / "per_class.json", report.per_class)
    files.write_json(folder / "classification_report.json", report.classification_report)
    predictions = metrics.predictions(report.probabilities)
    files.write_csv(
        folder / "predictions.csv",
        [
            {"label": label, "prediction": predicted}
            | {f"p{k}": float(p) for k, p in enumerate(row)}
            for label, predicted, row in zip(
                report.labels, predictions, report.probabilities, strict=True
            )
        ],
    )
    files.write_csv(
        folder / "confusion_matrix.csv",
        [
            {"true": str(k)} | {str(i): count for i, count in enumerate(row)}
            for k, row in enumerate(report.confusion_matrix.tolist())
        ],
    )
    files.write_csv(folder / "reliability.csv", [asdict(row) for row in report.reliability])
    files.write_csv(folder / "roc.csv", _points(report.roc, "fpr", "tpr"))
    files.write_csv(
        folder / "precision_recall.csv", _points(report.precision_recall, "recall", "precision")
    )
    worst = report.mistakes
    for name, figure in {
        "confusion_matrix": plots.confusion_matrix(report.confusion_matrix, classes),
        "roc": plots.roc(report.roc, classes),
        "precision_recall": plots.precision_recall(report.precision_recall, classes),
        "reliability": plots.reliability(report.reliability, report.summary["calibration_error"]),
        "per_class_accuracy": plots.per_class_accuracy(
            report.per_class, report.summary["accuracy"], classes
        ),
        "mistakes": plots.mistakes(
            images[worst],
            report.labels[worst],
            predictions[worst],
            report.probabilities[worst].max(1),
            classes,
        ),
    }.items():
        files.write_png(folder / "plots" / f"{name}.png", figure)


def _points(curves: dict[str, Curve], x: str, y: str) -> list[dict[str, Any]]:
    """The points of curves, a row for each."""
    return [
        {"class": name, x: float(a), y: float(b)}
        for name, curve in curves.items()
        for a, b in zip(curve.x, curve.y, strict=True)
    ]
