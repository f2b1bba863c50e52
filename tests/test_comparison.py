"""How far two results are apart, in worked numbers."""

from mnist_cnn import comparison, files, model

import pytest
import torch


@pytest.fixture
def pair(tmp_path):
    """Write two files of one name; return what is said to differ between them."""

    def pair(name, then, now):
        paths = []
        for folder, content in (("then", then), ("now", now)):
            path = tmp_path / folder / name
            files.write_bytes(path, content if isinstance(content, bytes) else content.encode())
            paths.append(path)
        return comparison.files(*paths)

    return pair


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.pth", "a.png"])
def test_the_same_bytes_do_not_differ(pair, name):
    assert pair(name, b"\x00\xff", b"\x00\xff") == []


def test_what_is_missing_is_told(tmp_path):
    (tmp_path / "a.png").touch()

    assert comparison.files(tmp_path / "a.png", tmp_path / "b.png") == ["not made now"]


def test_json_is_compared_value_by_value(pair):
    then = '{"accuracy": 0.5, "same": 1, "classes": [{"f1": 0.25}], "gone": null, "name": "a"}'
    now = '{"accuracy": 0.625, "same": 1, "classes": [{"f1": 0.125}], "new": 2, "name": "b"}'

    assert pair("a.json", then, now) == [
        "accuracy: 0.5 → 0.625 (+0.12)",
        "classes.0.f1: 0.25 → 0.125 (-0.12)",
        "gone: None → absent",
        "name: a → b",
        "new: absent → 2",
    ]


def test_csv_is_compared_column_by_column(pair):
    then = "n,loss,state\n0,0.5,complete\n1,0.25,complete\n2,0.125,pruned\n"
    now = "n,loss,state\n0,0.5,complete\n1,0.5,pruned\n2,0.0625,pruned\n"

    assert pair("a.csv", then, now) == [
        "loss: 2 of 3 cells, by 0.25 at most",
        "state: 1 of 3 cells",
    ]


def test_rows_and_columns_that_only_one_table_has_are_told(pair):
    assert pair("a.csv", "a,b\n1,2\n", "a,c\n1,3\n1,4\n") == [
        "rows: 1 → 2",
        "b: 1 of 1 cells",
        "c: 1 of 1 cells",
    ]


def test_other_bytes_of_the_same_values_are_told(pair):
    assert pair("a.json", "{}", "{ }") == ["the same values in other bytes"]
    assert pair("a.csv", "a\n1\n", "a\r\n1\r\n") == ["the same values in other bytes"]
    assert pair("a.png", b"a", b"b") == ["other bytes"]


@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.pth"])
def test_a_damaged_file_differs(pair, name):
    assert pair(name, b"{\xff", b"") == ["other bytes, of which one is no such file"]


def test_models_are_compared_weight_by_weight(tmp_path):
    torch.manual_seed(0)
    network = model.DeepCNN([2], [])
    paths = [tmp_path / f"{name}.pth" for name in "abc"]
    model.save(network, "MNIST", paths[0])
    with torch.no_grad():
        next(network.parameters())[0, 0, 0, 0] += 0.5
    model.save(network, "MNIST", paths[1])
    model.save(model.DeepCNN([3], []), "MNIST", paths[2])

    assert comparison.files(paths[0], paths[1]) == ["weights: by 0.5 at most"]
    assert comparison.files(paths[0], paths[2]) == ["another architecture"]
