"""Networks for tests."""

from functools import partial

from mnist_cnn import networks
from mnist_cnn.search.trial import train_network

from described import FORM


def deep_cnn(conv_layers=(), fc_layers=(), form=FORM, **options):
    """A convolutional network with random weights."""
    layers = {"conv_layers": conv_layers, "fc_layers": fc_layers}
    config = networks.config("deep_cnn").model_validate(layers | options)
    return networks.build("deep_cnn", config, form)


def objective(tune, train, validation):
    """The training of such networks on MNIST, as the objective of a search."""
    return partial(
        train_network,
        tune=tune,
        device="cpu",
        precision="float32",
        network="deep_cnn",
        form=FORM,
        train=train,
        validation=validation,
    )
