"""The descriptions of data sets in `datasets/`, and of files that a user writes."""

import re
from dataclasses import replace

from mnist_cnn.datasets import description
from mnist_cnn.datasets.description import IdxFiles
from mnist_cnn.errors import UserError
from mnist_cnn.evaluation import model_card

import pytest
import torchvision
import yaml
from described import DESCRIPTIONS, ROOT
from examples import FACTS
from huggingface_hub import ModelCard


@pytest.fixture(autouse=True)
def _root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize("name", [path.stem for path in (ROOT / "datasets").glob("*.yaml")])
def test_a_description_is_valid(name):
    assert description.load(name).name == name


@pytest.mark.parametrize("name", DESCRIPTIONS)
def test_a_description_has_the_classes_and_the_files_of_torchvision(name):
    described, theirs = DESCRIPTIONS[name], getattr(torchvision.datasets, name)
    assert isinstance(described.source, IdxFiles)
    names = {f"{file.removesuffix('.gz')}.gz" for file in described.source.sha256}
    assert names == {file for file, _ in theirs.resources}
    if name != "MNIST":  # its classes have another form there: "0 - zero"
        assert list(described.classes) == theirs.classes


@pytest.mark.parametrize("name", ["FashionMNIST", "KMNIST"])
def test_the_model_card_describes_the_data_set_and_not_mnist(name, tmp_path):
    described = DESCRIPTIONS[name]
    text = model_card.render(replace(FACTS, dataset=described))
    (tmp_path / "card.md").write_text(text)

    card = ModelCard.load(tmp_path / "card.md")
    assert card.data.datasets == [described.hugging_face_id]
    (result, _) = card.data.eval_results
    assert result.dataset_name == described.title
    assert result.dataset_type == described.hugging_face_id
    assert ", ".join(described.classes) in text

    own = (described.title, described.hugging_face_id, described.test_set, described.model)
    for words in own:
        text = text.replace(words, "")
    for word in ("MNIST", "mnist-cnn", "LeCun", "Census"):
        assert word not in text


IDX = {"kind": "idx", "torchvision": "MNIST"}
LEAST = {
    "name": "dots",
    "title": "Dots",
    "noun": "dot",
    "subject": "dot",
    "channels": 3,
    "height": 4,
    "width": 6,
    "classes": ["no", "yes"],
    "source": {"kind": "npz", "path": "dots.npz"},
    "model": "dots-cnn",
}


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write `datasets/dots.yaml` with changes, in an empty project."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets").mkdir()
    return lambda **changes: (tmp_path / "datasets/dots.yaml").write_text(
        yaml.safe_dump(LEAST | changes)
    )


def test_few_words_are_enough_for_a_description_and_its_card(write):
    write()
    described = description.load("dots")
    assert described.form == (3, 4, 6, 2)
    card = model_card.render(replace(FACTS, dataset=described))
    assert "colour images of 4 × 6 pixels" in card
    assert "Citation" not in card
    assert "None" not in card
    assert ModelCard(card).data.datasets is None


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"name": "spots"}, "its name is 'spots'"),
        ({"colour": 1}, "colour: Extra inputs are not permitted"),
        ({"channels": 2}, "channels: Input should be 1 or 3"),
        ({"classes": ["one"]}, "classes: .* at least 2 items"),
        ({"classes": ["a", "a"]}, "two classes have the same name"),
        ({"object": {"size": 3, "strokes": True}}, "for square grey images only"),
        (
            {"object": {"size": 9, "strokes": True}, "channels": 1, "width": 4},
            "an object of 9 pixels does not fit",
        ),
        ({"digests": {"train": "x", "test": "y"}}, "digests.train: String should match"),
        ({"classes": ["no", "\x1b[2J"]}, "expected printable text"),
        ({"model": "a/b"}, "model: String should match"),
        ({"source": IDX | {"sha256": {}}}, "sha256 has other files than train-images"),
        ({"source": IDX | {"sha256": {"x": "0" * 64}}}, "sha256 has other files than"),
        ({"source": {"kind": "ftp"}}, "source: .*'ftp' found using 'kind'"),
    ],
)
def test_a_wrong_description_is_rejected_with_the_reason(write, changes, reason):
    write(**changes)
    with pytest.raises(UserError, match=f"^datasets/dots.yaml: .*{reason}"):
        description.load("dots")


def test_a_missing_description_names_the_command_that_writes_one(write):
    write()
    with pytest.raises(UserError, match=re.escape("datasets/cats.yaml: missing; `python src/desc")):
        description.load("cats")
    with pytest.raises(UserError, match="is not the name of a data set"):
        description.load("../../cats")
