"""The parts of an evaluation: metrics with their tables, their plots and their lines in the card.

To add a metric or a plot, write a function from `Predicted` and `Evaluate` to `Part` and name it in
`PARTS`. Its table and plot become files, its metrics columns in MLflow and DVC.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from mnist_cnn.evaluation import metrics, plots
from mnist_cnn.evaluation.markdown import interval, table
from mnist_cnn.evaluation.metrics import Curve
from mnist_cnn.evaluation.params import Evaluate
from mnist_cnn.evaluation.predicted import Predicted

import numpy as np
from matplotlib.figure import Figure


@dataclass(frozen=True)
class Part:
    """What a function contributes to the evaluation."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    """The main ones, by name; of the test set, so `metrics.json` has them as `test_<name>`."""
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    """Rows, by the name of the CSV file."""
    plots: Mapping[str, Figure] = field(default_factory=dict)
    """By the name of the PNG file."""
    card: Mapping[str, str] = field(default_factory=dict)
    """Values as the table of metrics in the model card has them, by their name there."""
    text: str = ""
    """Markdown below that table."""


def accuracy(predicted: Predicted, evaluate: Evaluate) -> Part:
    """How many images are predicted correctly."""
    values = metrics.accuracy(
        predicted.labels, predicted.probabilities, confidence=evaluate.confidence
    )
    ends = interval(values["accuracy_low"], values["accuracy_high"])
    most_frequent = np.bincount(predicted.labels).max() / len(predicted.labels)
    correct = metrics.predictions(predicted.probabilities) == predicted.labels
    without = {
        f"accuracy without the {predicted.disputed.sum()} images whose label is disputed": (
            f"{correct[~predicted.disputed].mean():.2%}"
        )
    }
    return Part(
        metrics=values,
        card={
            "accuracy": f"{values['accuracy']:.2%} ({ends})",
            **(without if predicted.disputed.any() else {}),
            "accuracy of always predicting the most frequent class": f"{most_frequent:.2%}",
            "mistakes": f"{values['mistakes']}",
        },
    )


def averages(predicted: Predicted, _evaluate: Evaluate) -> Part:
    """Averages over the classes, and agreement beyond chance."""
    values = metrics.averages(predicted.labels, predicted.probabilities)
    return Part(
        metrics={"f1_macro": values["f1_macro"]},
        tables={"averages": [{"metric": name, "value": value} for name, value in values.items()]},
        card={
            "balanced accuracy": f"{values['balanced_accuracy']:.2%}",
            "F1, macro average": f"{values['f1_macro']:.4f}",
            "Cohen's kappa": f"{values['cohen_kappa']:.4f}",
        },
    )


def roc(predicted: Predicted, _evaluate: Evaluate) -> Part:
    """ROC curves of each class against the rest."""
    area = metrics.roc_auc(predicted.labels, predicted.probabilities)
    curves = metrics.roc_curves(predicted.labels, predicted.probabilities)
    return Part(
        metrics={"roc_auc_macro": area},
        tables={"roc": _points(curves, "fpr", "tpr")},
        plots={"roc": plots.roc(curves, predicted.classes)},
        card={"ROC AUC, one-vs-rest, macro average": f"{area:.6f}"},
    )


def precision_recall(predicted: Predicted, _evaluate: Evaluate) -> Part:
    """Precision-recall curves of each class against the rest."""
    curves = metrics.precision_recall_curves(predicted.labels, predicted.probabilities)
    mean = metrics.average_precision(predicted.labels, predicted.probabilities)
    return Part(
        tables={"precision_recall": _points(curves, "recall", "precision")},
        plots={"precision_recall": plots.precision_recall(curves, predicted.classes)},
        card={"average precision, one-vs-rest, macro average": f"{mean:.6f}"},
    )


def log_loss(predicted: Predicted, _evaluate: Evaluate) -> Part:
    """The mean negative logarithm of the probability of the true class, in nats."""
    loss, before = (
        metrics.log_loss(predicted.labels, probabilities)
        for probabilities in (predicted.probabilities, predicted.uncalibrated)
    )
    return Part(
        metrics={"log_loss": loss},
        card={"log loss, nats": f"{loss:.4f} ({before:.4f} before calibration)"},
    )


def reliability(predicted: Predicted, evaluate: Evaluate) -> Part:
    """Whether confidence is accuracy."""
    bins, uncalibrated = (
        metrics.reliability(
            predicted.labels,
            probabilities,
            evaluate.calibration_bins,
            confidence=evaluate.confidence,
        )
        for probabilities in (predicted.probabilities, predicted.uncalibrated)
    )
    error, before = metrics.calibration_error(bins), metrics.calibration_error(uncalibrated)
    return Part(
        metrics={"calibration_error": error},
        tables={"reliability": [asdict(row) for row in bins]},
        plots={"reliability": plots.reliability(bins, uncalibrated, evaluate.confidence)},
        card={"expected calibration error": f"{error:.4f} ({before:.4f} before calibration)"},
    )


def per_class(predicted: Predicted, evaluate: Evaluate) -> Part:
    """The metrics of each class."""
    rows = metrics.per_class(
        predicted.labels, predicted.probabilities, confidence=evaluate.confidence
    )
    lines = (
        (
            name,
            row["support"],
            f"{row['accuracy']:.2%}",
            interval(row["accuracy_low"], row["accuracy_high"]),
        )
        for name, row in zip(predicted.classes, rows, strict=True)
    )
    overall = float((metrics.predictions(predicted.probabilities) == predicted.labels).mean())
    return Part(
        tables={"per_class": rows},
        plots={
            "per_class_accuracy": plots.per_class_accuracy(
                rows, overall, predicted.classes, evaluate.confidence
            )
        },
        text=table(("class", "images", "accuracy", "interval"), lines),
    )


def confusion_matrix(predicted: Predicted, _evaluate: Evaluate) -> Part:
    """Which classes are taken for which."""
    classes = predicted.classes
    counts = metrics.confusion_matrix(predicted.labels, predicted.probabilities)
    confused = table(
        ("true class", "predicted class", "images"),
        ((classes[true], classes[p], n) for true, p, n in metrics.most_confused(counts, 5)),
    )
    return Part(
        tables={
            "confusion_matrix": [
                {"true": str(k)} | {str(i): count for i, count in enumerate(row)}
                for k, row in enumerate(counts.tolist())
            ]
        },
        plots={"confusion_matrix": plots.confusion_matrix(counts, classes)},
        text=f"Most frequent confusions:\n\n{confused}",
    )


def mistakes(predicted: Predicted, evaluate: Evaluate) -> Part:
    """The wrong predictions, the most confident first; and all predictions as a table."""
    labels, probabilities = predicted.labels, predicted.probabilities
    classes = metrics.predictions(probabilities)
    worst = metrics.worst_mistakes(labels, probabilities, evaluate.worst_mistakes)
    return Part(
        tables={
            "predictions": [
                {"label": label, "prediction": found}
                | {f"p{k}": float(p) for k, p in enumerate(row)}
                for label, found, row in zip(labels, classes, probabilities, strict=True)
            ]
        },
        plots={
            "mistakes": plots.mistakes(
                predicted.images[worst],
                labels[worst],
                classes[worst],
                probabilities[worst].max(1),
                predicted.disputed[worst],
                predicted.classes,
            )
        },
    )


def familiarity(predicted: Predicted, _evaluate: Evaluate) -> Part:
    """Which images are rejected as unlike the training images."""
    rejected = float((predicted.familiarity < 0).mean())
    rows = [
        {
            "kind": kind,
            "images": len(scores.familiarity),
            "confidence": float(scores.probabilities.max(1).mean()),
            "rejected": float((scores.familiarity < 0).mean()),
            "roc_auc": metrics.separation(predicted.familiarity, scores.familiarity),
        }
        for kind, scores in predicted.unusual.items()
    ]
    lines = (
        (
            row["kind"],
            row["images"],
            f"{row['confidence']:.1%}",
            f"{row['rejected']:.1%}",
            f"{row['roc_auc']:.4f}",
        )
        for row in rows
    )
    header = ("images", "number", "mean confidence", "rejected", "ROC AUC")
    return Part(
        metrics={"rejected": rejected},
        tables={"unusual_images": rows},
        card={"test images rejected as unlike the training images": f"{rejected:.2%}"},
        text="Images that are rejected as unlike the training images, and how well the score "
        f"separates them from test images:\n\n{table(header, lines)}",
    )


def corruptions(predicted: Predicted, _evaluate: Evaluate) -> Part:
    """The errors on corrupted test images, see `evaluation.corruptions`."""
    errors = {name: 1 - float(each.correct.mean()) for name, each in predicted.corrupted.items()}
    mean = sum(errors.values()) / len(errors)
    titles = [f"{name.replace('_', ' ')}\n{error:.1%} wrong" for name, error in errors.items()]
    count = len(next(iter(predicted.corrupted.values())).correct)
    return Part(
        metrics={"corruption_error": mean},
        tables={"corruptions": [{"corruption": k, "error": e} for k, e in errors.items()]},
        plots={
            "corruptions": plots.image_sheet(
                [each.example for each in predicted.corrupted.values()], titles, columns=5
            )
        },
        card={f"mean error under {len(errors)} corruptions": f"{mean:.2%}"},
        text=f"Errors on {count:,} test images with the kinds of corruption of Mu and Gilmer "
        "(2019), at strengths of this project, so not comparable with published errors:\n\n"
        + table(
            ("corruption", "error"),
            ((name.replace("_", " "), f"{error:.2%}") for name, error in errors.items()),
        ),
    )


PARTS: tuple[Callable[[Predicted, Evaluate], Part], ...] = (
    accuracy,
    averages,
    roc,
    precision_recall,
    log_loss,
    reliability,
    per_class,
    confusion_matrix,
    mistakes,
    familiarity,
    corruptions,
)
"""In the order of the report."""


def _points(curves: Mapping[str, Curve], x: str, y: str) -> list[dict[str, Any]]:
    """The points of curves, a row for each."""
    return [
        {"class": name, x: float(a), y: float(b)}
        for name, curve in curves.items()
        for a, b in zip(curve.x, curve.y, strict=True)
    ]
