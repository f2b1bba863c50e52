"""Networks, a module for each; a stage depends on the module of the network that it trains.

A module imports no other one of them. It has two names: `Config`, the hyperparameters of the
network, and `Network`, which is built from them. `config`, `build` and `names` find a module by its
name.
"""

import pkgutil
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import Any

from mnist_cnn.datasets.description import Form
from mnist_cnn.yaml_files import Section

import torch
from torch import Tensor, nn

# Smaller networks are checked on the CPU: to compute on `meta` imports a compiler for seconds.
_MOST_WEIGHTS = 10_000_000
_MOST_PIXELS = 100_000


class Classifier(nn.Module):
    """The base of all networks.

    `forward` takes pixel values `(n, channels, height, width)`, 0 to 255, and returns logits
    `float (n, classes)`. It begins with `normalise`, so that training and serving cannot differ.
    """

    def __init__(self, config: Section, form: Form) -> None:
        super().__init__()
        self.config: Any = config
        self.form = form

    @property
    def name(self) -> str:
        """The name of the module."""
        return type(self).__module__.rpartition(".")[2]

    def describe(self) -> str:
        """The architecture in a few sentences, for the model card."""
        values = ", ".join(f"{name}: {value}" for name, value in self.config.model_dump().items())
        return f"The network `{self.name}` with {values}."


def normalise(pixels: Tensor) -> Tensor:
    """Pixel values from 0 to 255 as `float32` from -1 to 1."""
    return pixels.float() / 127.5 - 1


@cache
def names() -> tuple[str, ...]:
    """The names of all networks."""
    return tuple(
        module.name
        for module in pkgutil.iter_modules(__path__)
        if not module.ispkg and module.name[0] != "_"
    )


def config(name: str) -> type[Section]:
    """The configuration of a network. Raises `ValueError` for an unknown name."""
    found: type[Section] = _module(name).Config
    return found


def build(name: str, config: Section, form: Form) -> Classifier:
    """A network with random weights from PyTorch's generator.

    Raises `ValueError` if a network with this configuration cannot take such images.
    """
    network: Classifier = _module(name).Network(config, form)
    return network


def check(name: str, config: Section, form: Form) -> None:
    """Raise `ValueError` unless the network can be built, and returns a logit for each class.

    It takes two images. A large network, or one for large images, gets no memory and computes
    nothing.
    """
    with torch.device("meta"):
        weights = sum(each.numel() for each in build(name, config, form).parameters())
    pixels = form.channels * form.height * form.width
    small = weights <= _MOST_WEIGHTS and pixels <= _MOST_PIXELS
    device = "cpu" if small else "meta"
    with torch.device(device), torch.random.fork_rng(devices=[]), torch.inference_mode():
        network = build(name, config, form)
        images = torch.zeros(2, form.channels, form.height, form.width, dtype=torch.uint8)
        try:
            shape = tuple(network(images).shape)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ValueError(f"network {name} fails for {form}: {reason}") from error
    if shape != (2, form.classes):
        raise ValueError(f"network {name} returns {shape} for two images, not (2, {form.classes})")


def _module(name: str) -> ModuleType:
    if name not in names():
        raise ValueError(f"network {name!r} is unknown; there are {', '.join(names())}")
    return import_module(f"{__name__}.{name}")
