"""The files of a report are complete and agree with each other."""

import json

from mnist_cnn.evaluation import report
from mnist_cnn.evaluation.params import Evaluate

import numpy as np
import pandas as pd
import pytest

EVALUATE = Evaluate(threads=1, test_size=200, confidence=0.9, calibration_bins=4, worst_mistakes=3)


@pytest.fixture(scope="module")
def result():
    """A report about 200 predictions, some of them wrong."""
    labels = np.arange(200) % 10
    weights = np.random.default_rng(0).random((200, 10)) ** 3 + 0.8 * np.eye(10)[labels]
    return report.compute(labels, weights / weights.sum(1, keepdims=True), EVALUATE)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report.write(result, np.zeros((200, 28, 28), np.uint8), "0123456789", folder)
    return folder


@pytest.fixture(scope="module")
def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def per_class(folder):
    return pd.DataFrame(json.loads((folder / "per_class.json").read_text()))


def test_every_file_is_written(folder):
    plots = ("confusion_matrix", "mistakes", "per_class_accuracy", "reliability", "roc")
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.*")) == sorted(
        [
            *("metrics.json", "per_class.json", "classification_report.json"),
            *("predictions.csv", "confusion_matrix.csv", "reliability.csv"),
            *("roc.csv", "precision_recall.csv", "plots/precision_recall.png"),
            *(f"plots/{name}.png" for name in plots),
        ]
    )


def test_the_predictions_give_the_same_metrics(folder, metrics):
    table = pd.read_csv(folder / "predictions.csv")
    probabilities = table[[f"p{k}" for k in range(10)]].to_numpy()
    recomputed = report.compute(table["label"].to_numpy(), probabilities, EVALUATE)
    assert recomputed.summary == pytest.approx(metrics, rel=1e-12)

    assert (table["prediction"] == probabilities.argmax(1)).all()
    wrong = table[table["label"] != table["prediction"]]
    assert len(wrong) == metrics["mistakes"] > EVALUATE.worst_mistakes
    assert len(table) == metrics["examples"]


def test_the_worst_mistakes_are_the_most_confident(result):
    wrong = result.probabilities.argmax(1) != result.labels
    confidences = result.probabilities.max(1)
    highest = sorted(confidences[wrong], reverse=True)
    assert list(confidences[result.mistakes]) == highest[: EVALUATE.worst_mistakes]


def test_classes_add_up_to_the_whole(folder, metrics, per_class):
    assert per_class["support"].sum() == metrics["examples"]
    mean = np.average(per_class["accuracy"], weights=per_class["support"])
    assert mean == pytest.approx(metrics["accuracy"])
    for column, name in (("roc_auc", "roc_auc_macro"), ("f1", "f1_macro")):
        assert per_class[column].mean() == pytest.approx(metrics[name])

    counts = pd.read_csv(folder / "confusion_matrix.csv", index_col="true").to_numpy()
    assert counts.sum(1).tolist() == per_class["support"].tolist()
    assert np.trace(counts) == metrics["examples"] - metrics["mistakes"]

    report = json.loads((folder / "classification_report.json").read_text())
    assert report["accuracy"] == metrics["accuracy"]
    assert [report[str(k)]["f1-score"] for k in range(10)] == per_class["f1"].tolist()


def test_bins_add_up_to_the_whole(folder, metrics):
    bins = pd.read_csv(folder / "reliability.csv")
    assert len(bins) == EVALUATE.calibration_bins
    assert bins["count"].sum() == metrics["examples"]
    assert (bins["count"] * bins["accuracy"].fillna(0)).sum() == pytest.approx(
        metrics["examples"] - metrics["mistakes"]
    )
    distances = bins["count"] * (bins["accuracy"] - bins["confidence"]).abs()
    assert distances.sum() / metrics["examples"] == pytest.approx(metrics["calibration_error"])


def test_the_points_of_curves_have_the_areas_of_the_metrics(folder, metrics, per_class):
    roc = dict(iter(pd.read_csv(folder / "roc.csv").groupby("class")))
    assert roc.keys() == {*"0123456789", "micro", "macro"}
    areas = {name: np.trapezoid(curve["tpr"], curve["fpr"]) for name, curve in roc.items()}
    assert areas["macro"] == pytest.approx(metrics["roc_auc_macro"])
    assert [areas[str(k)] for k in range(10)] == pytest.approx(per_class["roc_auc"].tolist())

    curves = dict(iter(pd.read_csv(folder / "precision_recall.csv").groupby("class")))
    assert curves.keys() == {*"0123456789", "micro"}
    areas = [
        (curves[str(k)]["recall"].diff() * curves[str(k)]["precision"]).sum() for k in range(10)
    ]
    assert np.mean(areas) == pytest.approx(metrics["average_precision_macro"])
