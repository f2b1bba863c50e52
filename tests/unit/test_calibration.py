"""Temperatures, thresholds and familiarities are those of their definitions."""

import math

from mnist_cnn.learning import calibration, model
from mnist_cnn.learning.calibration import Calibrated, Calibration, Detector
from mnist_cnn.learning.data import Examples

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import deep_cnn
from torch import nn
from torch.nn import functional as F


class Pixels(nn.Module):
    """A network whose logits are the first pixels of an image."""

    def __init__(self, classes=3):
        super().__init__()
        self.linear = nn.Linear(4, classes, bias=False)
        self.linear.weight.data = torch.eye(classes, 4)

    def forward(self, pixels):
        return self.linear(pixels.float().flatten(1))


def images_of(values):
    return torch.as_tensor(values).view(len(values), 1, 2, 2)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return deep_cnn([4, 6], [8], batch_norm=True).eval()


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (600, 1, 28, 28), generator=generator, dtype=torch.uint8)


@settings(max_examples=30)
@given(st.floats(0.2, 5))
def test_the_temperature_restores_calibrated_probabilities(true):
    # Labels as frequent as the softmax says at the temperature `true`.
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 1.5, 0.0]])
    counts = (200_000 * (logits.double() / true).softmax(1)).round().long()
    labels = torch.cat([torch.arange(3).repeat_interleave(row) for row in counts])
    rows = torch.arange(2).repeat_interleave(counts.sum(1))
    pixels = F.pad(logits, (0, 1))[rows]
    # Each different image counts as often as it occurs.
    found = calibration.fit_temperature(Pixels(), Examples(images_of(pixels), labels))
    assert found == pytest.approx(true, rel=1e-3)


def test_the_temperature_has_the_lowest_log_loss(network, images):
    labels = network(images).argmax(1)
    labels[::7] = 0
    found = calibration.fit_temperature(network, Examples(images, labels))
    logits = network(images).detach().double()

    def loss(temperature):
        return float(F.cross_entropy(logits / temperature, labels))

    assert loss(found) <= min(loss(found * 1.01), loss(found / 1.01))


def test_the_temperature_of_perfect_predictions_is_finite():
    examples = Examples(images_of([[5.0, 0, 0, 0], [0, 5.0, 0, 0]]), torch.tensor([0, 1]))
    assert 0 < calibration.fit_temperature(Pixels(), examples) < 1


def test_the_detector_whitens_the_responses(network, images):
    detector = calibration.fit_detector(network, images)
    _, responses = calibration.respond(network, images)
    assert responses.shape == (600, 2 * 4 + 2 * 6 + 8 + 10)
    distances = detector.distances(responses)
    assert float(distances.detach().square().mean()) == pytest.approx(1, abs=0.1)
    # Worked by hand: each of three independent responses is two deviations from its mean.
    identity = Detector(torch.zeros(3), torch.eye(3))
    assert identity.distances(torch.full((1, 3), 2.0)).tolist() == [2]


def test_responses_are_means_and_deviations_of_channels(network, images):
    logits, responses = calibration.respond(network, images[:3])
    assert torch.equal(logits, network(images[:3]))
    first = network.features[0](images[:3].float() / 127.5 - 1)
    torch.testing.assert_close(responses[:, :4], first.mean((2, 3)))
    torch.testing.assert_close(responses[:, 4:8], first.std((2, 3), correction=0))
    torch.testing.assert_close(responses[:, -10:], logits)


def test_the_threshold_rejects_the_fraction_that_was_asked_for(network, images):
    detector = calibration.fit_detector(network, images[:500])
    threshold = calibration.fit_threshold(network, detector, images[500:], 0.05)
    fitted = Calibration(1.0, threshold, detector)
    _, familiarity = calibration.predict(network, fitted, images[500:])
    assert (familiarity < 0).sum() == 5
    assert familiarity.max() <= 1


def test_constant_and_repeated_responses_are_no_trouble(images):
    network = deep_cnn([2], []).eval()
    for weights in network.parameters():
        weights.data.zero_()
    detector = calibration.fit_detector(network, images)
    _, responses = calibration.respond(network, images)
    assert detector.distances(responses).isfinite().all()


def test_predictions_are_calibrated_and_the_exported_module_agrees(network, images):
    fitted = Calibration(2.0, 1.5, calibration.fit_detector(network, images))
    probabilities, familiarity = calibration.predict(network, fitted, images[:7])
    logits = network(images[:7]).double()
    torch.testing.assert_close(probabilities, (logits / 2).softmax(1), rtol=1e-5, atol=1e-7)

    exported = torch.export.export(
        Calibrated(network, fitted).eval(),
        (images[:2],),
        dynamic_shapes=({0: torch.export.Dim("n")},),
    ).module()
    outputs = exported(images[:7])
    assert outputs.shape == (7, 11)
    torch.testing.assert_close(outputs[:, :-1].double(), logits / 2, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs[:, -1].double(), familiarity, rtol=1e-4, atol=1e-5)


def test_without_a_calibration_nothing_is_rejected(network, images):
    probabilities, familiarity = calibration.predict(network, None, images[:7])
    torch.testing.assert_close(probabilities, model.predict(network, images[:7]))
    assert familiarity.tolist() == [1] * 7


def test_an_empty_batch_has_no_predictions(network, images):
    probabilities, familiarity = calibration.predict(network, None, images[:0])
    assert (probabilities.shape, familiarity.shape) == ((0, 10), (0,))
    assert not math.isnan(probabilities.sum())
