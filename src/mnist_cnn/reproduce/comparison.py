"""How two results differ: files by their bytes and, if these differ, by their values.

DVC compares revisions of git; here a run's artifacts are compared with files that are in none.
"""

import json
from collections.abc import Callable
from pathlib import Path

from mnist_cnn.errors import UserError
from mnist_cnn.learning import model

import pandas as pd


def compare_files(before: Path, after: Path) -> list[str]:
    """The differences of two files, a line for each; empty if they have the same bytes.

    The values in JSON, CSV and `.pth` files are compared column by column, or weight by weight.
    """
    if not after.exists():
        return ["missing"]
    if before.read_bytes() == after.read_bytes():
        return []
    read = _READERS.get(before.suffix)
    if not read:
        return ["different bytes"]
    try:
        differences = compare_tables(read(before), read(after))
    except (ValueError, UserError):
        return ["different bytes; one of the files is damaged"]
    return differences or ["different bytes, equal values"]


def compare_tables(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """The differences of two tables, a line for each column that differs."""
    if len(before) != len(after):
        return [f"rows: {len(before)} → {len(after)}"]
    columns = list(dict.fromkeys([*before, *after]))
    before, after = (
        table.reindex(columns=columns, fill_value="absent") for table in (before, after)
    )
    lines = [_compare_columns(name, before[name], after[name]) for name in columns]
    return [line for line in lines if line]


def _compare_columns(name: str, before: "pd.Series[str]", after: "pd.Series[str]") -> str:
    """The difference in one line, or an empty string."""
    present = before.notna() | after.notna()  # the weights of a small layer fill part of a column
    changed = (before != after) & present
    if not changed.any():
        return ""
    then, now = before[changed], after[changed]
    largest = (pd.to_numeric(now, "coerce") - pd.to_numeric(then, "coerce")).abs().max()
    by = "" if pd.isna(largest) else f", by at most {largest:.2g}"
    if present.sum() == 1:
        return f"{name}: {then.iloc[0]} → {now.iloc[0]}{by}"
    return f"{name}: {changed.sum()} of {present.sum()} values{by}"


def read_csv(path: Path) -> pd.DataFrame:
    """A CSV file, all values as they are written."""
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _read_json(path: Path) -> pd.DataFrame:
    return pd.json_normalize(json.loads(path.read_text()))


def _read_weights(path: Path) -> pd.DataFrame:
    network, dataset = model.load(path)
    weights = {name: pd.Series(value.flatten()) for name, value in network.state_dict().items()}
    return pd.DataFrame({"dataset": pd.Series([dataset]), **weights})


_READERS: dict[str, Callable[[Path], pd.DataFrame]] = {
    ".json": _read_json,
    ".csv": read_csv,
    ".pth": _read_weights,
}
