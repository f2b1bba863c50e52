"""Files appear whole or not at all, and are the same bytes for the same numbers."""

import math
import resource
from contextlib import contextmanager

from mnist_cnn import files

import numpy as np
import pytest
from matplotlib.figure import Figure


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def small_disk():
    """No file can grow beyond 1000 bytes, that of pytest's own output included."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_bytes_are_written_where_no_folder_was(tmp_path):
    files.write_bytes(tmp_path / "a/b/file", b"\0\xff\r\n")
    assert (tmp_path / "a/b/file").read_bytes() == b"\0\xff\r\n"
    assert names(tmp_path / "a/b") == ["file"]


def test_a_file_is_replaced_by_a_shorter_one(tmp_path):
    files.write_bytes(tmp_path / "file", b"long")
    files.write_bytes(tmp_path / "file", b"no")
    assert (tmp_path / "file").read_bytes() == b"no"


def test_a_full_disk_leaves_the_old_content_and_no_other_file(tmp_path):
    files.write_bytes(tmp_path / "file", b"old")
    with small_disk(), pytest.raises(OSError, match="File too large"):
        files.write_bytes(tmp_path / "file", bytes(2000))
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_full_disk_leaves_no_new_file(tmp_path):
    with small_disk(), pytest.raises(OSError, match="File too large"):
        files.write_csv(tmp_path / "file", [{"text": "x" * 2000}])
    assert names(tmp_path) == []


def test_a_folder_of_that_name_is_left_as_it_was(tmp_path):
    (tmp_path / "file").mkdir()
    (tmp_path / "file/inside").touch()
    with pytest.raises(OSError, match="file"):
        files.write_bytes(tmp_path / "file", b"content")
    assert names(tmp_path) == ["file"]
    assert names(tmp_path / "file") == ["inside"]


def test_a_link_is_replaced_and_not_written_through(tmp_path):
    (tmp_path / "cache").write_bytes(b"cached")
    (tmp_path / "symbolic").symlink_to("cache")
    (tmp_path / "hard").hardlink_to(tmp_path / "cache")
    for name in ("symbolic", "hard"):
        files.write_bytes(tmp_path / name, b"new")
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "cache").read_bytes() == b"cached"


def test_text_is_utf_8_with_the_line_endings_it_has(tmp_path):
    files.write_text(tmp_path / "file", "é\r\n±\n")
    assert (tmp_path / "file").read_bytes() == b"\xc3\xa9\r\n\xc2\xb1\n"


def test_json_is_indented_in_the_order_given(tmp_path):
    files.write_json(tmp_path / "file", {"b": 0.1, "a": [1, None, True], "é": "±"})
    assert (tmp_path / "file").read_bytes() == (
        b'{\n  "b": 0.1,\n  "a": [\n    1,\n    null,\n    true\n  ],\n  "\\u00e9": "\\u00b1"\n}\n'
    )


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_without_a_number_is_refused(tmp_path, number):
    files.write_json(tmp_path / "file", {"loss": 1.0})
    with pytest.raises(ValueError, match="not JSON compliant"):
        files.write_json(tmp_path / "file", {"loss": 1.5, "epochs": [{"loss": number}]})
    assert (tmp_path / "file").read_bytes() == b'{\n  "loss": 1.0\n}\n'
    assert names(tmp_path) == ["file"]


def test_csv_has_every_column_in_order_of_appearance(tmp_path):
    rows = [{"b": 1, "a": 0.1}, {"a": None, "c": True}, {"b": "x,y", "c": 'say "1"'}]
    files.write_csv(tmp_path / "file", rows)
    assert (tmp_path / "file").read_bytes() == (b'b,a,c\n1,0.1,\n,,True\n"x,y",,"say ""1"""\n')


def test_csv_numbers_are_read_back_as_they_were(tmp_path):
    numbers = [0.1 + 0.2, 1e-300, np.float64(1) / 3, np.float32(0.1), np.int64(7)]
    files.write_csv(tmp_path / "file", [{"number": number} for number in numbers])
    header, *cells = (tmp_path / "file").read_text().split()
    assert header == "number"
    assert [type(number)(cell) for number, cell in zip(numbers, cells, strict=True)] == numbers


def a_figure():
    figure = Figure(figsize=(2, 1))
    figure.subplots().plot([0, 1], [1, 0])
    return figure


def test_a_picture_is_the_same_bytes_each_time_and_without_a_version(tmp_path):
    for name in ("first", "second"):
        files.write_png(tmp_path / name, a_figure())
    content = (tmp_path / "first").read_bytes()
    assert content == (tmp_path / "second").read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert content.endswith(b"IEND\xaeB`\x82")
    assert not any(word in content for word in (b"Software", b"matplotlib", b"tIME"))


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        pytest.param(b"", "d41d8cd98f00b204e9800998ecf8427e", id="nothing"),
        pytest.param(b"abc", "900150983cd24fb0d6963f7d28e17f72", id="abc"),
        pytest.param(b"a" * 1_000_000, "7707d6ae4e027c70eea2a935c2296f21", id="a million"),
    ],
)
def test_md5_is_that_of_the_standard(tmp_path, content, digest):
    (tmp_path / "file").write_bytes(content)
    assert files.md5(tmp_path / "file") == digest
