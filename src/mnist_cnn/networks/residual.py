"""A residual network for small images (He et al. 2016, section 4.2)."""

from typing import Annotated

from mnist_cnn.datasets.description import Form
from mnist_cnn.networks import Classifier, normalise
from mnist_cnn.yaml_files import Section

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn
from torch.nn import functional as F


class Config(Section):
    """The architecture; ResNet-20 has 3 blocks and a width of 16."""

    blocks: PositiveInt = 1
    """Residual blocks in each of the three stages."""
    width: PositiveInt = 16
    """Output channels of the first stage. Each later stage has twice as many, and half the pixels
    in height and width."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of dropping an input of the linear layer."""


class Network(Classifier):
    """A convolution, three stages of residual blocks, the mean over all pixels, a linear layer."""

    config: Config

    def __init__(self, config: Config, form: Form) -> None:
        super().__init__(config, form)
        widths = [config.width * 2**stage for stage in range(3)]
        self.stem = nn.Sequential(*_convolution(form.channels, config.width), nn.ReLU())
        blocks, channels = [], config.width
        for stage, width in enumerate(widths):
            for block in range(config.blocks):
                blocks.append(_Block(channels, width, stride=2 if stage and not block else 1))
                channels = width
        self.blocks = nn.Sequential(*blocks)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(config.dropout),
            nn.Linear(channels, form.classes),
        )
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of pixel values."""
        logits: Tensor = self.classifier(self.blocks(self.stem(normalise(pixels))))
        return logits

    def describe(self) -> str:
        """The number of layers and their widths."""
        first = self.config.width
        return (
            f"A residual network of {6 * self.config.blocks + 2} layers: three stages of "
            f"{self.config.blocks} blocks with {first}, {2 * first} and {4 * first} channels."
        )


class _Block(nn.Module):
    """Two convolutions, and a sum with the input.

    Where the form changes, the sum is with every other pixel of the input, and the new channels are
    0 (option A of the article). oneDNN's backward pass for the alternative, a 1 × 1 convolution
    with a stride of 2, can crash when it has 4 channels and AVX2 (PyTorch 2.14.1).
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *_convolution(channels, width, stride), nn.ReLU(), *_convolution(width, width)
        )
        self.stride = stride
        self.new_channels = width - channels

    def forward(self, x: Tensor) -> Tensor:
        kept = x[:, :, :: self.stride, :: self.stride]
        return F.relu(self.residual(x) + F.pad(kept, [0, 0, 0, 0, 0, self.new_channels]))


def _convolution(channels: int, width: int, stride: int = 1) -> tuple[nn.Module, ...]:
    """A 3 × 3 convolution and batch normalisation, which has its own bias."""
    return (
        nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
        nn.BatchNorm2d(width),
    )
