"""Metrics: worked by hand on small inputs, and compared with slow, plain definitions."""

import json
import math

from mnist_cnn.evaluation import metrics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

few_examples = settings(max_examples=20)  # a call of scikit-learn takes milliseconds

# Three mistakes: a 0 predicted as 6, a 4 as 9 and a 7 as 9.
# fmt: off
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9])
PREDICTED = np.array([0, 0, 0, 6, 1, 1, 2, 2, 3, 3, 4, 9, 5, 5, 6, 6, 7, 9, 8, 8, 9, 9])
# fmt: on
EVERY_CLASS_TWICE = np.arange(10).repeat(2)


def rows(predictions, confidences):
    """Probabilities with these predictions and confidences; the other classes share the rest."""
    predictions = np.asarray(predictions)
    confidences = np.broadcast_to(confidences, predictions.shape)
    probabilities = ((1 - confidences) / 9)[:, None].repeat(10, axis=1)
    probabilities[np.arange(len(predictions)), predictions] = confidences
    return probabilities


THREE_MISTAKES = LABELS, rows(PREDICTED, 0.7)


@st.composite
def inputs(draw):
    """Labels of every class, and probabilities with many ties."""
    labels = draw(st.permutations([*range(10), *draw(st.lists(st.integers(0, 9), max_size=15))]))
    row = st.lists(st.integers(1, 4), min_size=10, max_size=10)
    weights = np.array(draw(st.lists(row, min_size=len(labels), max_size=len(labels))), float)
    return np.array(labels), weights / weights.sum(1, keepdims=True)


def summary(labels, probabilities, *, confidence=0.95, bins=10):
    """All metrics by name."""
    example = labels, probabilities
    return {
        **metrics.accuracy(*example, confidence=confidence),
        **metrics.averages(*example),
        "roc_auc_macro": metrics.roc_auc(*example),
        "average_precision_macro": metrics.average_precision(*example),
        "log_loss": metrics.log_loss(*example),
        "calibration_error": metrics.calibration_error(
            metrics.reliability(*example, bins, confidence=confidence)
        ),
    }


def per_class(labels, probabilities):
    """The columns of the table, by name."""
    table = metrics.per_class(labels, probabilities, confidence=0.95)
    return {name: [row[name] for row in table] for name in table[0]}


def areas(curves):
    return {name: curve.area for name, curve in curves.items()}


@pytest.mark.parametrize(
    ("successes", "total", "low", "high"),
    [  # Newcombe (1998), Statistics in Medicine 17, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0000, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_interval_has_the_published_values(successes, total, low, high):
    found = metrics.wilson_interval(successes, total, 0.95)
    assert found == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.959963984540), (0.99, 2.575829303549)])
@given(total=st.integers(1, 10_000), fraction=st.floats(0, 1))
def test_wilson_interval_is_its_formula(confidence, z, total, fraction):
    p = round(fraction * total) / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    found = metrics.wilson_interval(round(fraction * total), total, confidence)
    assert found == pytest.approx((centre - half, centre + half), abs=1e-9)


@given(
    total=st.integers(1, 10_000), fraction=st.floats(0, 1), confidence=st.floats(0.001, 1 - 1e-9)
)
def test_wilson_interval_contains_the_proportion(total, fraction, confidence):
    successes = round(fraction * total)
    low, high = metrics.wilson_interval(successes, total, confidence)
    assert 0 <= low <= successes / total <= high <= 1


def test_the_prediction_is_the_most_probable_class_and_the_first_of_equals():
    probabilities = rows([4, 0, 9], [0.4, 0.1, 0.2])
    probabilities[2, 7] = 0.2
    assert metrics.predictions(probabilities).tolist() == [4, 0, 7]


EXPECTED_SUMMARY = {
    "accuracy": 19 / 22,
    "mistakes": 3,
    "examples": 22,
    "balanced_accuracy": (3 / 4 + 1 / 2 + 1 / 2 + 7) / 10,
    "recall_macro": (3 / 4 + 1 / 2 + 1 / 2 + 7) / 10,
    "recall_weighted": 19 / 22,
    "precision_macro": (2 / 3 + 2 / 4 + 8) / 10,
    "precision_weighted": (2 * 2 / 3 + 2 * 2 / 4 + 18) / 22,
    # F1 is 2 correct / (support + predicted): 0, 4, 6, 7, 9, and five classes without a mistake.
    "f1_macro": (6 / 7 + 2 / 3 + 4 / 5 + 2 / 3 + 4 / 6 + 5) / 10,
    "f1_weighted": (4 * 6 / 7 + 2 * (2 / 3 + 4 / 5 + 2 / 3 + 4 / 6 + 5)) / 22,
    # Chance agreement: supports 4, 2, … times predictions 3, 1, 3, 1, 4 and 2, … are 50 of 22².
    "cohen_kappa": (19 / 22 - 50 / 22**2) / (1 - 50 / 22**2),
    # Gorodkin (2004): the squares of the predictions add up to 56, those of the supports to 52.
    "matthews_correlation": (19 * 22 - 50) / math.sqrt((22**2 - 56) * (22**2 - 52)),
    "log_loss": -(19 * math.log(0.7) + 3 * math.log(0.3 / 9)) / 22,
}


@pytest.mark.parametrize("name", EXPECTED_SUMMARY)
def test_the_summary_of_three_mistakes_is_as_worked_by_hand(name):
    assert summary(*THREE_MISTAKES)[name] == pytest.approx(EXPECTED_SUMMARY[name], rel=1e-12)


def test_intervals_have_the_given_confidence_level():
    total = summary(*THREE_MISTAKES, confidence=0.8)
    first = metrics.per_class(*THREE_MISTAKES, confidence=0.8)[0]
    for row, successes in ((total, (19, 22)), (first, (3, 4))):
        interval = row["accuracy_low"], row["accuracy_high"]
        assert interval == metrics.wilson_interval(*successes, 0.8)


def test_the_metrics_of_each_class_of_three_mistakes_are_as_worked_by_hand():
    columns = per_class(*THREE_MISTAKES)
    assert columns["class"] == list(range(10))
    assert columns["support"] == [4, *[2] * 9]
    assert columns["accuracy"] == [3 / 4, 1, 1, 1, 1 / 2, 1, 1, 1 / 2, 1, 1]
    assert columns["precision"] == pytest.approx([1, 1, 1, 1, 1, 1, 2 / 3, 1, 1, 2 / 4])
    assert columns["f1"] == pytest.approx([6 / 7, 1, 1, 1, 2 / 3, 1, 4 / 5, 2 / 3, 1, 4 / 6])


def test_rows_of_the_confusion_matrix_are_true_classes_and_columns_predictions():
    expected = np.diag([3, 2, 2, 2, 1, 2, 2, 1, 2, 2])
    expected[0, 6] = expected[4, 9] = expected[7, 9] = 1
    np.testing.assert_array_equal(metrics.confusion_matrix(*THREE_MISTAKES), expected)

    absent_classes = metrics.confusion_matrix(np.array([2, 2]), rows([2, 8], 0.7))
    assert absent_classes.shape == (10, 10)
    assert (absent_classes[2, 2], absent_classes[2, 8]) == (1, 1)


def test_the_most_confused_classes_come_first():
    matrix = np.diag([90] * 10)
    matrix[4, 9], matrix[7, 2], matrix[0, 6] = 3, 5, 3

    assert metrics.most_confused(matrix, 10) == [(7, 2, 5), (0, 6, 3), (4, 9, 3)]
    assert metrics.most_confused(matrix, 1) == [(7, 2, 5)]
    assert metrics.most_confused(matrix, 2) == [(7, 2, 5), (0, 6, 3), (4, 9, 3)]
    assert metrics.most_confused(np.eye(10, dtype=np.int64), 5) == []
    assert len(metrics.most_confused(np.ones((10, 10), np.int64), 5)) == 5


@few_examples
@given(inputs(), st.integers(0, 30))
def test_worst_mistakes_are_the_wrong_predictions_in_order_of_confidence(example, count):
    labels, probabilities = example
    mistakes = [
        (-max(row), i)
        for i, row in enumerate(probabilities.tolist())
        if row.index(max(row)) != labels[i]
    ]
    expected = [i for _, i in sorted(mistakes)][:count]
    assert metrics.worst_mistakes(labels, probabilities, count).tolist() == expected


def test_the_calibration_error_of_two_bins_is_as_worked_by_hand():
    labels = np.array([0, 7, 2, 3, 7, 5])
    probabilities = rows([0, 1, 2, 3, 4, 5], [0.3, 0.5, 0.6, 0.9, 0.9, 0.8])
    first, second = metrics.reliability(labels, probabilities, 2, confidence=0.95)
    assert (first.low, first.high, first.count) == (0, 0.5, 2)
    assert (first.confidence, first.accuracy) == pytest.approx((0.4, 0.5))
    assert (second.low, second.high, second.count) == (0.5, 1, 4)
    assert (second.confidence, second.accuracy) == pytest.approx((0.8, 0.75))
    interval = metrics.wilson_interval(3, 4, 0.95)
    assert (second.accuracy_low, second.accuracy_high) == interval
    assert metrics.calibration_error([first, second]) == pytest.approx((2 * 0.1 + 4 * 0.05) / 6)


@pytest.mark.parametrize(
    ("confidence", "bin_"), [(0.25, 0), (0.5, 1), (np.nextafter(0.5, 1), 2), (1.0, 3)]
)
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(confidence, bin_):
    bins = metrics.reliability(np.array([3]), rows([3], confidence), 4, confidence=0.95)
    assert [row.count for row in bins] == [int(i == bin_) for i in range(4)]


def test_a_confidence_rounded_above_1_belongs_to_the_last_bin():
    probabilities = np.eye(10)[:1] * (1 + 2e-7)
    last = metrics.reliability(np.array([0]), probabilities, 4, confidence=0.95)[-1]
    assert (last.count, last.confidence) == (1, 1)


@few_examples
@given(inputs(), st.integers(1, 20))
def test_reliability_is_its_definition(example, bins):
    labels, probabilities = example
    found = metrics.reliability(labels, probabilities, bins, confidence=0.95)
    assert [row.low for row in found] == pytest.approx([i / bins for i in range(bins)])
    assert [row.high for row in found] == pytest.approx([(i + 1) / bins for i in range(bins)])
    assert sum(row.count for row in found) == len(labels)
    error = 0.0
    for row in found:
        members = [
            (max(p), p.index(max(p)) == label)
            for label, p in zip(labels, probabilities.tolist(), strict=True)
            if row.low < max(p) <= row.high
        ]
        assert row.count == len(members)
        if members:
            confidence, accuracy = np.mean(members, axis=0)
            assert (row.confidence, row.accuracy) == pytest.approx((confidence, accuracy))
            error += len(members) / len(labels) * abs(confidence - accuracy)
        else:
            assert (row.confidence, row.accuracy) == (None, None)
    assert metrics.calibration_error(found) == pytest.approx(error)
    total = summary(labels, probabilities, bins=bins)
    assert total["calibration_error"] == pytest.approx(error)


def auc_by_pairs(is_class, score):
    """The probability that a positive has a higher score than a negative; ties count half."""
    wins = [(p > n) + (p == n) / 2 for p in score[is_class] for n in score[~is_class]]
    return np.mean(wins)


def average_precision_by_threshold(is_class, score):
    """The precision at every threshold, weighted by the gain in recall."""
    total = previous = 0.0
    for threshold in sorted(set(score), reverse=True):
        chosen = is_class[score >= threshold]
        recall = chosen.sum() / is_class.sum()
        total += (recall - previous) * chosen.mean()
        previous = recall
    return total


@few_examples
@given(inputs())
def test_areas_under_curves_are_their_definitions(example):
    labels, probabilities = example
    decisions = [(labels == k, probabilities[:, k]) for k in range(10)]
    columns, total = per_class(*example), summary(*example)

    aucs = [auc_by_pairs(*decision) for decision in decisions]
    curves = areas(metrics.roc_curves(*example))
    assert [curves[str(k)] for k in range(10)] == pytest.approx(aucs)
    assert columns["roc_auc"] == pytest.approx(aucs)
    assert curves["macro"] == pytest.approx(np.mean(aucs))
    assert total["roc_auc_macro"] == pytest.approx(np.mean(aucs))
    truth = labels[:, None] == np.arange(10)
    micro = roc_auc_score(truth, probabilities, average="micro")
    assert curves["micro"] == pytest.approx(micro)

    precisions = [average_precision_by_threshold(*decision) for decision in decisions]
    curves = areas(metrics.precision_recall_curves(*example))
    assert [curves[str(k)] for k in range(10)] == pytest.approx(precisions)
    assert columns["average_precision"] == pytest.approx(precisions)
    assert total["average_precision_macro"] == pytest.approx(np.mean(precisions))
    micro = average_precision_by_threshold(truth.ravel(), probabilities.ravel())
    assert curves["micro"] == pytest.approx(micro)


@few_examples
@given(inputs())
def test_points_of_a_precision_recall_curve_are_those_of_thresholds(example):
    labels, probabilities = example
    curve = metrics.precision_recall_curves(labels, probabilities)["3"]
    is_class, score = labels == 3, probabilities[:, 3]
    chosen = [is_class[score >= threshold] for threshold in set(score)]
    expected = [(each.sum() / is_class.sum(), each.mean()) for each in chosen]
    for point in zip(curve.x[1:], curve.y[1:], strict=True):
        assert point in [pytest.approx(each) for each in expected]
    assert (curve.x[0], curve.y[0], curve.x[-1]) == (0, 1, 1)
    assert (np.diff(curve.x) >= 0).all()


@few_examples
@given(inputs())
def test_roc_curves_rise_from_corner_to_corner_above_their_area(example):
    for name, curve in metrics.roc_curves(*example).items():
        assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1), name
        assert (np.diff(curve.x) >= 0).all(), name
        assert (np.diff(curve.y) >= -1e-12).all(), name
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.area), name


def tpr_at(is_class, score, fpr):
    """The true positive rate at a false positive rate; the highest where the curve is vertical."""
    points = [(0.0, 0.0)] + [
        ((score[~is_class] >= threshold).mean(), (score[is_class] >= threshold).mean())
        for threshold in sorted(set(score), reverse=True)
    ]
    x0, y0 = max(point for point in points if point[0] <= fpr)
    x1, y1 = min((point for point in points if point[0] > fpr), default=(2.0, 1.0))
    return y0 + (y1 - y0) * (fpr - x0) / (x1 - x0)


@few_examples
@given(inputs())
def test_the_macro_roc_curve_is_the_mean_of_those_of_the_classes(example):
    labels, probabilities = example
    curves = metrics.roc_curves(labels, probabilities)
    macro = curves["macro"]
    rates = np.unique(macro.x)
    highest = [macro.y[macro.x == rate].max() for rate in rates]
    expected = [
        np.mean([tpr_at(labels == k, probabilities[:, k], rate) for k in range(10)])
        for rate in rates
    ]
    assert highest == pytest.approx(expected)
    assert all(set(curves[str(k)].x) <= set(rates) for k in range(10))


@settings(max_examples=10)
@given(inputs(), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_has_no_effect(example, random):
    labels, probabilities = example
    order = random.sample(range(len(labels)), len(labels))
    shuffled = labels[order], probabilities[order]

    assert summary(*shuffled) == pytest.approx(summary(*example))
    assert areas(metrics.roc_curves(*shuffled)) == pytest.approx(
        areas(metrics.roc_curves(*example))
    )
    table, expected = per_class(*shuffled), per_class(*example)
    assert {name: pytest.approx(column) for name, column in table.items()} == expected
    np.testing.assert_array_equal(
        metrics.confusion_matrix(*shuffled), metrics.confusion_matrix(*example)
    )


def test_a_perfect_classifier_has_the_best_value_of_every_metric():
    perfect = EVERY_CLASS_TWICE, np.eye(10)[EVERY_CLASS_TWICE]
    found = summary(*perfect)
    for name in ("mistakes", "log_loss", "calibration_error"):
        assert found.pop(name) == pytest.approx(0)
    assert 0.8 < found.pop("accuracy_low") < 1
    assert found.pop("examples") == 20
    assert found == pytest.approx(dict.fromkeys(found, 1))
    for curves in (metrics.roc_curves(*perfect), metrics.precision_recall_curves(*perfect)):
        assert areas(curves) == dict.fromkeys(curves, 1)
    assert not metrics.worst_mistakes(*perfect, 5).size


def test_uniform_probabilities_have_the_metrics_of_chance():
    uniform = EVERY_CLASS_TWICE, np.full((20, 10), 0.1)
    expected = {
        "roc_auc_macro": 0.5,
        "average_precision_macro": 0.1,
        "cohen_kappa": 0,
        "matthews_correlation": 0,
        "log_loss": math.log(10),
        "calibration_error": 0,
    }
    found = summary(*uniform)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    curves = metrics.roc_curves(*uniform)
    assert areas(curves) == pytest.approx(dict.fromkeys(curves, 0.5))


def test_a_class_that_is_never_predicted_has_precision_0_in_the_averages():
    always_0 = EVERY_CLASS_TWICE, rows([0] * 20, 0.7)
    found = summary(*always_0)
    assert found["precision_macro"] == found["precision_weighted"] == pytest.approx(0.1 / 10)
    assert found["f1_macro"] == pytest.approx(2 / 11 / 10)
    assert per_class(*always_0)["precision"] == pytest.approx([0.1, *[0] * 9])


@pytest.mark.parametrize(
    "metric", [summary, per_class, metrics.roc_curves, metrics.precision_recall_curves]
)
def test_an_absent_class_is_an_error(metric):
    labels = np.arange(9)
    with pytest.raises(ValueError, match="needs examples of every class"):
        metric(labels, rows(labels, 0.7))


@pytest.mark.parametrize(
    "probabilities",
    [
        pytest.param(np.eye(10)[EVERY_CLASS_TWICE], id="perfect"),
        pytest.param(np.eye(10)[(EVERY_CLASS_TWICE + 1) % 10], id="always wrong"),
        pytest.param(np.eye(10)[np.zeros(20, int)], id="always 0"),
        pytest.param(np.full((20, 10), 0.1), id="uniform"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_metrics_are_finite_numbers_that_json_can_hold(probabilities):
    for metric in (summary, per_class):
        found = metric(EVERY_CLASS_TWICE, probabilities)
        assert json.loads(json.dumps(found, allow_nan=False)) == found
