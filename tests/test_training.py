"""`fit`: it learns, it is the same twice, and it goes on after any epoch as if never stopped."""

from itertools import islice

from mnist_cnn import compute, data, model, training
from mnist_cnn.params import Hyperparameters

import pytest
import torch

EPOCHS = 3


@pytest.fixture(scope="module")
def digits(real_train):
    return data.subset(real_train, (600, 200), 0)


def settings(**changes):
    return Hyperparameters.model_validate(
        {
            "conv1_out_channels": 8,
            "conv2_out_channels": 16,
            "batch_norm": True,
            "dropout": 0.1,
            "learning_rate": 0.01,
            "schedule": "one_cycle",
            "batch_size": 50,
        }
        | changes
    )


def trained(digits, hyperparameters=None, *, stop_after=EPOCHS, seed=0, checkpoint=None):
    """A network, its weights after so many of three epochs, and their figures."""
    hyperparameters = hyperparameters or settings()
    compute.configure(1)
    network = training.build(hyperparameters, seed)
    epochs = training.fit(
        network, hyperparameters, *digits, epochs=EPOCHS, seed=seed, checkpoint=checkpoint
    )
    history = list(islice(epochs, stop_after))
    return network, history


def weights(network, path):
    model.save(network, "MNIST", path)
    return path.read_bytes()


def test_it_learns(digits):
    _, history = trained(digits)

    assert [epoch.epoch for epoch in history] == [1, 2, 3]
    assert history[-1].train_loss < history[0].train_loss
    assert history[-1].validation_accuracy > 0.8


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(digits, tmp_path):
    first, history = trained(digits)
    again, history_again = trained(digits)
    other, _ = trained(digits, seed=1)

    assert history == history_again
    assert weights(first, tmp_path / "a") == weights(again, tmp_path / "b")
    assert weights(first, tmp_path / "a") != weights(other, tmp_path / "c")


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@pytest.mark.parametrize("schedule", ["constant", "one_cycle"])
@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_resumed_training_ends_the_same_to_the_byte(
    digits, tmp_path, optimizer, schedule, stop_after
):
    hyperparameters = settings(optimizer=optimizer, schedule=schedule)
    undisturbed, history = trained(digits, hyperparameters)
    trained(digits, hyperparameters, stop_after=stop_after, checkpoint=tmp_path / "kept.pt")

    resumed, history_resumed = trained(digits, hyperparameters, checkpoint=tmp_path / "kept.pt")

    assert history_resumed == history
    assert weights(resumed, tmp_path / "a") == weights(undisturbed, tmp_path / "b")


def test_finished_epochs_are_not_computed_again(digits, tmp_path, monkeypatch):
    trained(digits, stop_after=2, checkpoint=tmp_path / "kept.pt")
    computed = []
    original = training._train_epoch
    monkeypatch.setattr(
        training, "_train_epoch", lambda *args: computed.append(1) or original(*args)
    )

    trained(digits, checkpoint=tmp_path / "kept.pt")

    assert len(computed) == 1


def test_random_numbers_drawn_elsewhere_change_nothing(digits, tmp_path):
    undisturbed, _ = trained(digits)
    hyperparameters = settings()
    network = training.build(hyperparameters, 0)
    for _ in training.fit(network, hyperparameters, *digits, epochs=EPOCHS, seed=0):
        torch.rand(7)

    assert weights(network, tmp_path / "a") == weights(undisturbed, tmp_path / "b")


def test_a_loss_that_is_no_number_is_an_error(digits):
    with pytest.raises(training.DivergedError, match="epoch 1"):
        trained(digits, settings(learning_rate=1e30, optimizer="sgd", batch_norm=False))


def test_the_loss_is_of_the_true_labels_where_smoothed_ones_are_learnt(digits):
    hyperparameters = settings(
        label_smoothing=0.5,
        **{"batch_norm": False, "dropout": 0.0, "rotation": 0.0, "translation": 0.0},
        batch_size=600,
    )
    untrained = training.build(hyperparameters, 0)
    loss, _ = training.validate(untrained, digits[0])

    _, history = trained(digits, hyperparameters, stop_after=1)

    assert history[0].train_loss == pytest.approx(loss, rel=1e-5)


def test_figures_of_validation_are_of_the_whole_set_whatever_the_batch(digits):
    network, _ = trained(digits)
    validation = digits[1]
    loss, accuracy = training.validate(network, validation)
    loss_7, accuracy_7 = training.validate(network, validation, batch_size=7)
    probabilities = model.predict(network, validation.images)
    chosen = probabilities[torch.arange(200), validation.labels]

    assert accuracy == accuracy_7 == (probabilities.argmax(1) == validation.labels).sum() / 200
    assert loss == pytest.approx(float(-chosen.log().mean()), rel=1e-5)
    assert loss_7 == pytest.approx(loss, rel=1e-5)


def test_validation_draws_no_random_numbers_and_changes_no_weights(digits, tmp_path):
    with_validation, _ = trained(digits)
    without, history = trained(digits[:1])

    assert weights(with_validation, tmp_path / "a") == weights(without, tmp_path / "b")
    assert history[-1].validation_loss is None


def test_derived_seeds_do_not_collide():
    seeds = [0, 1, 2**32, 2**64 - 1]
    paths = [(n,) for n in range(100)] + [(n, use) for n in range(100) for use in (0, 1)]
    derived = {training.derive_seed(seed, *path) for seed in seeds for path in paths}
    assert len(derived) == len(seeds) * len(paths)
