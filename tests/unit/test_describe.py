"""Mistakes in what a user wants to describe are errors of one line."""

import runpy

from mnist_cnn import yaml_files
from mnist_cnn.errors import UserError

import numpy as np
import pytest
from clone import ROOT
from PIL import Image


@pytest.fixture
def describe(tmp_path, monkeypatch):
    """Run the script in an empty project."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr("sys.argv", ["describe.py", *map(str, arguments)])
        runpy.run_path(str(ROOT / "src/describe.py"))["main"]()

    return run


@pytest.fixture
def folder(tmp_path):
    """A folder with two classes of four grey images."""
    for name in ("no", "yes"):
        (tmp_path / "dots" / name).mkdir(parents=True)
        for number in range(4):
            Image.new("L", (9, 7), number).save(tmp_path / "dots" / name / f"{number}.png")
    return tmp_path / "dots"


def test_a_description_is_not_replaced_without_force(describe, folder, tmp_path):
    describe(folder, "--grey")
    with pytest.raises(
        UserError, match=r"^datasets/dots.yaml exists; --force describes the data again$"
    ):
        describe(folder)
    describe(folder, "--force", "--size", "8x8")
    assert "height: 8" in (tmp_path / "datasets/dots.yaml").read_text()


def test_describing_again_keeps_the_words_and_the_size(describe, folder, tmp_path):
    describe(folder, "--size", "8x6", "--noun", "dot")
    path = tmp_path / "datasets/dots.yaml"
    before = yaml_files.read(path) | {"title": "My dots"}
    yaml_files.write(path, before)
    Image.new("L", (9, 7), 99).save(folder / "no/more.png")
    describe(folder, "--force")
    after = yaml_files.read(path)
    assert {key for key in after if after[key] != before[key]} == {"digests"}
    (folder / "yes").rename(folder / "oui")
    describe(folder, "--force")
    assert yaml_files.read(path)["classes"] == ["no", "oui"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--name", "my dots"], "name: String should match pattern"),
        (["--test-fraction", "2"], "source.test_fraction: Input should be less than 1"),
    ],
)
def test_a_wrong_option_is_named(describe, folder, tmp_path, arguments, reason):
    with pytest.raises(UserError, match=reason):
        describe(folder, *arguments)
    assert not (tmp_path / "datasets").exists()


def test_one_class_is_too_few(describe, folder):
    for path in (folder / "no").iterdir():
        path.unlink()
    (folder / "no").rmdir()
    with pytest.raises(UserError, match="classes: Tuple should have at least 2 items"):
        describe(folder)


def test_an_archive_of_other_values_is_not_described(describe, tmp_path):
    images = np.zeros((6, 4, 4), np.float32)
    np.savez(tmp_path / "dots.npz", images=images, labels=np.arange(6) % 2)
    with pytest.raises(UserError, match="images float32"):
        describe(tmp_path / "dots.npz")
    with pytest.raises(UserError, match=r"none.npz: missing"):
        describe(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(UserError, match="not an archive of plain arrays"):
        describe(tmp_path / "text.npz")
