"""Figures of merit: worked by hand on small inputs, and against slow plain tellings of them."""

import json
import math

from mnist_cnn import metrics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

# A call of scikit-learn takes milliseconds, and another program may have the processor.
few_examples = settings(deadline=None, max_examples=20)

TEN = np.arange(10)
EVERY_CLASS_TWICE = TEN.repeat(2)

# Three mistakes: a 0 taken for 6, a 4 taken for 9, a 7 taken for 9.
# fmt: off
LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9])
GUESSES = np.array([0, 0, 0, 6, 1, 1, 2, 2, 3, 3, 4, 9, 5, 5, 6, 6, 7, 9, 8, 8, 9, 9])
# fmt: on


def rows(guesses, confidences):
    """Rows that give each guess its confidence, and the other nine classes equal shares."""
    guesses, confidences = np.asarray(guesses), np.asarray(confidences, float)
    probabilities = ((1 - confidences) / 9)[:, None].repeat(10, axis=1)
    probabilities[np.arange(len(guesses)), guesses] = confidences
    return probabilities


@st.composite
def answers(draw):
    """Labels among which each class occurs, and probabilities among which ties are common."""
    labels = draw(st.permutations([*range(10), *draw(st.lists(st.integers(0, 9), max_size=15))]))
    weight = st.integers(1, 4)
    weights = draw(
        st.lists(
            st.lists(weight, min_size=10, max_size=10),
            min_size=len(labels),
            max_size=len(labels),
        )
    )
    weights = np.array(weights, float)
    return np.array(labels), weights / weights.sum(1, keepdims=True)


def summary(labels, probabilities, bins=10):
    return metrics.summary(labels, probabilities, confidence=0.95, bins=bins)


@pytest.mark.parametrize(
    ("hits", "total", "confidence", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, table I, method 3.
        pytest.param(81, 263, 0.95, 0.2553, 0.3662, id="Newcombe-81-of-263"),
        pytest.param(15, 148, 0.95, 0.0624, 0.1605, id="Newcombe-15-of-148"),
        pytest.param(0, 20, 0.95, 0.0000, 0.1611, id="Newcombe-0-of-20"),
        pytest.param(1, 29, 0.95, 0.0061, 0.1718, id="Newcombe-1-of-29"),
    ],
)
def test_wilson_interval_has_the_textbook_value(hits, total, confidence, low, high):
    found = metrics.wilson_interval(hits, total, confidence)
    assert found == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("confidence", "z"),
    [
        pytest.param(0.95, 1.959963984540054, id="95%"),
        pytest.param(0.99, 2.5758293035489004, id="99%"),
    ],
)
@settings(deadline=None)
@given(total=st.integers(1, 10_000), share=st.floats(0, 1))
def test_wilson_interval_is_the_closed_formula(confidence, z, total, share):
    p = round(share * total) / total
    centre = (p + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z / (1 + z**2 / total) * math.sqrt(p * (1 - p) / total + z**2 / (4 * total**2))
    found = metrics.wilson_interval(round(share * total), total, confidence)
    assert found == pytest.approx((centre - half, centre + half), abs=1e-9)


@settings(deadline=None)
@given(total=st.integers(1, 10_000), share=st.floats(0, 1), confidence=st.floats(0.001, 1 - 1e-9))
def test_wilson_interval_holds_the_proportion_and_stays_in_range(total, share, confidence):
    hits = round(share * total)
    low, high = metrics.wilson_interval(hits, total, confidence)
    assert 0 <= low <= hits / total <= high <= 1


def test_a_higher_confidence_widens_wilson_interval():
    narrow, wide = (metrics.wilson_interval(90, 100, c) for c in (0.9, 0.99))
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_the_prediction_is_the_most_probable_class_and_the_first_of_equals():
    probabilities = rows([4, 0, 9], [0.4, 0.1, 0.2])
    probabilities[2, 7] = 0.2
    assert metrics.predicted(probabilities).tolist() == [4, 0, 7]


THREE_MISTAKES = {
    "accuracy": 19 / 22,
    "mistakes": 3,
    "examples": 22,
    "balanced_accuracy": (3 / 4 + 1 / 2 + 1 / 2 + 7) / 10,
    "recall_macro": (3 / 4 + 1 / 2 + 1 / 2 + 7) / 10,
    "recall_weighted": 19 / 22,
    "precision_macro": (2 / 3 + 2 / 4 + 8) / 10,
    "precision_weighted": (2 * 2 / 3 + 2 * 2 / 4 + 18) / 22,
    # F1 is 2 hits / (support + guesses): 0, 4, 6, 7, 9, and five classes without a fault.
    "f1_macro": (6 / 7 + 2 / 3 + 4 / 5 + 2 / 3 + 4 / 6 + 5) / 10,
    "f1_weighted": (4 * 6 / 7 + 2 * (2 / 3 + 4 / 5 + 2 / 3 + 4 / 6 + 5)) / 22,
    # Chance agreement: supports 4, 2, … times guesses 3, 1, 3, 1, 4 and 2, … are 50 of 22².
    "cohen_kappa": (19 / 22 - 50 / 22**2) / (1 - 50 / 22**2),
    # Gorodkin (2004): the squares of the guesses add up to 56, those of the supports to 52.
    "matthews_correlation": (19 * 22 - 50) / math.sqrt((22**2 - 56) * (22**2 - 52)),
    "log_loss": -(19 * math.log(0.7) + 3 * math.log(0.3 / 9)) / 22,
}


@pytest.mark.parametrize("name", THREE_MISTAKES)
def test_the_summary_of_three_mistakes_is_as_worked_by_hand(name):
    found = summary(LABELS, rows(GUESSES, [0.7] * 22))
    assert found[name] == pytest.approx(THREE_MISTAKES[name], rel=1e-12)


def test_the_summary_has_the_interval_of_its_accuracy():
    probabilities = rows(GUESSES, [0.7] * 22)
    found = metrics.summary(LABELS, probabilities, confidence=0.8, bins=10)
    interval = found["accuracy_low"], found["accuracy_high"]
    assert interval == metrics.wilson_interval(19, 22, 0.8)


def test_per_class_figures_of_three_mistakes_are_as_worked_by_hand():
    found = metrics.per_class(LABELS, rows(GUESSES, [0.7] * 22), confidence=0.9)
    column = {name: [row[name] for row in found] for name in found[0]}
    assert column["class"] == list(range(10))
    assert column["support"] == [4, *[2] * 9]
    assert column["accuracy"] == [3 / 4, 1, 1, 1, 1 / 2, 1, 1, 1 / 2, 1, 1]
    assert column["precision"] == pytest.approx([1, 1, 1, 1, 1, 1, 2 / 3, 1, 1, 2 / 4])
    assert column["f1"] == pytest.approx([6 / 7, 1, 1, 1, 2 / 3, 1, 4 / 5, 2 / 3, 1, 4 / 6])
    assert (column["accuracy_low"][0], column["accuracy_high"][0]) == (
        metrics.wilson_interval(3, 4, 0.9)
    )


def test_the_row_of_the_confusion_matrix_is_the_truth_and_the_column_the_guess():
    expected = np.diag([3, 2, 2, 2, 1, 2, 2, 1, 2, 2])
    expected[0, 6] = expected[4, 9] = expected[7, 9] = 1
    found = metrics.confusion_matrix(LABELS, rows(GUESSES, [0.7] * 22))
    np.testing.assert_array_equal(found, expected)


def test_confusions_are_the_pairs_that_are_confused_the_most_frequent_first():
    matrix = np.diag([90] * 10)
    matrix[4, 9], matrix[7, 2], matrix[0, 6] = 3, 5, 3

    assert metrics.confusions(matrix, 10) == [(7, 2, 5), (0, 6, 3), (4, 9, 3)]
    assert metrics.confusions(matrix, 2) == [(7, 2, 5), (0, 6, 3)]
    assert metrics.confusions(np.eye(10, dtype=np.int64), 5) == []


def test_the_confusion_matrix_keeps_the_place_of_classes_that_do_not_occur():
    found = metrics.confusion_matrix(np.array([2, 2]), rows([2, 8], [0.7, 0.7]))
    assert found.shape == (10, 10)
    assert (found[2, 2], found[2, 8], found.sum()) == (1, 1, 2)


def test_the_classification_report_agrees_with_the_hand():
    found = metrics.classification_report(LABELS, rows(GUESSES, [0.7] * 22))
    assert found["6"] == pytest.approx(
        {"precision": 2 / 3, "recall": 1, "f1-score": 4 / 5, "support": 2}
    )
    assert found["macro avg"]["recall"] == pytest.approx(THREE_MISTAKES["recall_macro"])
    assert found["accuracy"] == pytest.approx(19 / 22)


def test_the_calibration_error_of_two_bins_is_as_worked_by_hand():
    guesses = [0, 1, 2, 3, 4, 5]
    labels = np.array([0, 7, 2, 3, 7, 5])
    probabilities = rows(guesses, [0.3, 0.5, 0.6, 0.9, 0.9, 0.8])
    first, second = metrics.reliability(labels, probabilities, 2, confidence=0.95)
    assert (first.low, first.high, first.count) == (0, 0.5, 2)
    assert (first.confidence, first.accuracy) == pytest.approx((0.4, 0.5))
    assert (second.low, second.high, second.count) == (0.5, 1, 4)
    assert (second.confidence, second.accuracy) == pytest.approx((0.8, 0.75))
    interval = metrics.wilson_interval(3, 4, 0.95)
    assert (second.accuracy_low, second.accuracy_high) == interval
    assert metrics.calibration_error([first, second]) == pytest.approx((2 * 0.1 + 4 * 0.05) / 6)
    assert summary(
        np.concatenate([labels, TEN]),
        np.concatenate([probabilities, rows(TEN, [0.8] * 10)]),
        bins=2,
    )["calibration_error"] == pytest.approx((2 * 0.1 + 14 * abs(0.8 - 13 / 14)) / 16)


@pytest.mark.parametrize(
    ("confidence", "bin_"),
    [
        pytest.param(0.25, 0, id="on-the-first-edge"),
        pytest.param(0.5, 1, id="on-the-middle-edge"),
        pytest.param(np.nextafter(0.5, 1), 2, id="a-hair-above-it"),
        pytest.param(1.0, 3, id="on-the-last-edge"),
    ],
)
def test_a_confidence_on_an_edge_belongs_to_the_bin_below(confidence, bin_):
    found = metrics.reliability(np.array([3]), rows([3], [confidence]), 4, confidence=0.95)
    assert [row.count for row in found] == [int(i == bin_) for i in range(4)]


def test_a_confidence_rounded_above_one_belongs_to_the_last_bin():
    probabilities = np.eye(10)[:1] * (1 + 2e-7)
    last = metrics.reliability(np.array([0]), probabilities, 4, confidence=0.95)[-1]
    assert last.count == 1
    assert last.low < last.confidence <= last.high


@few_examples
@given(answers(), st.integers(1, 20))
def test_reliability_bins_are_those_of_a_plain_loop(answer, bins):
    labels, probabilities = answer
    found = metrics.reliability(labels, probabilities, bins, confidence=0.95)
    assert [row.low for row in found] == pytest.approx([i / bins for i in range(bins)])
    assert [row.high for row in found] == pytest.approx([(i + 1) / bins for i in range(bins)])
    error = 0.0
    for row in found:
        members = []
        for label, probability in zip(labels, probabilities.tolist(), strict=True):
            if row.low < max(probability) <= row.high:
                members.append((max(probability), probability.index(max(probability)) == label))
        assert row.count == len(members)
        if members:
            confidence = sum(c for c, _ in members) / len(members)
            accuracy = sum(right for _, right in members) / len(members)
            assert (row.confidence, row.accuracy) == pytest.approx((confidence, accuracy))
            error += len(members) / len(labels) * abs(confidence - accuracy)
        else:
            assert (row.confidence, row.accuracy) == (None, None)
    assert sum(row.count for row in found) == len(labels)
    assert metrics.calibration_error(found) == pytest.approx(error)


def area_by_pairs(positives, negatives):
    """The chance that a positive scores above a negative, ties counted half."""
    wins = [(p > n) + (p == n) / 2 for p in positives for n in negatives]
    return sum(wins) / len(wins)


def average_precision_by_threshold(is_class, score):
    """Precision at every threshold, weighted by the recall that it gains."""
    total = gained = 0.0
    for threshold in sorted(set(score), reverse=True):
        taken = is_class[score >= threshold]
        recall = taken.sum() / is_class.sum()
        total += (recall - gained) * taken.mean()
        gained = recall
    return total


def highest_rate(is_class, score, false_positive_rate):
    """The ROC curve at one false positive rate, upper end of a vertical piece."""
    points = [(0.0, 0.0)] + [
        ((score[~is_class] >= threshold).mean(), (score[is_class] >= threshold).mean())
        for threshold in sorted(set(score), reverse=True)
    ]
    x0, y0 = max(p for p in points if p[0] <= false_positive_rate)
    x1, y1 = min((p for p in points if p[0] > false_positive_rate), default=(2.0, 1.0))
    return y0 + (y1 - y0) * (false_positive_rate - x0) / (x1 - x0)


@few_examples
@given(answers())
def test_areas_under_roc_are_chances_of_ranking_a_pair_rightly(answer):
    labels, probabilities = answer
    areas = [
        area_by_pairs(probabilities[labels == k, k], probabilities[labels != k, k])
        for k in range(10)
    ]
    curves = metrics.roc_curves(labels, probabilities)
    table = metrics.per_class(labels, probabilities, confidence=0.95)
    assert [curves[str(k)].area for k in range(10)] == pytest.approx(areas)
    assert [row["roc_auc"] for row in table] == pytest.approx(areas)
    assert curves["macro"].area == pytest.approx(np.mean(areas))
    assert summary(labels, probabilities)["roc_auc_macro"] == pytest.approx(np.mean(areas))


@few_examples
@given(answers())
def test_average_precision_is_its_definition(answer):
    labels, probabilities = answer
    areas = [average_precision_by_threshold(labels == k, probabilities[:, k]) for k in range(10)]
    curves = metrics.precision_recall_curves(labels, probabilities)
    table = metrics.per_class(labels, probabilities, confidence=0.95)
    assert [curves[str(k)].area for k in range(10)] == pytest.approx(areas)
    assert [row["average_precision"] for row in table] == pytest.approx(areas)
    assert summary(labels, probabilities)["average_precision_macro"] == (
        pytest.approx(np.mean(areas))
    )
    everything = (labels[:, None] == TEN).ravel()
    assert curves["micro"].area == pytest.approx(
        average_precision_by_threshold(everything, probabilities.ravel())
    )


@few_examples
@given(answers())
def test_precision_recall_curves_hold_the_point_of_every_threshold(answer):
    labels, probabilities = answer
    curve = metrics.precision_recall_curves(labels, probabilities)["3"]
    is_class, score = labels == 3, probabilities[:, 3]
    for x, y in zip(curve.x[1:], curve.y[1:], strict=True):
        points = [(is_class[score >= t].sum(), (score >= t).sum()) for t in set(score)]
        expected = [(hits / is_class.sum(), hits / taken) for hits, taken in points]
        assert (x, y) in [pytest.approx(point) for point in expected]
    assert (curve.x[0], curve.y[0], curve.x[-1]) == (0, 1, 1)
    assert (np.diff(curve.x) >= 0).all()


@few_examples
@given(answers())
def test_the_macro_roc_curve_is_at_each_point_the_mean_of_ten(answer):
    labels, probabilities = answer
    curves = metrics.roc_curves(labels, probabilities)
    macro = curves["macro"]
    rates = np.unique(macro.x)
    highest = [macro.y[macro.x == rate].max() for rate in rates]
    expected = [
        np.mean([highest_rate(labels == k, probabilities[:, k], rate) for k in range(10)])
        for rate in rates
    ]
    assert highest == pytest.approx(expected)
    for k in range(10):
        assert set(curves[str(k)].x) <= set(rates)


@few_examples
@given(answers())
def test_roc_curves_rise_from_corner_to_corner_over_their_area(answer):
    for name, curve in metrics.roc_curves(*answer).items():
        assert (curve.x[0], curve.y[0], curve.x[-1], curve.y[-1]) == (0, 0, 1, 1), name
        assert (np.diff(curve.x) >= 0).all(), name
        assert (np.diff(curve.y) >= -1e-12).all(), name
        assert np.trapezoid(curve.y, curve.x) == pytest.approx(curve.area), name


@few_examples
@given(answers())
def test_the_micro_roc_area_is_that_of_scikit_learn(answer):
    labels, probabilities = answer
    expected = roc_auc_score(np.eye(10, dtype=int)[labels], probabilities, average="micro")
    assert metrics.roc_curves(labels, probabilities)["micro"].area == pytest.approx(expected)


@few_examples
@given(answers(), st.integers(0, 30))
def test_worst_mistakes_are_the_most_confident_wrong_answers_in_order(answer, count):
    labels, probabilities = answer
    mistakes = []
    for i, row in enumerate(probabilities.tolist()):
        if row.index(max(row)) != labels[i]:
            mistakes.append((-max(row), i))
    expected = [i for _, i in sorted(mistakes)][:count]
    assert metrics.worst_mistakes(labels, probabilities, count).tolist() == expected


@few_examples
@given(answers(), st.randoms(use_true_random=False))
def test_the_order_of_the_examples_changes_no_figure(answer, random):
    labels, probabilities = answer
    order = random.sample(range(len(labels)), len(labels))

    def figures(labels, probabilities):
        curves = metrics.roc_curves(labels, probabilities)
        return (
            summary(labels, probabilities),
            {
                (row["class"], name): value
                for row in metrics.per_class(labels, probabilities, confidence=0.95)
                for name, value in row.items()
            },
            {name: curve.area for name, curve in curves.items()},
            metrics.confusion_matrix(labels, probabilities),
        )

    before = figures(labels, probabilities)
    after = figures(labels[order], probabilities[order])
    for a, b in zip(before[:3], after[:3], strict=True):
        assert a == pytest.approx(b)
    np.testing.assert_array_equal(before[3], after[3])


def test_a_perfect_classifier_gets_one_everywhere():
    probabilities = np.eye(10)[EVERY_CLASS_TWICE]
    found = summary(EVERY_CLASS_TWICE, probabilities)
    for name in ("mistakes", "log_loss", "calibration_error"):
        assert found.pop(name) == pytest.approx(0)
    assert 0.8 < found.pop("accuracy_low") < 1
    assert found.pop("examples") == 20
    assert found == pytest.approx(dict.fromkeys(found, 1))
    curves = metrics.roc_curves(EVERY_CLASS_TWICE, probabilities)
    curves |= {
        f"pr {name}": curve
        for name, curve in metrics.precision_recall_curves(EVERY_CLASS_TWICE, probabilities).items()
    }
    assert {name: curve.area for name, curve in curves.items()} == dict.fromkeys(curves, 1)
    assert not metrics.worst_mistakes(EVERY_CLASS_TWICE, probabilities, 5).size


def test_a_classifier_that_knows_nothing_gets_half_the_area():
    probabilities = np.full((20, 10), 0.1)
    found = summary(EVERY_CLASS_TWICE, probabilities)
    assert found["roc_auc_macro"] == pytest.approx(0.5)
    assert found["average_precision_macro"] == pytest.approx(0.1)
    assert found["cohen_kappa"] == pytest.approx(0)
    assert found["matthews_correlation"] == pytest.approx(0)
    assert found["log_loss"] == pytest.approx(math.log(10))
    assert found["calibration_error"] == pytest.approx(0)
    curves = metrics.roc_curves(EVERY_CLASS_TWICE, probabilities)
    assert {name: curve.area for name, curve in curves.items()} == (
        pytest.approx(dict.fromkeys(curves, 0.5))
    )


def test_a_class_that_is_never_guessed_has_precision_0_and_counts_in_the_averages():
    probabilities = rows([0] * 20, [0.7] * 20)
    found = summary(EVERY_CLASS_TWICE, probabilities)
    assert found["precision_macro"] == pytest.approx(0.1 / 10)
    assert found["precision_weighted"] == pytest.approx(0.1 / 10)
    assert found["f1_macro"] == pytest.approx(2 / 11 / 10)
    table = metrics.per_class(EVERY_CLASS_TWICE, probabilities, confidence=0.95)
    assert [row["precision"] for row in table] == pytest.approx([0.1, *[0] * 9])
    report = metrics.classification_report(EVERY_CLASS_TWICE, probabilities)
    assert report["macro avg"]["precision"] == pytest.approx(0.1 / 10)


@pytest.mark.parametrize(
    "figures",
    [
        pytest.param(summary, id="summary"),
        pytest.param(lambda *a: metrics.per_class(*a, confidence=0.95), id="per_class"),
        pytest.param(metrics.roc_curves, id="roc_curves"),
        pytest.param(metrics.precision_recall_curves, id="precision_recall_curves"),
    ],
)
def test_a_class_without_examples_is_refused(figures):
    labels = np.arange(9)
    with pytest.raises(ValueError, match="every class"):
        figures(labels, rows(labels, [0.7] * 9))


@pytest.mark.parametrize(
    "probabilities",
    [
        pytest.param(np.eye(10)[EVERY_CLASS_TWICE], id="perfect"),
        pytest.param(np.eye(10)[(EVERY_CLASS_TWICE + 1) % 10], id="always-wrong-and-certain"),
        pytest.param(np.full((20, 10), 0.1), id="uniform"),
        pytest.param(np.eye(10)[np.zeros(20, int)], id="always-zero"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_figures_are_finite_plain_numbers_whatever_the_classifier(probabilities):
    for figures in (
        summary(EVERY_CLASS_TWICE, probabilities),
        metrics.per_class(EVERY_CLASS_TWICE, probabilities, confidence=0.95),
        metrics.classification_report(EVERY_CLASS_TWICE, probabilities),
    ):
        assert json.loads(json.dumps(figures, allow_nan=False)) == figures


@few_examples
@given(answers())
def test_accuracies_of_classes_weighted_by_support_average_to_the_accuracy(answer):
    labels, probabilities = answer
    table = metrics.per_class(labels, probabilities, confidence=0.95)
    hits = sum(row["support"] * row["accuracy"] for row in table)
    assert sum(row["support"] for row in table) == len(labels)
    assert hits / len(labels) == pytest.approx(summary(labels, probabilities)["accuracy"])
