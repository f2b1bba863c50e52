"""Networks for tests."""

from mnist_cnn import networks

from described import FORM


def deep_cnn(conv_layers=(), fc_layers=(), form=FORM, **options):
    """A convolutional network with random weights."""
    layers = {"conv_layers": conv_layers, "fc_layers": fc_layers}
    config = networks.config("deep_cnn").model_validate(layers | options)
    return networks.build("deep_cnn", config, form)
