"""Writing results: a file appears whole or not at all, and equal values give equal bytes."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any


def write_bytes(path: Path, content: bytes) -> None:
    """Write to a temporary file beside `path`, sync it, rename it and sync its folder.

    A power failure leaves the earlier file or the new one, whole. Creates missing folders.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync(path.parent)
    finally:
        partial.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Sync a folder, without which a renamed file can be lost."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, content: str) -> None:
    """Write UTF-8 text, line endings unchanged."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, keys in their given order. Raises `ValueError` for NaN and infinity."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table. Its columns are those of all rows, in order of appearance.

    A value that a row lacks is an empty cell.
    """
    columns = list(dict.fromkeys(column for row in rows for column in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_png(path: Path, figure: Any) -> None:
    """Write a matplotlib figure as PNG, without the version of matplotlib in its metadata."""
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=120, bbox_inches="tight", metadata={"Software": None})
    write_bytes(path, image.getvalue())


def md5(path: Path) -> str:
    """The MD5 of a file in hexadecimal, as in `dvc.lock`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5_folder(path: Path) -> str:
    """The MD5 of a folder in hexadecimal with the suffix `.dir`, as in `dvc.lock`.

    DVC defines it as the MD5 of a JSON list of the folder's files. Compiled Python files are left
    out, as `.dvcignore` does.
    """
    listed = [
        {"md5": md5(file), "relpath": file.relative_to(path).as_posix()}
        for file in sorted(path.rglob("*"), key=Path.as_posix)
        if file.is_file() and "__pycache__" not in file.parts
    ]
    content = json.dumps(listed, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
