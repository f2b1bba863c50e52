"""The report of an evaluation: the metrics of all parts as JSON, tables as CSV, plots as PNG."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from mnist_cnn import faults, files
from mnist_cnn.evaluation.params import Evaluate
from mnist_cnn.evaluation.parts import PARTS, Part, Predicted


def compute(predicted: Predicted, evaluate: Evaluate) -> list[Part]:
    """All parts of the evaluation."""
    faults.point("test set predicted")
    return [part(predicted, evaluate) for part in PARTS]


def summary(parts: Iterable[Part]) -> dict[str, float]:
    """The metrics of all parts."""
    return {name: value for part in parts for name, value in part.metrics.items()}


def write(parts: Sequence[Part], folder: Path) -> None:
    """Write `metrics.json`, `tables/*.csv` and `plots/*.png` to a folder."""
    files.write_json(folder / "metrics.json", summary(parts))
    for part in parts:
        for name, rows in part.tables.items():
            files.write_csv(folder / "tables" / f"{name}.csv", rows)
        for name, figure in part.plots.items():
            files.write_png(folder / "plots" / f"{name}.png", figure)
