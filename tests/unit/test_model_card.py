"""The model card has the measured values, and Hugging Face's library can read it."""

from dataclasses import replace

from mnist_cnn.evaluation import model_card

import pytest
from described import DESCRIPTIONS
from examples import FACTS
from huggingface_hub import ModelCard


def results(card):
    """The data set, split, metric and value of each result in the header."""
    return {
        (each.dataset_type, each.dataset_split, each.metric_type, each.metric_value)
        for each in ModelCard(card).data.eval_results or []
    }


def test_the_header_is_that_of_a_model_card():
    card = model_card.render(FACTS)

    header = ModelCard(card).data.to_dict()
    assert (header["license"], header["library_name"]) == ("mit", "pytorch")
    assert results(card) == {
        ("ylecun/mnist", "test", "accuracy", 0.9967),
        ("ylecun/mnist", "test", "f1", 0.9965),
    }


def test_the_body_of_a_card_begins_with_its_title():
    assert model_card.body(model_card.render(FACTS)).startswith("# mnist-cnn\n\nA network")


def test_metrics_of_part_of_the_test_set_are_not_in_the_header():
    summary = {**FACTS.summary, "examples": 500}
    card = model_card.render(replace(FACTS, summary=summary, complete=False))

    assert results(card) == set()
    assert "on 500 test images" in card


@pytest.mark.parametrize(
    "text",
    [
        "**99.67%** on 10,000 test images (95% interval 99.54% to 99.76%)",
        "196,122 parameters. Two convolutions.",
        "on 60,000 images of the training set of MNIST for 20 epochs",
        "| learning_rate | 0.01 | tuned |",
        "| optimizer | adamw | fixed |",
        "chosen on 3 validation images",
        "with the hyperparameters of trial 7 of the search",
        "the validation images classifies 75.00% (mean of 4 seeds) of these correctly",
        "Training accuracy in the last epoch, on augmented images: 99.50%",
        "| F1, macro average | 0.9965 |",
        "| log loss, nats | 0.0107 | By class.",
        "Divided by the temperature 0.8750",
        "| models/best_model.pth | 0123456789abcdef0123456789abcdef |",
    ],
)
def test_the_card_has_the_given_facts(text):
    assert text in " ".join(model_card.render(FACTS).split())


@pytest.mark.parametrize("dataset", DESCRIPTIONS)
def test_the_card_names_the_classes_of_its_data_set(dataset):
    description = DESCRIPTIONS[dataset]
    card = model_card.render(replace(FACTS, dataset=description))

    assert ModelCard(card).data.datasets == [description.hugging_face_id]
    assert ", ".join(description.classes) in card


@pytest.mark.parametrize(("confidence", "level"), [(0.999, "99.9%"), (0.5, "50%"), (0.95, "95%")])
def test_the_confidence_level_is_not_rounded(confidence, level):
    card = model_card.render(replace(FACTS, confidence=confidence))
    assert f"({level} interval" in card
    assert f"at the {level} level" in card
