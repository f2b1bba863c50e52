"""Optimisers by name. To add one, write its options as a class and name it in `OPTIMIZERS`."""

from collections.abc import Iterator
from typing import Annotated, Any

from mnist_cnn.yaml_files import Section

from pydantic import Field
from torch import nn, optim


class Optimizer(Section):
    """The options that all have."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    decay_biases_and_norms: bool = True
    """Whether weight decay acts on biases and normalisation layers as well."""

    def build(self, model: nn.Module, learning_rate: float) -> optim.Optimizer:
        """An optimiser of all parameters of a model."""
        raise NotImplementedError

    def _groups(self, model: nn.Module) -> Iterator[dict[str, Any]]:
        """The parameters with weight decay, and those without."""
        decayed = [p for p in model.parameters() if self.decay_biases_and_norms or p.ndim > 1]
        others = [p for p in model.parameters() if not self.decay_biases_and_norms and p.ndim <= 1]
        yield {"params": decayed, "weight_decay": self.weight_decay}
        if others:
            yield {"params": others, "weight_decay": 0.0}


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015); weight decay is added to the gradient."""

    def build(self, model: nn.Module, learning_rate: float) -> optim.Optimizer:
        """See `Optimizer`."""
        return optim.Adam(self._groups(model), learning_rate, fused=True)


class AdamW(Optimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019)."""

    def build(self, model: nn.Module, learning_rate: float) -> optim.Optimizer:
        """See `Optimizer`."""
        return optim.AdamW(self._groups(model), learning_rate, fused=True)


class SGD(Optimizer):
    """Stochastic gradient descent with Nesterov momentum."""

    momentum: Annotated[float, Field(gt=0, lt=1)] = 0.9

    def build(self, model: nn.Module, learning_rate: float) -> optim.Optimizer:
        """See `Optimizer`."""
        groups = self._groups(model)
        return optim.SGD(groups, learning_rate, momentum=self.momentum, nesterov=True)


OPTIMIZERS: dict[str, type[Optimizer]] = {"adam": Adam, "adamw": AdamW, "sgd": SGD}
