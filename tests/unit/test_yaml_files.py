"""YAML files are read as plain values or rejected, and errors name every wrong key."""

import json
from contextlib import suppress
from itertools import pairwise
from pathlib import Path

from mnist_cnn import yaml_files
from mnist_cnn.errors import UserError

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file that each test overwrites."""
    return tmp_path_factory.mktemp("yaml") / "file.yaml"


def rejection(path, function, *arguments):
    """The reason, in one line, why a file is rejected."""
    with pytest.raises(UserError) as caught:
        function(path, *arguments)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert message.isprintable()
    return message.removeprefix(f"{path}: ")


@given(st.dictionaries(st.text("abc"), st.integers() | st.floats(allow_nan=False) | st.booleans()))
def test_numbers_in_json_are_read_exactly(path, content):
    path.write_text(json.dumps(content).replace("Infinity", ".inf"))
    read = yaml_files.read(path)
    assert read == content
    assert [*map(type, read.values())] == [*map(type, content.values())]


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"!!python/object/apply:os.getcwd []", id="call"),
        pytest.param(b"train: !!python/object:pathlib.Path {}", id="object"),
        pytest.param(b"train: !!python/name:os.getcwd", id="function"),
        pytest.param(b"train: {", id="unclosed"),
        pytest.param(b"train:\n\tepochs: 1", id="tab"),
        pytest.param(b"train: *other", id="unknown anchor"),
        pytest.param(b"train: 1\ntrain: 2", id="key twice"),
        pytest.param(b"train: 1\n---\ntrain: 2", id="two documents"),
        pytest.param(b"[" * 500, id="deep"),
        pytest.param(b"\0", id="zero byte"),
        pytest.param(b"train: \xff", id="not UTF-8"),
        pytest.param("train: 1".encode("utf-16"), id="UTF-16"),
        pytest.param(b"train: 2001-99-99", id="impossible date"),
        pytest.param(b"train: 0x_", id="hexadecimal number without digits"),
        pytest.param(b"train: " + b"1" * 5000, id="5000 digits"),
        pytest.param(b"train: !!int one", id="number in letters"),
        pytest.param(b"train: !!bool perhaps", id="neither true nor false"),
        pytest.param(b"train: !!timestamp noon", id="time without a date"),
    ],
)
def test_a_file_that_is_not_plain_yaml_is_rejected(path, content):
    path.write_bytes(content)
    assert rejection(path, yaml_files.read).startswith("not valid YAML (")


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_read_or_rejected(path, content):
    path.write_bytes(content)
    with suppress(UserError):
        yaml_files.read(path)


def test_a_missing_file_and_a_folder_are_rejected(tmp_path):
    missing = rejection(tmp_path / "params.yaml", yaml_files.read)
    assert missing == "missing; run this in the root of the project"
    assert rejection(tmp_path, yaml_files.read) == "cannot be read (Is a directory)"


class Layer(yaml_files.Section):
    width: int


class Network(yaml_files.Section):
    rate: float
    layers: dict[str, Layer]


VALID = {"rate": 0.1, "layers": {"first": {"width": 8}}}


def test_a_validated_section_cannot_be_changed():
    network = yaml_files.validate(Path("file"), VALID, Network)
    assert network == Network(rate=0.1, layers={"first": Layer(width=8)})
    with pytest.raises(ValidationError, match="frozen"):
        network.rate = 0.2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (VALID | {"rate": "0.1"}, "rate: Input should be a valid number (found '0.1')"),
        (VALID | {"rate": None}, "rate: Input should be a valid number (found None)"),
        (VALID | {"rate": float("nan")}, "rate: Input should be a finite number (found nan)"),
        (VALID | {"rate": float("inf")}, "rate: Input should be a finite number (found inf)"),
        (
            VALID | {"layers": {"a": {"width": 8.0}}},
            "layers.a.width: Input should be a valid integer (found 8.0)",
        ),
        (
            VALID | {"layers": {"a": {"width": True}}},
            "layers.a.width: Input should be a valid integer (found True)",
        ),
        (
            VALID | {"layers": {"a": [8]}},
            "layers.a: Input should be a valid dictionary or instance of Layer (found [8])",
        ),
        ({"rate": 0.1}, "layers: Field required"),
        (
            {"rte": 0.1, "layers": {"a": {"width": "8"}}},
            "rte: Extra inputs are not permitted (found 0.1); rate: Field required; "
            "layers.a.width: Input should be a valid integer (found '8')",
        ),
        (None, "Input should be a valid dictionary or instance of Network (found None)"),
    ],
)
def test_every_wrong_key_is_reported_with_its_path_and_value(content, reason):
    assert rejection(Path("file"), yaml_files.validate, content, Network) == reason


def test_a_bomb_of_aliases_gives_a_short_message(path):
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    lines += [f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]" for a, b in pairwise("abcdefghijkl")]
    path.write_text("\n".join(lines))
    assert len(rejection(path, yaml_files.validate, yaml_files.read(path), Network)) < 5000
