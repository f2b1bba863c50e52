"""Training is deterministic, and resuming it after any epoch gives the same bytes."""

from itertools import islice

from mnist_cnn.learning import compute, data, model, training
from mnist_cnn.learning.hyperparameters import parse

import pytest
import torch
from described import FORM

EPOCHS = 3


@pytest.fixture(scope="module")
def examples(real_train):
    """A training set of 600 and a validation set of 200 examples."""
    return data.subset(real_train, (600, 200), 0)


def make_hyperparameters(**changes):
    return parse(
        {
            "conv1_out_channels": 8,
            "conv2_out_channels": 16,
            "batch_norm": True,
            "dropout": 0.1,
            "learning_rate": 0.01,
            "schedule": "one_cycle",
            "batch_size": 50,
        }
        | changes,
        "deep_cnn",
    )


def begin(examples, *, seed=0, checkpoint=None, **changes):
    """A network and its training."""
    compute.configure(1)
    hyperparameters = make_hyperparameters(**changes)
    network = training.build(hyperparameters, FORM, seed)
    return network, training.fit(
        network, hyperparameters, *examples, epochs=EPOCHS, seed=seed, checkpoint=checkpoint
    )


def train(examples, *, stop_after=EPOCHS, **options):
    """Train a network, at most so many of its epochs; return it and its history."""
    network, epochs = begin(examples, **options)
    return network, list(islice(epochs, stop_after))


def weights(network):
    """All weights as bytes."""
    return b"".join(value.numpy().tobytes() for value in network.state_dict().values())


@pytest.fixture(scope="module")
def trained(examples):
    return train(examples)


def test_training_lowers_the_loss_and_raises_the_accuracy(trained):
    _, history = trained
    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert history[-1].train_loss < history[0].train_loss
    assert history[-1].validation_accuracy > 0.8


def test_only_the_seed_decides_the_weights(examples, trained):
    network, history = trained
    same, same_history = train(examples)
    other, _ = train(examples, seed=1)

    assert same_history == history
    assert weights(same) == weights(network)
    assert weights(other) != weights(network)


def test_random_numbers_drawn_between_epochs_have_no_effect(examples, trained):
    hyperparameters = make_hyperparameters()
    network = training.build(hyperparameters, FORM, 0)
    for _ in training.fit(network, hyperparameters, *examples, epochs=EPOCHS, seed=0):
        torch.rand(7)

    assert weights(network) == weights(trained[0])


def test_validation_has_no_effect_on_the_weights(examples, trained):
    network, history = train(examples[:1])

    assert weights(network) == weights(trained[0])
    assert history[-1].metrics().keys() == {"epoch", "train_loss", "train_accuracy"}


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "one_cycle"])
def test_a_resumed_training_ends_with_the_same_bytes(examples, tmp_path, optimizer, schedule):
    changes = {"optimizer": optimizer, "schedule": schedule}
    expected, history = train(examples, **changes)

    checkpoint = tmp_path / "checkpoint.pt"
    for stop_after in (1, 2, 3, 3):
        network, resumed = train(examples, stop_after=stop_after, checkpoint=checkpoint, **changes)
        assert resumed == history[:stop_after]
    assert weights(network) == weights(expected)


def test_trainings_in_turns_end_as_each_alone(examples):
    seeds = (3, 4)
    alone = [weights(train(examples, seed=seed)[0]) for seed in seeds]
    networks, trainings = zip(*(begin(examples, seed=seed) for seed in seeds), strict=True)
    list(zip(*trainings, strict=True))
    assert [weights(network) for network in networks] == alone


def test_finished_epochs_are_not_computed_again(examples, tmp_path, monkeypatch):
    checkpoint = tmp_path / "checkpoint.pt"
    train(examples, stop_after=2, checkpoint=checkpoint)
    points = []
    monkeypatch.setattr(training.faults, "point", lambda name, **_: points.append(name))

    train(examples, checkpoint=checkpoint)

    assert points.count("epoch begun") == 1


def test_an_infinite_loss_is_an_error(examples):
    with pytest.raises(training.DivergedError, match="epoch 1: the loss is not finite"):
        train(examples, learning_rate=1e30, optimizer="sgd", batch_norm=False)


def test_the_training_loss_is_reported_without_label_smoothing(examples):
    """In a single batch, without random changes, it is the loss of the untrained network."""
    changes = {"label_smoothing": 0.5, "batch_size": 600, "batch_norm": False}
    changes |= {"dropout": 0.0, "rotation": 0.0, "translation": 0.0}
    untrained = training.build(make_hyperparameters(**changes), FORM, 0)
    loss, accuracy = training.validate(untrained, examples[0])

    _, (epoch,) = train(examples, stop_after=1, **changes)

    assert epoch.train_loss == pytest.approx(loss, rel=1e-5)
    assert epoch.train_accuracy == accuracy


@pytest.mark.parametrize("batch_size", [7, 250])
def test_validation_metrics_are_those_of_the_whole_set(examples, trained, batch_size):
    network, history = trained
    images, labels = examples[1]
    probabilities = model.probabilities(network, images)

    loss, accuracy = training.validate(network, examples[1], batch_size)

    of_labels = probabilities[torch.arange(200), labels]
    assert accuracy == history[-1].validation_accuracy
    assert accuracy == (probabilities.argmax(1) == labels).sum() / 200
    assert loss == pytest.approx(float(-of_labels.log().mean()), rel=1e-5)


def test_derived_seeds_do_not_collide():
    seeds = [0, 1, 2**32, 2**64 - 1]
    paths = [(n,) for n in range(100)] + [(n, use) for n in range(100) for use in (0, 1)]
    derived = {training.derive_seed(seed, *path) for seed in seeds for path in paths}
    assert len(derived) == len(seeds) * len(paths)
