"""Temperatures, thresholds and familiarities are those of their definitions."""

import math

from mnist_cnn.learning import calibration, compute, data, model, training
from mnist_cnn.learning.calibration import Calibrated, Calibration, Detector
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.hyperparameters import parse

import pytest
import torch
from described import FORM
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


def of_one_class(images):
    return Examples(images, torch.zeros(len(images), dtype=torch.int64))


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
    detector = calibration.fit_detector(network, of_one_class(images))
    _, responses = calibration.respond(network, images)
    assert responses.shape == (600, 2 * 4 + 2 * 6 + 8 + 10)
    distances = detector.distances(responses)
    assert 0.7 < float(distances.detach().square().mean()) <= 1
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
    detector = calibration.fit_detector(network, of_one_class(images[:500]))
    threshold = calibration.fit_threshold(network, detector, images[500:], 0.05)
    fitted = Calibration(1.0, threshold, detector)
    _, familiarity = calibration.predict(network, fitted, images[500:])
    assert (familiarity < 0).sum() == 5
    assert familiarity.max() <= 1


@pytest.fixture(scope="module")
def trained(real_train):
    """A network that was trained a little, 200 examples that it saw, and 1,000 that it did not."""
    compute.configure(1)
    seen, unseen = data.subset(real_train, (200, 1000), 0)
    flat = {"conv1_out_channels": 8, "conv2_out_channels": 16, "fc1_out_features": 128}
    chosen = parse(flat | {"batch_norm": True, "learning_rate": 0.01}, "deep_cnn")
    network = training.build(chosen, FORM, 0)
    list(training.fit(network, chosen, seen, epochs=3, seed=0))
    return network.eval(), seen, unseen


def test_with_fewer_examples_than_responses_new_images_are_about_as_far(trained):
    """Else a threshold would not hold for a detector of more examples."""
    network, seen, unseen = trained
    few, more = data.subset(seen, (100, 100), 0)
    detectors = [calibration.fit_detector(network, each) for each in (few, seen)]
    assert len(detectors[0].mean) > len(few.labels)
    threshold = calibration.fit_threshold(network, detectors[0], more.images, 0.05)
    fitted = Calibration(1.0, threshold, detectors[1])
    familiarity = calibration.predict(network, fitted, unseen.images).familiarity
    assert 0.01 < float((familiarity < 0).double().mean()) < 0.15
    inverted = calibration.predict(network, fitted, 255 - unseen.images).familiarity
    assert (inverted < 0).all()


def test_the_detector_knows_all_classes_of_sorted_examples(trained, monkeypatch):
    network, _, unseen = trained
    order = unseen.labels.argsort()
    monkeypatch.setattr(calibration, "MOST", 500)
    detector = calibration.fit_detector(network, unseen.select(order))
    _, responses = calibration.respond(network, unseen.images)
    distances = detector.distances(responses).detach()
    means = [float(distances[unseen.labels == label].mean()) for label in range(10)]
    assert max(means) < 1


def test_constant_and_repeated_responses_are_no_trouble(images):
    network = deep_cnn([2], []).eval()
    for weights in network.parameters():
        weights.data.zero_()
    detector = calibration.fit_detector(network, of_one_class(images))
    _, responses = calibration.respond(network, images)
    assert detector.distances(responses).isfinite().all()


def test_predictions_are_calibrated_and_the_exported_module_agrees(network, images):
    fitted = Calibration(2.0, 1.5, calibration.fit_detector(network, of_one_class(images)))
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
    torch.testing.assert_close(outputs[:, :-1], probabilities, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(outputs[:, -1], familiarity, rtol=1e-4, atol=1e-5)


def test_without_a_calibration_nothing_is_rejected(network, images):
    probabilities, familiarity = calibration.predict(network, None, images[:7])
    torch.testing.assert_close(probabilities, model.probabilities(network, images[:7]))
    assert familiarity.tolist() == [1] * 7


def test_an_empty_batch_has_no_predictions(network, images):
    probabilities, familiarity = calibration.predict(network, None, images[:0])
    assert (probabilities.shape, familiarity.shape) == ((0, 10), (0,))
    assert not math.isnan(probabilities.sum())
