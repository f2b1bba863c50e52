"""What is said about a data set other than MNIST."""

from dataclasses import replace

from mnist_cnn.datasets.descriptions import DESCRIPTIONS
from mnist_cnn.evaluation import model_card

import pytest
import torchvision
from examples import FACTS
from huggingface_hub import ModelCard

OTHERS = pytest.mark.parametrize("name", sorted(DESCRIPTIONS.keys() - {"MNIST"}))


@OTHERS
def test_the_classes_have_the_names_and_the_order_of_torchvision(name):
    assert list(DESCRIPTIONS[name].classes) == getattr(torchvision.datasets, name).classes


@OTHERS
def test_the_model_card_describes_the_data_set_and_not_mnist(name, tmp_path):
    description = DESCRIPTIONS[name]
    text = model_card.render(replace(FACTS, dataset=description))
    (tmp_path / "card.md").write_text(text)

    card = ModelCard.load(tmp_path / "card.md")
    assert card.data.datasets == [description.hugging_face_id]
    (result, _) = card.data.eval_results
    assert result.dataset_name == description.name
    assert result.dataset_type == description.hugging_face_id
    assert ", ".join(description.classes) in text
    assert ", ".join(description.classes) in text

    own = (description.name, description.hugging_face_id, description.test_set, description.model)
    for words in own:
        text = text.replace(words, "")
    for word in ("MNIST", "mnist-cnn", "LeCun", "Census"):
        assert word not in text
