"""The report of an evaluation: the metrics of all parts as JSON, tables as CSV, plots as PNG."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from mnist_cnn import faults, files
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation.params import Evaluate
from mnist_cnn.evaluation.parts import PARTS, Part
from mnist_cnn.evaluation.predicted import Predicted


def compute(predicted: Predicted, evaluate: Evaluate) -> list[Part]:
    """All parts of the evaluation. Raises `UserError` if a class does not occur."""
    absent = set(range(len(predicted.classes))) - set(predicted.labels.tolist())
    if absent:
        names = ", ".join(predicted.classes[label] for label in sorted(absent))
        raise UserError(f"no test image shows {names}; raise evaluate.test_size")
    faults.point("test set predicted")
    return [part(predicted, evaluate) for part in PARTS]


def summary(parts: Iterable[Part]) -> dict[str, float]:
    """The metrics of all parts.

    Raises `UserError` for one that is not finite, or whose name occurs twice or is none for MLflow.
    """
    metrics: dict[str, float] = {}
    for part in parts:
        for name, value in part.metrics.items():
            if name in metrics:
                raise UserError(f"two parts of the evaluation have a metric {name}")
            if not math.isfinite(value):
                raise UserError(f"the metric {name} is {value}")
            if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
                raise UserError(f"{name!r} is no name for a metric: letters, digits, _ . - only")
            metrics[name] = value
    return metrics


def write(parts: Sequence[Part], folder: Path) -> None:
    """Write `metrics.json`, `tables/*.csv` and `plots/*.png` to a folder.

    Raises `UserError` for two tables or two plots of one name.
    """
    for kind in ("tables", "plots"):
        names = Counter(name for part in parts for name in getattr(part, kind))
        if twice := [name for name, count in names.items() if count > 1]:
            raise UserError(f"two parts of the evaluation have {kind} named {twice[0]}")
    metrics = {f"test_{name}": value for name, value in summary(parts).items()}
    files.write_json(folder / "metrics.json", metrics)
    for part in parts:
        for name, rows in part.tables.items():
            files.write_csv(folder / "tables" / f"{name}.csv", rows)
        for name, figure in part.plots.items():
            files.write_png(folder / "plots" / f"{name}.png", figure)
