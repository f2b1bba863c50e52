"""How the published model behaves on real digits: accuracy, invariance, direction."""

from typing import NamedTuple

from mnist_cnn.learning import data, model
from mnist_cnn.networks import Classifier

import pytest
import torch
from described import mnist
from torchvision.transforms import InterpolationMode
from torchvision.transforms import functional as TF


class Subject(NamedTuple):
    """A model, and its predictions for test images."""

    network: Classifier
    images: torch.Tensor
    labels: torch.Tensor
    probabilities: torch.Tensor

    @property
    def correct(self):
        return self.probabilities.argmax(1) == self.labels

    def agreement(self, images):
        """The fraction of images with the same prediction in another form."""
        predictions = model.probabilities(self.network, images).argmax(1)
        return float((predictions == self.probabilities.argmax(1)).float().mean())

    def confidence_in_truth(self, images):
        probabilities = model.probabilities(self.network, images)
        return float(probabilities.gather(1, self.labels[:, None]).mean())


@pytest.fixture(scope="module")
def subject(published_model):
    network, _, _ = model.load(published_model)
    images, labels = data.load("test", mnist())
    images, labels = images[::5], labels[::5]
    return Subject(network, images, labels, model.probabilities(network, images))


def moved(images, *, angle=0, shift=(0, 0)):
    """Images rotated by degrees and shifted by pixels to the right and down."""
    return TF.affine(
        images,
        angle=angle,
        translate=list(shift),
        scale=1,
        shear=[0],
        interpolation=InterpolationMode.BILINEAR,
    )


def test_it_classifies_nearly_all_digits_correctly(subject):
    assert subject.correct.float().mean() >= 0.995


@pytest.mark.parametrize("digit", range(10))
def test_it_classifies_every_digit_correctly(subject, digit):
    assert subject.correct[subject.labels == digit].float().mean() >= 0.97


@pytest.mark.parametrize("shift", [(2, 0), (-2, 0), (0, 2), (0, -2)])
def test_a_shift_by_two_pixels_keeps_the_prediction(subject, shift):
    assert subject.agreement(moved(subject.images, shift=shift)) >= 0.97


@pytest.mark.parametrize("angle", [10, -10])
def test_a_rotation_by_ten_degrees_keeps_the_prediction(subject, angle):
    assert subject.agreement(moved(subject.images, angle=angle)) >= 0.97


def test_a_darker_image_keeps_the_prediction(subject):
    assert subject.agreement(subject.images * 0.9) >= 0.98


def test_noise_lowers_the_confidence_in_the_true_class(subject):
    noise = torch.randn(subject.images.shape, generator=torch.Generator().manual_seed(0))
    clean, little, much = (
        subject.confidence_in_truth((subject.images + deviation * noise).clamp(0, 255))
        for deviation in (0, 40, 80)
    )
    assert clean > little > much


def test_an_empty_image_has_a_lower_confidence_than_digits(subject):
    """Other images without a digit can have a high one; the model card measures it."""
    empty = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)

    assert (
        model.probabilities(subject.network, empty).max()
        < subject.probabilities.max(1).values.mean()
    )
