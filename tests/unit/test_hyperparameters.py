"""Hyperparameters: layers from flat keys, and the limits of each value."""

from mnist_cnn import networks
from mnist_cnn.errors import UserError
from mnist_cnn.files import write_json
from mnist_cnn.learning.hyperparameters import load, parse
from mnist_cnn.yaml_files import Section

import pytest

WIDTHS = {
    "conv2_out_channels": 20,
    "conv1_out_channels": 10,
    "fc1_out_features": 30,
    "fc2_out_features": 40,
}


def layers(flat):
    config = parse(flat, "deep_cnn").config
    return config.conv_layers, config.fc_layers


def test_layers_are_in_the_order_of_their_numbers():
    assert layers(WIDTHS) == ((10, 20), (30, 40))
    assert layers({f"fc{i}_out_features": i for i in range(10, 0, -1)}) == ((), (*range(1, 11),))


@pytest.mark.parametrize("convolutions", [0, 1, 2])
@pytest.mark.parametrize("hidden", [0, 1, 2])
def test_the_number_of_layers_selects_the_first_ones(convolutions, hidden):
    numbers = {"n_conv_layers": convolutions, "n_fc_layers": hidden}
    assert layers(WIDTHS | numbers) == ((10, 20)[:convolutions], (30, 40)[:hidden])


@pytest.mark.parametrize(
    ("flat", "reason"),
    [
        ({"n_conv_layers": 3}, "n_conv_layers is 3, expected 0 to 2, the number of widths"),
        ({"n_fc_layers": -1}, "n_fc_layers is -1, expected 0 to 2"),
        ({"n_conv_layers": 1.0}, r"n_conv_layers is 1\.0, expected"),
        ({"n_conv_layers": True}, "n_conv_layers is True, expected"),
        ({"n_conv_layers": "two"}, "n_conv_layers is 'two', expected"),
        ({"fc4_out_features": 1}, "fc3_out_features missing before fc4_out_features"),
        ({"conv1_out_channels": 0}, "is 0, expected a whole number, 1 or more"),
        ({"conv1_out_channels": 8.0}, r"is 8\.0, expected a whole number"),
        ({"conv_layers": [8, 8]}, "conv_layers: unknown; each layer has a key of its own"),
        ({"fc1_out_channels": 1}, "fc1_out_channels: Extra inputs are not permitted"),
        ({"conv0_out_channels": 1}, "conv0_out_channels: Extra inputs are not permitted"),
        ({"momentum": 0.9}, "momentum: Extra inputs are not permitted"),
        ({"crop": -1}, "crop: Input should be greater than or equal to 0"),
        ({"schedule": "cosine", "warm_up": 0.5}, "warm_up: Extra inputs are not permitted"),
        ({"augmentation": "none", "rotation": 5.0}, "rotation: Extra inputs are not permitted"),
        ({"dropout": 1.0}, "dropout: Input should be less than 1"),
        ({"label_smoothing": 1.0}, "label_smoothing: Input should be less than 1"),
        ({"rotation": 181}, "rotation: Input should be less than or equal to 180"),
        ({"translation": 1.0}, "translation: Input should be less than 1"),
        ({"learning_rate": 0.0}, "learning_rate: Input should be greater than 0"),
        ({"weight_decay": -0.1}, "weight_decay: Input should be greater than or equal to 0"),
        ({"batch_size": 0}, "batch_size: Input should be greater than 0"),
        ({"optimizer": "lion"}, "optimizer: 'lion' is unknown; there are adam, adamw, sgd"),
        (
            {"schedule": "step"},
            "schedule: 'step' is unknown; there are constant, cosin",
        ),
        ({"interpolation": "cubic"}, "interpolation: Input should be 'nearest' or 'bilinear'"),
    ],
)
def test_invalid_hyperparameters_are_rejected_with_the_reason(flat, reason):
    with pytest.raises(ValueError, match=reason):
        parse(WIDTHS | flat, "deep_cnn")


def test_every_wrong_hyperparameter_is_named():
    with pytest.raises(ValueError, match=r"optimizer: 'lion' .*; batch_size: .*; momentum: Extra"):
        parse({"optimizer": "lion", "batch_size": 0, "momentum": 0.9}, "deep_cnn")


def test_a_name_that_two_parts_have_is_refused(monkeypatch):
    class Config(Section):
        rotation: int = 0

    monkeypatch.setattr(networks, "config", lambda _name: Config)
    with pytest.raises(ValueError, match="rotation is a hyperparameter of two parts"):
        parse({"rotation": 3}, "deep_cnn")
    parse({"rotation": 3, "augmentation": "none"}, "deep_cnn")


@pytest.mark.parametrize("name", ["resnext", "../deep_cnn", "os"])
def test_an_unknown_network_is_named(name):
    known = ", ".join(networks.names())
    with pytest.raises(ValueError, match=f"network '{name}' is unknown; there are {known}"):
        parse({}, name)


def test_a_file_of_hyperparameters_is_read_flat_and_validated(tmp_path):
    path = tmp_path / "best_params.json"
    write_json(path, WIDTHS | {"learning_rate": 1e-05})
    flat, hyperparameters = load(path, "deep_cnn")
    assert flat == WIDTHS | {"learning_rate": 1e-05}
    assert hyperparameters == parse(flat, "deep_cnn")
    write_json(path, {"dropout": 2.0})
    with pytest.raises(UserError, match=f"^{path}: dropout: Input should be less than 1"):
        load(path, "deep_cnn")
