"""Markdown for the model card."""

from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def interval(low: float, high: float) -> str:
    """The ends of an interval of a fraction, in percent."""
    return f"{low:.2%} to {high:.2%}"
