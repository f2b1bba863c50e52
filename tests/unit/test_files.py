"""Files appear whole or not at all, and equal values give equal bytes."""

import math
import resource
import shutil
from contextlib import contextmanager
from pathlib import Path

from mnist_cnn import files

import numpy as np
import pytest
from clone import ROOT
from dvc.repo import Repo
from dvc_data.hashfile.build import build
from matplotlib.figure import Figure


def contents(folder):
    """The content of each file in a folder, hidden ones included, by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@contextmanager
def full_disk():
    """No file can grow beyond 1000 bytes, pytest's own output included."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_missing_folders_are_created_and_earlier_content_is_replaced(tmp_path):
    for content in (b"\0\xff\r\n", b"no"):
        files.write_bytes(tmp_path / "a/b/file", content)
        assert contents(tmp_path / "a/b") == {"file": content}


@pytest.mark.parametrize("before", [{}, {"file": b"old"}], ids=["new file", "earlier file"])
def test_a_full_disk_changes_no_file(tmp_path, before):
    for name, content in before.items():
        files.write_bytes(tmp_path / name, content)
    with full_disk(), pytest.raises(OSError, match="File too large"):
        files.write_csv(tmp_path / "file", [{"text": "x" * 2000}])
    assert contents(tmp_path) == before


def test_content_is_on_disk_before_its_name_and_the_name_before_the_end(tmp_path, monkeypatch):
    files.write_text(tmp_path / "file", "old")
    synced = []

    def fsync(descriptor):
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        synced.append((path.suffix or path, (tmp_path / "file").read_text()))

    monkeypatch.setattr("os.fsync", fsync)
    files.write_text(tmp_path / "file", "new")
    assert synced == [(".partial", "old"), (tmp_path, "new")]


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    files.write_text(tmp_path / "folder/inside", "text")
    with pytest.raises(OSError, match="folder"):
        files.write_bytes(tmp_path / "folder", b"content")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert contents(tmp_path / "folder") == {"inside": b"text"}


def test_a_link_is_replaced_and_its_target_is_unchanged(tmp_path):
    (tmp_path / "cache").write_bytes(b"cached")
    (tmp_path / "symbolic").symlink_to("cache")
    (tmp_path / "hard").hardlink_to(tmp_path / "cache")
    for name in ("symbolic", "hard"):
        files.write_bytes(tmp_path / name, b"new")
    assert contents(tmp_path) == {"cache": b"cached", "symbolic": b"new", "hard": b"new"}


def test_text_is_utf_8_and_keeps_its_line_endings(tmp_path):
    files.write_text(tmp_path / "file", "é\r\n±\n")
    assert contents(tmp_path) == {"file": b"\xc3\xa9\r\n\xc2\xb1\n"}


def test_json_is_indented_and_keeps_the_order_of_keys(tmp_path):
    files.write_json(tmp_path / "file", {"b": 0.1, "a": [1, None], "é": "±"})
    written = b'{\n  "b": 0.1,\n  "a": [\n    1,\n    null\n  ],\n  "\\u00e9": "\\u00b1"\n}\n'
    assert contents(tmp_path) == {"file": written}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_nan_and_infinity_are_rejected_as_json(tmp_path, number):
    files.write_text(tmp_path / "file", "old")
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "file", {"loss": 1.5, "epochs": [{"loss": number}]})
    assert contents(tmp_path) == {"file": b"old"}


def test_csv_has_the_columns_of_all_rows_in_order_of_appearance(tmp_path):
    rows = [{"b": 1, "a": 0.1}, {"a": None, "c": True}, {"b": "x,y", "c": 'say "1"'}]
    files.write_csv(tmp_path / "file", rows)
    assert contents(tmp_path) == {"file": b'b,a,c\n1,0.1,\n,,True\n"x,y",,"say ""1"""\n'}


def test_numbers_are_read_back_from_csv_exactly(tmp_path):
    numbers = [0.1 + 0.2, 1e-300, np.float64(1) / 3, np.float32(0.1), np.int64(7)]
    files.write_csv(tmp_path / "file", [{"number": number} for number in numbers])
    header, *cells = (tmp_path / "file").read_text().split()
    assert header == "number"
    assert [type(number)(cell) for number, cell in zip(numbers, cells, strict=True)] == numbers


def test_equal_figures_give_equal_png_without_version_and_time(tmp_path):
    for name in ("first", "second"):
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot([0, 1], [1, 0])
        files.write_png(tmp_path / name, figure)
    first, second = contents(tmp_path).values()
    assert first == second
    assert first.startswith(b"\x89PNG\r\n\x1a\n")
    assert first.endswith(b"IEND\xaeB`\x82")
    assert not any(word in first for word in (b"Software", b"matplotlib", b"tIME"))


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        (b"", "d41d8cd98f00b204e9800998ecf8427e"),
        (b"abc", "900150983cd24fb0d6963f7d28e17f72"),
        (b"a" * 1_000_000, "7707d6ae4e027c70eea2a935c2296f21"),
    ],
    ids=["empty", "abc", "a million"],
)
def test_the_md5_of_a_file_is_that_of_the_standard(tmp_path, content, digest):
    (tmp_path / "file").write_bytes(content)
    assert files.md5(tmp_path / "file") == digest


def test_the_md5_of_a_folder_is_that_of_dvc_without_compiled_files(tmp_path):
    shutil.copy(ROOT / ".dvcignore", tmp_path)
    repo = Repo.init(str(tmp_path), no_scm=True)
    folder = tmp_path / "folder"
    for name in ("b", "a.py", "a/b.py", "a-b", "a/é/c", "__pycache__/d.pyc", "a/__pycache__/e.pyc"):
        files.write_text(folder / name, name)
    _, _, tree = build(
        repo.cache.local, str(folder), repo.fs, "md5", dry_run=True, ignore=repo.dvcignore
    )
    assert files.md5_folder(folder) == tree.hash_info.value
