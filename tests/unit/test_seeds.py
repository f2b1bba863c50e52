"""The report of `make seeds` has a row for each seed, mean, deviation and interval."""

import runpy

import pytest
from clone import ROOT

render = runpy.run_path(str(ROOT / "src/seeds.py"))["render"]


def result(accuracy, mistakes):
    return {
        "test_accuracy": accuracy,
        "test_mistakes": mistakes,
        "test_log_loss": 0.0125,
        "validation_accuracy": 0.9948,
        "parameters": 135482,
    }


@pytest.mark.parametrize(
    ("accuracies", "summary"),
    [
        # With two values Student's t is 12.706: 12.706 × 0.0141 % / √2 = 0.127 %.
        (
            (0.996, 0.9962),
            "**99.61%**, standard deviation 0.014%, 95% interval of the mean 99.48% to 99.74%",
        ),
        (
            (0.996, 0.996, 0.996),
            "**99.60%**, standard deviation 0.000%, 95% interval of the mean 99.60% to 99.60%",
        ),
    ],
)
def test_the_report_has_mean_deviation_and_interval(accuracies, summary):
    text = render([result(accuracy, 38) for accuracy in accuracies], 0.95)
    assert f"Mean test accuracy {summary} (Student's t)" in " ".join(text.split())
    assert f"`make seeds N={len(accuracies)}` runs it {len(accuracies)} times" in text


def test_the_report_has_a_row_for_each_seed():
    rows = [
        line
        for line in render([result(0.996, 40), result(0.9962, 38)], 0.95).split("\n")
        if line.startswith("| ") and line[2].isdigit()
    ]
    assert rows == [
        "| 1 | 99.60% | 40 | 0.0125 | 99.48% | 135,482 |",
        "| 2 | 99.62% | 38 | 0.0125 | 99.48% | 135,482 |",
    ]
