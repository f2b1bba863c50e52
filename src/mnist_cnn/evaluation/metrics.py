"""Metrics of a classifier, as pure functions of labels and probabilities.

Throughout, `labels` is an integer array of shape `(n,)` and `probabilities` a float array of shape
`(n, classes)` whose rows sum to 1. Every class occurs among the labels. The prediction for a row is
its most probable class, the first of equals.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn import metrics as sk

Labels = NDArray[np.int64]
Probabilities = NDArray[np.floating]


class Curve(NamedTuple):
    """Points of a curve, two arrays of equal length, and the area under it."""

    x: NDArray[np.floating]
    y: NDArray[np.floating]
    area: float


@dataclass(frozen=True)
class Bin:
    """The predictions with a confidence in `(low, high]`."""

    low: float
    high: float
    count: int
    confidence: float | None
    """Their mean confidence; None if there are none."""
    accuracy: float | None
    """Their accuracy, with Wilson's interval."""
    accuracy_low: float | None
    accuracy_high: float | None


def predictions(probabilities: Probabilities) -> Labels:
    """The most probable class of each row, `int64 (n,)`."""
    classes: Labels = probabilities.argmax(1)
    return classes


def wilson_interval(successes: int, total: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a proportion (Wilson 1927), in [0, 1].

    Args:
        successes: of `total` independent trials.
        total: 1 or more.
        confidence: the confidence level, in (0, 1).
    """
    interval = binomtest(successes, total).proportion_ci(confidence, method="wilson")
    return float(interval.low), float(interval.high)


def accuracy(
    labels: Labels, probabilities: Probabilities, *, confidence: float
) -> dict[str, float]:
    """The fraction that is predicted correctly, with Wilson's interval; mistakes and examples."""
    correct = int((predictions(probabilities) == labels).sum())
    low, high = wilson_interval(correct, len(labels), confidence)
    return {
        "accuracy": correct / len(labels),
        "accuracy_low": low,
        "accuracy_high": high,
        "mistakes": len(labels) - correct,
        "examples": len(labels),
    }


def averages(labels: Labels, probabilities: Probabilities) -> dict[str, float]:
    """Metrics over all classes: means of those of each class, and agreement beyond chance."""
    predicted = predictions(probabilities)
    means: dict[str, float] = {}
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = sk.precision_recall_fscore_support(
            labels, predicted, average=average, zero_division=0
        )
        means |= {
            f"precision_{average}": float(precision),
            f"recall_{average}": float(recall),
            f"f1_{average}": float(f1),
        }
    return {
        "balanced_accuracy": float(sk.balanced_accuracy_score(labels, predicted)),
        **means,
        "cohen_kappa": float(sk.cohen_kappa_score(labels, predicted)),
        "matthews_correlation": float(sk.matthews_corrcoef(labels, predicted)),
    }


def roc_auc(labels: Labels, probabilities: Probabilities) -> float:
    """The mean area under the ROC curves of each class against the rest."""
    truth = _one_hot(labels, probabilities.shape[1])
    return float(sk.roc_auc_score(truth, probabilities, average="macro"))


def average_precision(labels: Labels, probabilities: Probabilities) -> float:
    """The mean average precision of each class against the rest."""
    truth = _one_hot(labels, probabilities.shape[1])
    return float(sk.average_precision_score(truth, probabilities, average="macro"))


def log_loss(labels: Labels, probabilities: Probabilities) -> float:
    """The mean negative logarithm of the probability of the true class, in nats."""
    return float(sk.log_loss(labels, probabilities))


def per_class(
    labels: Labels, probabilities: Probabilities, *, confidence: float
) -> list[dict[str, float]]:
    """The metrics of each class, a row for each.

    The accuracy of a class is the fraction of its examples that are predicted correctly (its
    recall), with Wilson's interval.
    """
    predicted = predictions(probabilities)
    precision, recall, f1, support = sk.precision_recall_fscore_support(
        labels, predicted, labels=range(probabilities.shape[1]), zero_division=0
    )
    truth = _one_hot(labels, probabilities.shape[1])
    rows = []
    for k in range(probabilities.shape[1]):
        correct = int(((labels == k) & (predicted == k)).sum())
        low, high = wilson_interval(correct, int(support[k]), confidence)
        rows.append(
            {
                "class": k,
                "support": int(support[k]),
                "accuracy": float(recall[k]),
                "accuracy_low": low,
                "accuracy_high": high,
                "precision": float(precision[k]),
                "f1": float(f1[k]),
                "roc_auc": float(sk.roc_auc_score(truth[:, k], probabilities[:, k])),
                "average_precision": float(
                    sk.average_precision_score(truth[:, k], probabilities[:, k])
                ),
            }
        )
    return rows


def separation(known: NDArray[np.float64], unknown: NDArray[np.float64]) -> float:
    """The area under the ROC curve of a score that should be higher for known examples."""
    truth = np.repeat([1, 0], [len(known), len(unknown)])
    return float(sk.roc_auc_score(truth, np.concatenate([known, unknown])))


def confusion_matrix(labels: Labels, probabilities: Probabilities) -> NDArray[np.int64]:
    """Counts `(classes, classes)`: true classes by row, predictions by column."""
    matrix: NDArray[np.int64] = sk.confusion_matrix(
        labels, predictions(probabilities), labels=range(probabilities.shape[1])
    )
    return matrix


def roc_curves(labels: Labels, probabilities: Probabilities) -> dict[str, Curve]:
    """True positive rate over false positive rate, each class against the rest.

    Keys are the labels, `micro` (every pair of image and class is one decision) and `macro` (the
    mean of their curves at each false positive rate; its area is the mean of their areas).
    """
    truth = _one_hot(labels, probabilities.shape[1])
    curves = {}
    for k in range(probabilities.shape[1]):
        fpr, tpr, _ = sk.roc_curve(truth[:, k], probabilities[:, k])
        curves[str(k)] = Curve(fpr, tpr, float(sk.auc(fpr, tpr)))
    fpr, tpr, _ = sk.roc_curve(truth.ravel(), probabilities.ravel())
    micro = Curve(fpr, tpr, float(sk.auc(fpr, tpr)))
    grid = np.unique(np.concatenate([curve.x for curve in curves.values()]))
    # Curves have vertical parts, of which `interp` returns the upper end; read backwards, the lower
    # end. With both, the area under the mean curve is the mean of the areas.
    upper = np.mean([np.interp(grid, c.x, c.y) for c in curves.values()], axis=0)
    lower = np.mean([np.interp(-grid, -c.x[::-1], c.y[::-1]) for c in curves.values()], axis=0)
    macro = Curve(
        grid.repeat(2),
        np.stack([lower, upper], 1).ravel(),
        float(np.mean([curve.area for curve in curves.values()])),
    )
    return curves | {"micro": micro, "macro": macro}


def precision_recall_curves(labels: Labels, probabilities: Probabilities) -> dict[str, Curve]:
    """Precision over recall, each class against the rest, and `micro`.

    The area is the average precision: the mean of the precisions, weighted by the gain in recall.
    """
    truth = _one_hot(labels, probabilities.shape[1])
    decisions = {str(k): (truth[:, k], probabilities[:, k]) for k in range(probabilities.shape[1])}
    decisions["micro"] = (truth.ravel(), probabilities.ravel())
    curves = {}
    for name, (is_class, score) in decisions.items():
        precision, recall, _ = sk.precision_recall_curve(is_class, score, drop_intermediate=True)
        area = float(sk.average_precision_score(is_class, score))
        curves[name] = Curve(recall[::-1], precision[::-1], area)
    return curves


def reliability(
    labels: Labels, probabilities: Probabilities, bins: int, *, confidence: float
) -> list[Bin]:
    """Accuracy by confidence (the probability of the prediction), in equal bins over (0, 1].

    Args:
        labels: as above.
        probabilities: as above.
        bins: their number.
        confidence: the confidence level of the intervals.
    """
    # A softmax can be rounded to a little more than 1.
    confidences = probabilities.max(1).astype(np.float64).clip(max=1.0)
    correct = predictions(probabilities) == labels
    edges = np.linspace(0, 1, bins + 1)
    place = np.searchsorted(edges, confidences, side="left") - 1
    rows = []
    for i in range(bins):
        inside = place == i
        low, high, count = float(edges[i]), float(edges[i + 1]), int(inside.sum())
        if not count:
            rows.append(Bin(low, high, 0, None, None, None, None))
            continue
        n_correct = int(correct[inside].sum())
        interval = wilson_interval(n_correct, count, confidence)
        mean = float(confidences[inside].mean())
        rows.append(Bin(low, high, count, mean, n_correct / count, *interval))
    return rows


def calibration_error(bins: Sequence[Bin]) -> float:
    """The expected calibration error (Naeini et al. 2015, Guo et al. 2017), in [0, 1].

    The mean distance of confidence and accuracy over the bins, weighted by their counts.
    """
    total = sum(row.count for row in bins)
    return sum(
        row.count / total * abs(row.accuracy - row.confidence)
        for row in bins
        if row.accuracy is not None and row.confidence is not None
    )


def most_confused(matrix: NDArray[np.int64], count: int) -> list[tuple[int, int, int]]:
    """The pairs of classes that are confused most often.

    Args:
        matrix: from `confusion_matrix`.
        count: how many, 1 or more. Pairs as frequent as the last of them are there as well, unless
            they have one example.

    Returns:
        True class, predicted class, and the number of examples, 1 or more.
    """
    pairs = [
        (true, predicted, int(matrix[true, predicted]))
        for true, predicted in np.argwhere(matrix).tolist()
        if true != predicted
    ]
    pairs.sort(key=lambda pair: -pair[2])
    least = pairs[:count][-1][2] if pairs else 1
    return pairs[:count] + [pair for pair in pairs[count:] if pair[2] == least > 1]


def worst_mistakes(labels: Labels, probabilities: Probabilities, count: int) -> NDArray[np.int64]:
    """The indices of at most `count` wrong predictions, the most confident first."""
    wrong = np.flatnonzero(predictions(probabilities) != labels)
    return wrong[np.argsort(-probabilities[wrong].max(1), kind="stable")][:count]


def _one_hot(labels: Labels, classes: int) -> NDArray[np.int64]:
    """`(n, classes)`, 1 in the column of the label. Raises `ValueError` if a class is missing."""
    truth = np.eye(classes, dtype=np.int64)[labels]
    if not truth.any(0).all():
        raise ValueError("an area under a curve needs examples of every class")
    return truth
