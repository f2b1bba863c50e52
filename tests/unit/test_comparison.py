"""The differences of two results, in worked numbers."""

from mnist_cnn import files
from mnist_cnn.learning import model
from mnist_cnn.reproduce.comparison import compare_files

import pytest
import torch
from described import DESCRIPTIONS, MNIST
from small_networks import deep_cnn

DAMAGED = "different bytes; one of the files is damaged"
EQUAL_VALUES = "different bytes, equal values"


@pytest.mark.parametrize(
    ("name", "before", "after", "differences"),
    [
        ("a.json", b"\0\xff", b"\0\xff", []),
        ("a.json", b"{\xff", b"", [DAMAGED]),
        ("a.csv", b"{\xff", b"", [DAMAGED]),
        ("a.pth", b"{\xff", b"", [DAMAGED]),
        ("a.png", b"a", b"b", ["different bytes"]),
        ("a.json", b"{}", b"{ }", [EQUAL_VALUES]),
        ("a.json", b'{"a": null, "b": 1}', b'{"b": 1.0, "a": null}', [EQUAL_VALUES]),
        ("a.csv", b"a,b\n1,2\n", b"b,a\r\n2,1\r\n", [EQUAL_VALUES]),
        (
            "a.json",
            b'{"accuracy": 0.5, "same": 1, "classes": {"0": {"f1": 0.25}}, "name": "a", "old": 2}',
            b'{"accuracy": 0.625, "same": 1, "classes": {"0": {"f1": 0.125}}, "name": "b"}',
            [
                "accuracy: 0.5 → 0.625, by at most 0.12",
                "name: a → b",
                "old: 2 → absent",
                "classes.0.f1: 0.25 → 0.125, by at most 0.12",
            ],
        ),
        (
            "a.json",
            b'[{"class": 0, "f1": 0.5}, {"class": 1, "f1": 0.75}]',
            b'[{"class": 0, "f1": 0.5}, {"class": 1, "f1": 0.5}]',
            ["f1: 1 of 2 values, by at most 0.25"],
        ),
        (
            "a.csv",
            b"n,loss,state\n0,0.5,complete\n1,0.25,complete\n2,0.125,pruned\n",
            b"n,loss,state\n0,0.5,complete\n1,0.5,pruned\n2,0.0625,pruned\n",
            ["loss: 2 of 3 values, by at most 0.25", "state: 1 of 3 values"],
        ),
        ("a.csv", b"a,b\n1,2\n", b"a,c\n1,3\n", ["b: 2 → absent", "c: absent → 3"]),
        ("a.csv", b"a\n1\n", b"a\n1\n2\n", ["rows: 1 → 2"]),
    ],
)
def test_files_are_compared_by_bytes_and_then_by_values(tmp_path, name, before, after, differences):
    files.write_bytes(tmp_path / "before" / name, before)
    files.write_bytes(tmp_path / "after" / name, after)
    assert compare_files(tmp_path / "before" / name, tmp_path / "after" / name) == differences


def test_a_missing_file_is_reported(tmp_path):
    (tmp_path / "a.png").touch()
    assert compare_files(tmp_path / "a.png", tmp_path / "b.png") == ["missing"]


def test_models_are_compared_weight_by_weight(tmp_path):
    network = deep_cnn([2], [])
    model.save(network, MNIST.metadata(), tmp_path / "a.pth")
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 0.5
    model.save(network, DESCRIPTIONS["KMNIST"].metadata(), tmp_path / "b.pth")
    model.save(deep_cnn([3], []), MNIST.metadata(), tmp_path / "c.pth")

    assert compare_files(tmp_path / "a.pth", tmp_path / "b.pth") == [
        "dataset: MNIST → KMNIST",
        "features.0.weight: 1 of 18 values, by at most 0.5",
    ]
    assert compare_files(tmp_path / "a.pth", tmp_path / "c.pth") == ["rows: 3920 → 5880"]
