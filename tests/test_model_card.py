"""The model card says what was measured, and Hugging Face's own tools read it."""

from dataclasses import replace

from mnist_cnn import model_card, probes

import pytest
import torch
from examples import FACTS
from huggingface_hub import ModelCard


def test_the_header_is_a_model_card_with_its_result(tmp_path):
    path = tmp_path / "card.md"
    path.write_text(model_card.render(FACTS))

    data = ModelCard.load(path).data
    header = data.to_dict()

    assert (header["license"], header["library_name"]) == ("mit", "pytorch")
    found = {result.metric_type: result.metric_value for result in data.eval_results}
    assert found == {"accuracy": 0.9967, "f1": 0.9965}
    assert {result.dataset_split for result in data.eval_results} == {"test"}


@pytest.mark.parametrize(
    "line",
    [
        "**99.67%** of 10,000 test images (99.54% to 99.76% at",
        "**Network**: 196,122 weights",
        "batch normalisation: 16, 48. ",
        "On 60,000 images of MNIST's training set for 20 epochs",
        "| learning_rate | 0.01 |",
        "| 3 | 99.30% | 98.00% to 99.90% |",
        "| 4 | 9 | 5 |",
        "| noise | 50.0% | 12.5% |",
        "| models/best_model.pth | 0123456789abcdef0123456789abcdef |",
    ],
)
def test_the_card_tells_what_it_was_given(line):
    assert line in model_card.render(FACTS)


def test_a_part_of_the_test_set_is_no_result_to_be_compared(tmp_path):
    path = tmp_path / "card.md"
    path.write_text(model_card.render(replace(FACTS, summary={**FACTS.summary, "examples": 500})))

    assert ModelCard.load(path).data.eval_results is None
    assert "of 500 test images" in path.read_text()


@pytest.mark.parametrize(("confidence", "told"), [(0.999, "99.9%"), (0.5, "50%"), (0.95, "95%")])
def test_the_confidence_is_told_as_it_is(confidence, told):
    assert f"{told} confidence" in model_card.render(replace(FACTS, confidence=confidence))


def test_probes_are_images_and_no_digits():
    digits = torch.randint(0, 256, (30, 1, 28, 28), dtype=torch.uint8)

    kinds = probes.probes(digits, "digit", seed=0)

    for images in kinds.values():
        assert images.dtype == torch.uint8
        assert images.shape[1:] == (1, 28, 28)
        assert not torch.equal(images[: len(digits)], digits[: len(images)])
    noise = "noise, each pixel at random"
    assert torch.equal(kinds[noise], probes.probes(digits, "digit", seed=0)[noise])
    assert not torch.equal(kinds[noise], probes.probes(digits, "digit", seed=1)[noise])
    assert torch.equal(kinds["digits in black on white"], 255 - digits)
    assert {kind for kind, images in kinds.items() if images.max() == images.min()} == {
        "one plain black",
        "one plain grey",
        "one plain white",
    }


def test_sureness_is_the_mean_and_the_part_above_99_percent():
    found = probes.sureness({"noise": torch.tensor([0.25, 0.5, 0.995, 1.0], dtype=torch.float64)})

    assert found == {"noise": (pytest.approx(0.68625), 0.5)}
