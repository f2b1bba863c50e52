"""An ensemble averages probabilities, and is saved, calibrated and predicts like one network."""

from mnist_cnn.errors import UserError
from mnist_cnn.learning import calibration, ensemble, model, training
from mnist_cnn.learning.data import Examples
from mnist_cnn.learning.ensemble import Ensemble

import pytest
import torch
from described import FORM, MNIST
from small_networks import deep_cnn


def member(seed):
    """A network with random weights."""
    torch.manual_seed(seed)
    return deep_cnn([3], [], batch_norm=True).eval()


@pytest.fixture
def members():
    return [member(seed) for seed in range(3)]


@pytest.fixture
def examples():
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (40, *FORM[:3]), dtype=torch.uint8, generator=generator)
    return Examples(images, torch.arange(40) % 10)


@pytest.fixture
def images(examples):
    return examples.images


def test_probabilities_are_the_mean_of_those_of_the_members(members, images):
    each = torch.stack([model.probabilities(network, images) for network in members])
    together = model.probabilities(ensemble.combine(members), images)
    torch.testing.assert_close(together, each.mean(0), atol=1e-6, rtol=1e-5)


def test_one_network_is_no_ensemble(members):
    assert ensemble.combine(members[:1]) is members[0]


def test_an_ensemble_is_restored_from_its_file(members, examples, images, tmp_path):
    path = tmp_path / "ensemble.pth"
    detector = calibration.fit_detector(members[0], examples)
    fitted = calibration.Calibration(1.2, 1.5, detector)
    model.save(ensemble.combine(members), MNIST.metadata(), path, fitted)

    restored = model.load(path)
    assert isinstance(restored.network, Ensemble)
    assert restored.network.name == "deep_cnn"
    assert torch.equal(restored.network(images), ensemble.combine(members)(images))


@pytest.mark.parametrize("number", [0, -1, "2", True, 10**9])
def test_a_file_with_another_number_of_networks_is_rejected(members, tmp_path, number):
    path = tmp_path / "ensemble.pth"
    model.save(ensemble.combine(members), MNIST.metadata(), path)
    torch.save(torch.load(path) | {"ensemble": number}, path)
    with pytest.raises(UserError, match="network and weights do not match"):
        model.load(path)


def test_an_ensemble_rejects_what_its_first_member_rejects(members, examples, images):
    fitted = calibration.Calibration(1.0, 1.0, calibration.fit_detector(members[0], examples))
    alone = calibration.predict(members[0], fitted, images).familiarity
    together = calibration.predict(ensemble.combine(members), fitted, images).familiarity
    assert torch.equal(together, alone)


def test_the_description_names_the_number_and_the_architecture(members):
    described = ensemble.combine(members).describe()
    assert described.startswith("3 networks, whose probabilities are averaged. 3 × 3 convolutions")


def test_the_mean_of_epochs_is_that_of_each_metric():
    epochs = [training.Epoch(2, 0.5, 0.25), training.Epoch(2, 0.25, 0.75)]
    assert training.mean(epochs) == training.Epoch(2, 0.375, 0.5)
