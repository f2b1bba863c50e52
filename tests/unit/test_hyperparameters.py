"""Hyperparameters: layers from flat keys, and the limits of each value."""

from mnist_cnn.errors import UserError
from mnist_cnn.files import write_json
from mnist_cnn.learning.params import Hyperparameters, load_hyperparameters

import pytest
from pydantic import ValidationError

WIDTHS = {
    "conv2_out_channels": 20,
    "conv1_out_channels": 10,
    "fc1_out_features": 30,
    "fc2_out_features": 40,
}


def layers(flat):
    hyperparameters = Hyperparameters.model_validate(flat)
    return hyperparameters.conv_layers, hyperparameters.fc_layers


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
        (
            {f"conv{i}_out_channels": 1 for i in range(1, 6)},
            "at most 4 convolutions, as each halves the 28 pixels",
        ),
        (
            {f"conv{i}_out_channels": 1 for i in range(1, 5)} | {"crop": 7},
            "at most 3 convolutions, as each halves the 14 pixels",
        ),
        ({"fc1_out_channels": 1}, "fc1_out_channels\n +Extra inputs are not permitted"),
        ({"conv0_out_channels": 1}, "conv0_out_channels\n +Extra inputs are not permitted"),
        ({"momentum": 0.9}, "momentum\n +Extra inputs are not permitted"),
        ({"crop": -1}, "crop\n +Input should be greater than or equal to 0"),
        ({"crop": 14}, "crop\n +Input should be less than 14"),
        ({"dropout": 1.0}, "dropout\n +Input should be less than 1"),
        ({"label_smoothing": 1.0}, "label_smoothing\n +Input should be less than 1"),
        ({"rotation": 181}, "rotation\n +Input should be less than or equal to 180"),
        ({"translation": 1.0}, "translation\n +Input should be less than 1"),
        ({"learning_rate": 0.0}, "learning_rate\n +Input should be greater than 0"),
        ({"weight_decay": -0.1}, "weight_decay\n +Input should be greater than or equal to 0"),
        ({"batch_size": 0}, "batch_size\n +Input should be greater than 0"),
        ({"optimizer": "lion"}, "optimizer\n +Input should be 'adam', 'adamw' or 'sgd'"),
        ({"schedule": "cosine"}, "schedule\n +Input should be 'constant' or 'one_cycle'"),
        ({"interpolation": "cubic"}, "interpolation\n +Input should be 'nearest' or 'bilinear'"),
    ],
)
def test_invalid_hyperparameters_are_rejected_with_the_reason(flat, reason):
    with pytest.raises(ValidationError, match=reason):
        Hyperparameters.model_validate(WIDTHS | flat)


def test_a_file_of_hyperparameters_is_read_flat_and_validated(tmp_path):
    path = tmp_path / "best_params.json"
    write_json(path, WIDTHS | {"learning_rate": 1e-05})
    flat, hyperparameters = load_hyperparameters(path)
    assert flat == WIDTHS | {"learning_rate": 1e-05}
    assert hyperparameters == Hyperparameters.model_validate(flat)
    write_json(path, {"dropout": 2.0})
    with pytest.raises(UserError, match=f"^{path}: dropout: Input should be less than 1"):
        load_hyperparameters(path)
