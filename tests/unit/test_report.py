"""The files of a report are complete and agree with each other."""

import json
from dataclasses import replace

from mnist_cnn.errors import UserError
from mnist_cnn.evaluation import model_card, report
from mnist_cnn.evaluation.params import Evaluate
from mnist_cnn.evaluation.parts import PARTS, Part
from mnist_cnn.evaluation.predicted import Corrupted, Predicted, Scores

import numpy as np
import pandas as pd
import pytest
from examples import FACTS
from matplotlib.figure import Figure

EVALUATE = Evaluate(
    threads=1,
    test_size=200,
    confidence=0.9,
    calibration_bins=4,
    worst_mistakes=3,
    corrupted_size=100,
)


@pytest.fixture(scope="module")
def predicted():
    """200 predictions, some of them wrong."""
    labels = np.arange(200) % 10
    weights = np.random.default_rng(0).random((200, 10)) ** 3 + 0.8 * np.eye(10)[labels]
    return predict(labels, weights / weights.sum(1, keepdims=True))


def predict(labels, probabilities):
    images = np.zeros((len(labels), 1, 28, 28), np.uint8)
    count = len(labels)
    scores = Scores(probabilities, np.linspace(-0.1, 0.9, count))
    return Predicted(
        images=images,
        labels=labels,
        probabilities=probabilities,
        classes="0123456789",
        uncalibrated=probabilities,
        familiarity=scores.familiarity,
        disputed=np.arange(count) == 3,
        unusual={"noise": Scores(probabilities, scores.familiarity - 0.5)},
        corrupted={"fog": Corrupted(images[0], np.arange(count) % 4 > 0)},
    )


@pytest.fixture(scope="module")
def folder(predicted, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    report.write(report.compute(predicted, EVALUATE), folder)
    return folder


@pytest.fixture(scope="module")
def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture(scope="module")
def per_class(folder):
    return read(folder, "per_class")


def read(folder, name, **options):
    return pd.read_csv(folder / f"tables/{name}.csv", **options)


def test_every_file_is_written(folder):
    both = ("confusion_matrix", "precision_recall", "reliability", "roc")
    tables = (*both, "averages", "per_class", "predictions")
    plots = (*both, "mistakes", "per_class_accuracy")
    assert {str(path.relative_to(folder)) for path in folder.rglob("*.*")} >= {
        "metrics.json",
        *(f"tables/{name}.csv" for name in tables),
        *(f"plots/{name}.png" for name in plots),
    }


def test_the_predictions_give_the_same_metrics(folder, metrics):
    table = read(folder, "predictions")
    probabilities = table[[f"p{k}" for k in range(10)]].to_numpy()
    parts = report.compute(predict(table["label"].to_numpy(), probabilities), EVALUATE)
    summary = {f"test_{name}": value for name, value in report.summary(parts).items()}
    assert summary == pytest.approx(metrics, rel=1e-12)

    assert (table["prediction"] == probabilities.argmax(1)).all()
    wrong = table[table["label"] != table["prediction"]]
    assert len(wrong) == metrics["test_mistakes"] > EVALUATE.worst_mistakes
    assert len(table) == metrics["test_examples"]


def test_classes_add_up_to_the_whole(folder, metrics, per_class):
    assert per_class["support"].sum() == metrics["test_examples"]
    mean = np.average(per_class["accuracy"], weights=per_class["support"])
    assert mean == pytest.approx(metrics["test_accuracy"])
    for column, name in (("roc_auc", "test_roc_auc_macro"), ("f1", "test_f1_macro")):
        assert per_class[column].mean() == pytest.approx(metrics[name])

    counts = read(folder, "confusion_matrix", index_col="true").to_numpy()
    assert counts.sum(1).tolist() == per_class["support"].tolist()
    assert np.trace(counts) == metrics["test_examples"] - metrics["test_mistakes"]


def test_bins_add_up_to_the_whole(folder, metrics):
    bins = read(folder, "reliability")
    assert len(bins) == EVALUATE.calibration_bins
    assert bins["count"].sum() == metrics["test_examples"]
    assert (bins["count"] * bins["accuracy"].fillna(0)).sum() == pytest.approx(
        metrics["test_examples"] - metrics["test_mistakes"]
    )
    distances = bins["count"] * (bins["accuracy"] - bins["confidence"]).abs()
    error = distances.sum() / metrics["test_examples"]
    assert error == pytest.approx(metrics["test_calibration_error"])


def test_the_points_of_curves_have_the_areas_of_the_metrics(folder, metrics, per_class):
    roc = dict(iter(read(folder, "roc").groupby("class")))
    assert roc.keys() == {*"0123456789", "micro", "macro"}
    areas = {name: np.trapezoid(curve["tpr"], curve["fpr"]) for name, curve in roc.items()}
    assert areas["macro"] == pytest.approx(metrics["test_roc_auc_macro"])
    assert [areas[str(k)] for k in range(10)] == pytest.approx(per_class["roc_auc"].tolist())

    curves = dict(iter(read(folder, "precision_recall").groupby("class")))
    assert curves.keys() == {*"0123456789", "micro"}
    areas = [
        (curves[str(k)]["recall"].diff() * curves[str(k)]["precision"]).sum() for k in range(10)
    ]
    assert areas == pytest.approx(per_class["average_precision"].tolist())


def test_a_new_part_is_in_the_metrics_the_files_and_the_card(predicted, tmp_path, monkeypatch):
    def entropy(test, _evaluate):
        value = float(-(test.probabilities * np.log(test.probabilities)).sum(1).mean())
        return Part(
            metrics={"entropy": value},
            tables={"entropy": [{"entropy": value}]},
            plots={"entropy": Figure()},
            card={"entropy, nats": f"{value:.4f}"},
        )

    monkeypatch.setattr(report, "PARTS", (*PARTS, entropy))
    parts = report.compute(predicted, EVALUATE)
    report.write(parts, tmp_path)

    value = json.loads((tmp_path / "metrics.json").read_text())["test_entropy"]
    assert read(tmp_path, "entropy")["entropy"].tolist() == [value]
    assert (tmp_path / "plots/entropy.png").exists()
    card = model_card.render(replace(FACTS, summary=report.summary(parts), evaluation=parts))
    assert f"| entropy, nats | {value:.4f} |" in card


@pytest.mark.parametrize("kind", ["tables", "plots"])
def test_two_parts_with_files_of_one_name_are_refused(predicted, kind, tmp_path):
    parts = [*report.compute(predicted, EVALUATE), Part(**{kind: {"roc": []}})]
    with pytest.raises(UserError, match=f"two parts of the evaluation have {kind} named roc"):
        report.write(parts, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("metrics", "reason"),
    [
        ({"accuracy": 1.0}, "two parts of the evaluation have a metric accuracy"),
        ({"mine": float("nan")}, "the metric mine is nan"),
        ({"top 3, %": 1.0}, "'top 3, %' is no name for a metric"),
    ],
)
def test_a_part_with_a_wrong_metric_is_named(predicted, metrics, reason):
    parts = [*report.compute(predicted, EVALUATE), Part(metrics=metrics)]
    with pytest.raises(UserError, match=reason):
        report.summary(parts)
