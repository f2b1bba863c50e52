"""Several trained networks as one, whose probabilities are averaged (Lakshminarayanan et al. 2017).

They have the same architecture, and other random weights at the start of their training.
"""

import math
from collections.abc import Sequence
from typing import Any

from mnist_cnn.networks import Classifier

import torch
from torch import Tensor, nn


class Ensemble(Classifier):
    """A network of networks.

    `forward` returns the logarithm of the mean of the members' probabilities, so that the softmax
    of its logits is that mean.
    """

    def __init__(self, members: Sequence[Classifier]) -> None:
        super().__init__(members[0].config, members[0].form)
        self.members: Any = nn.ModuleList(members)

    @property
    def name(self) -> str:
        """The name of the members' module."""
        return first(self).name

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of pixel values."""
        logarithms = torch.stack([member(pixels).log_softmax(1) for member in self.members])
        return logarithms.logsumexp(0) - math.log(len(self.members))

    def describe(self) -> str:
        """The number of members, and the architecture of each."""
        return f"{size(self)} networks, whose probabilities are averaged. {first(self).describe()}"


def combine(networks: Sequence[Classifier]) -> Classifier:
    """An ensemble of networks, or the network itself if it is the only one."""
    return Ensemble(networks) if len(networks) > 1 else networks[0]


def first(network: Classifier) -> Classifier:
    """The first member of an ensemble; another network itself."""
    if not isinstance(network, Ensemble):
        return network
    member: Classifier = network.members[0]
    return member


def size(network: Classifier) -> int:
    """The number of members of an ensemble; 1 for another network."""
    return len(network.members) if isinstance(network, Ensemble) else 1
