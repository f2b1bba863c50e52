"""Compare the experiments `seed-1`, `seed-2`, …: the whole pipeline under other seeds."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev

from mnist_cnn import console, files, params
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation.markdown import interval, table

import dvc.api
from dvc.repo import Repo
from scipy.stats import t

REPORT = Path("reports/seeds.md")


def main() -> None:
    """Write a table of their results, with mean, standard deviation and interval."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int, help="how many of them, 2 or more")
    count: int = console.parse_args(parser).count
    if count < 2:
        raise UserError("a deviation needs 2 seeds or more")
    confidence = params.load().evaluate.confidence
    of_this_commit = Repo().experiments.ls().values()
    revisions = dict(experiment for found in of_this_commit for experiment in found)
    results = []
    for seed in range(1, count + 1):
        if f"seed-{seed}" not in revisions:
            raise UserError(f"no experiment seed-{seed} of this commit; `make seeds` runs it")
        results.append(_metrics(revisions[f"seed-{seed}"]))
    text = render(results, confidence)
    files.write_text(REPORT, text)
    console.write(f"{text}\n{REPORT}")


def _metrics(revision: str) -> dict[str, float]:
    """The metrics of an experiment."""
    metrics: dict[str, float] = {}
    for stage in ("tune", "train", "evaluate"):
        metrics |= dvc.api.metrics_show(f"reports/{stage}/metrics.json", rev=revision)
    return metrics


def render(results: Sequence[Mapping[str, float]], confidence: float) -> str:
    """The report in Markdown.

    Args:
        results: the metrics for the seeds 1, 2, …, as `_metrics` returns them.
        confidence: level of the interval, in (0, 1).
    """
    accuracies = [each["test_accuracy"] for each in results]
    count, average, deviation = len(results), mean(accuracies), stdev(accuracies)
    # Student's t; with a scale of 0, SciPy would return NaN.
    half = t.ppf((1 + confidence) / 2, count - 1) * deviation / count**0.5
    level = f"{100 * confidence:.6g}%"
    header = ("seed", "test accuracy", "mistakes", "log loss", "validation accuracy", "parameters")
    rows = [
        (
            seed,
            f"{each['test_accuracy']:.2%}",
            f"{each['test_mistakes']:.0f}",
            f"{each['test_log_loss']:.4f}",
            f"{each['validation_accuracy']:.2%}",
            f"{each['parameters']:,.0f}",
        )
        for seed, each in enumerate(results, 1)
    ]
    return f"""\
# The whole pipeline under other seeds

`make seeds N={count}` runs it {count} times: with another split into training and validation set,
another search and another training. Only the test set is the same.

{table(header, rows)}

Mean test accuracy **{average:.2%}**, standard deviation {deviation:.3%}, {level} interval of
the mean {interval(average - half, average + half)} (Student's t). The interval is about
other seeds on this test set, not about other test images.
"""


if __name__ == "__main__":
    console.run(main)
