"""Compare the experiments `seed-1`, `seed-2`, …: the whole pipeline under other seeds."""

import argparse
from pathlib import Path
from statistics import mean, stdev

from mnist_cnn import console, files, params
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation.markdown import interval, table

import dvc.api
from dvc.exceptions import DvcException
from scipy.stats import t

REPORT = Path("reports/seeds.md")

_TEXT = """\
# The whole pipeline under other seeds

`make seeds N={count}` runs it {count} times: with another split into training and validation set,
another search and another training. Only the test set is the same.

{rows}

Mean test accuracy **{mean:.2%}**, standard deviation {deviation:.3%}, {level:.6g}% interval of the
mean {ends} (Student's t).
"""


def main() -> None:
    """Write a table of their results, with mean, standard deviation and interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="how many of them, 2 or more")
    count: int = console.parse_args(parser).count
    if count < 2:
        raise UserError("a deviation needs 2 seeds or more")
    confidence = params.load().evaluate.confidence
    rows, accuracies = [], []
    for seed in range(1, count + 1):
        test, train, tune = (_metrics(f"seed-{seed}", s) for s in ("evaluate", "train", "tune"))
        accuracies.append(test["accuracy"])
        rows.append(
            (
                seed,
                f"{test['accuracy']:.2%}",
                f"{test['mistakes']:.0f}",
                f"{test['log_loss']:.4f}",
                f"{tune['validation_accuracy']:.2%}",
                f"{train['parameters']:,.0f}",
            )
        )
    average, deviation = mean(accuracies), stdev(accuracies)
    low, high = t.interval(confidence, count - 1, average, deviation / count**0.5)
    header = ("seed", "test accuracy", "mistakes", "log loss", "validation accuracy", "parameters")
    text = _TEXT.format(
        count=count,
        rows=table(header, rows),
        mean=average,
        deviation=deviation,
        level=100 * confidence,
        ends=interval(low, high),
    )
    files.write_text(REPORT, text)
    console.write(f"{text}\n{REPORT}")


def _metrics(experiment: str, stage: str) -> dict[str, float]:
    """The metrics of a stage in an experiment. Raises `UserError` if it does not exist."""
    try:
        metrics: dict[str, float] = dvc.api.metrics_show(
            f"reports/{stage}/metrics.json", rev=experiment
        )
    except DvcException as error:
        raise UserError(f"no experiment {experiment} ({error}); `make seeds` runs it") from None
    return metrics


if __name__ == "__main__":
    console.run(main)
