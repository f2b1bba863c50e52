"""How far two results are apart: files by their bytes and, where these differ, by their numbers."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_cnn import model
from mnist_cnn.errors import UserError

_ABSENT = "absent"


def files(then: Path, now: Path) -> list[str]:
    """What differs between two files, a line each; empty when they are the same byte for byte.

    JSON is compared value by value, CSV column by column, a `.pth` by its data set and then its
    weights; a file that is damaged, only by its bytes.
    """
    if not now.exists():
        return ["not made now"]
    if then.read_bytes() == now.read_bytes():
        return []
    try:
        match then.suffix:
            case ".json":
                lines = values(*(json.loads(path.read_text()) for path in (then, now)))
            case ".csv":
                lines = tables(rows(then), rows(now))
            case ".pth":
                lines = _weights(then, now)
            case _:
                return ["other bytes"]
    except (ValueError, csv.Error, UserError):
        return ["other bytes, of which one is no such file"]
    return lines or ["the same values in other bytes"]


def values(then: Any, now: Any) -> list[str]:
    """What differs between two nested structures of plain values: `accuracy: 0.5 → 0.6 (+0.1)`."""
    before, after = dict(_leaves(then)), dict(_leaves(now))
    return [
        f"{key or 'value'}: {_change(before.get(key, _ABSENT), after.get(key, _ABSENT))}"
        for key in dict.fromkeys([*before, *after])
        if before.get(key, _ABSENT) != after.get(key, _ABSENT)
    ]


def tables(then: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]) -> list[str]:
    """What differs between two tables, a line a column: how many cells, and by how much at most."""
    lines = [] if len(then) == len(now) else [f"rows: {len(then)} → {len(now)}"]
    for column in dict.fromkeys(key for row in [*then, *now] for key in row):
        cells = [(a.get(column, ""), b.get(column, "")) for a, b in zip(then, now, strict=False)]
        changed = [(a, b) for a, b in cells if a != b]
        if not changed:
            continue
        line = f"{column}: {len(changed)} of {len(cells)} cells"
        try:
            largest = max(abs(float(b) - float(a)) for a, b in changed)
        except ValueError:  # words, or nothing
            lines.append(line)
        else:
            lines.append(f"{line}, by {largest:.2g} at most")
    return lines


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file under its header, all values as they are written."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _leaves(nested: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The values of a nested structure with their keys, joined by dots."""
    if isinstance(nested, dict | list):
        items = nested.items() if isinstance(nested, dict) else enumerate(nested)
        for key, value in items:
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, nested


def _change(then: Any, now: Any) -> str:
    numbers = all(isinstance(value, int | float) for value in (then, now))
    difference = f" ({now - then:+.2g})" if numbers else ""
    return f"{then} → {now}{difference}"


def _weights(then: Path, now: Path) -> list[str]:
    (first, dataset), (second, other) = model.load(then), model.load(now)
    if dataset != other:
        return [f"data set: {dataset} → {other}"]
    before, after = first.state_dict(), second.state_dict()
    shapes = [[(name, tuple(t.shape)) for name, t in state.items()] for state in (before, after)]
    if shapes[0] != shapes[1]:
        return ["another architecture"]
    apart = [
        (after[name].double() - before[name].double()).abs().max().item()
        for name in before
        if before[name].numel()
    ]
    return [f"weights: by {max(apart):.2g} at most"] if max(apart) else []
