"""Unusual images are unlike those of the data set, and confidence on them is summarised."""

from mnist_cnn.evaluation import out_of_distribution
from mnist_cnn.evaluation.out_of_distribution import unusual_images

import pytest
import torch

IMAGES = torch.randint(0, 256, (30, 1, 28, 28), dtype=torch.uint8)


def test_each_kind_of_unusual_image_is_what_its_name_says():
    kinds = unusual_images(IMAGES, "digit", seed=0)

    assert {(images.dtype, images.shape[1:]) for images in kinds.values()} == {
        (torch.uint8, (1, 28, 28))
    }
    for name, pixel in (("all black", 0), ("all grey", 128), ("all white", 255)):
        assert kinds[name].unique().tolist() == [pixel]
    assert torch.equal(kinds["digits, inverted"], 255 - IMAGES)
    noise = kinds["uniform noise"]
    assert noise.unique().tolist() == list(range(256))
    assert noise.float().mean() == pytest.approx(127.5, abs=1)


def test_the_seed_decides_the_noise():
    noise, same, other = (
        unusual_images(IMAGES, "digit", seed=seed)["uniform noise"] for seed in (0, 0, 1)
    )
    assert torch.equal(noise, same)
    assert not torch.equal(noise, other)


def test_confidence_is_summarised_by_its_mean_and_the_fraction_above_99_percent():
    confidences = {"noise": torch.tensor([0.25, 0.5, 0.995, 1.0], dtype=torch.float64)}
    summary = out_of_distribution.confidence_summary(confidences)
    assert summary == {"noise": (pytest.approx(0.68625), 0.5)}
