"""A convolutional network with any number of convolutions and hidden linear layers."""

import re
from typing import Annotated, Any

from mnist_cnn.datasets.description import Form
from mnist_cnn.networks import Classifier, normalise
from mnist_cnn.yaml_files import Section

import torch
from pydantic import Field, NonNegativeInt, PositiveInt, model_validator
from torch import Tensor, nn

_WIDTHS = {
    "conv": re.compile(r"conv[1-9][0-9]*_out_channels"),
    "fc": re.compile(r"fc[1-9][0-9]*_out_features"),
}


class Config(Section):
    """The architecture.

    In files its layers are flat, so that each can be fixed or tuned: `conv1_out_channels`,
    `conv2_out_channels`, … and `fc1_out_features`, …. There are as many layers as widths, or the
    first `n_conv_layers` and `n_fc_layers` of them.
    """

    conv_layers: Annotated[tuple[PositiveInt, ...], Field(strict=False)]
    """Output channels of each convolution. Each convolution halves height and width."""
    fc_layers: Annotated[tuple[PositiveInt, ...], Field(strict=False)]
    """Output features of each hidden linear layer."""
    batch_norm: bool = False
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Probability of dropping an input of a linear layer."""
    crop: NonNegativeInt = 0
    """Pixels to cut off at each side. MNIST's digits fill 20 × 20 of 28 × 28 pixels."""

    @model_validator(mode="before")
    @classmethod
    def _gather_layers(cls, flat: Any) -> Any:
        if not isinstance(flat, dict) or {"conv_layers", "fc_layers"} <= flat.keys():
            return flat
        layers = {f"{kind}_layers": _layers(flat, kind) for kind in _WIDTHS}
        if clash := flat.keys() & layers:
            raise ValueError(f"{min(clash)}: unknown; each layer has a key of its own")
        gathered = {f"n_{name}" for name in layers} | {
            key for key in flat for width in _WIDTHS.values() if width.fullmatch(str(key))
        }
        return {key: value for key, value in flat.items() if key not in gathered} | layers


class Network(Classifier):
    """A stack of convolutions, then of linear layers.

    Each entry of `conv_layers` is a 3 × 3 convolution with padding 1 and so many output channels,
    2 × 2 max-pooling, batch normalisation if wanted, and ReLU. Each entry of `fc_layers` is
    dropout, a linear layer with so many output features, and ReLU. Dropout and a linear layer to
    the classes come last. `crop` pixels at each side of an image are cut off.

    Pooling comes before batch normalisation and ReLU, which then work on a quarter of the values.
    ReLU is monotone, so its result is the same.

    Raises `ValueError` if there are more convolutions than the image can be halved.
    """

    config: Config

    def __init__(self, config: Config, form: Form) -> None:
        super().__init__(config, form)
        height, width = form.height - 2 * config.crop, form.width - 2 * config.crop
        smaller = min(height, width)
        most = max(smaller, 1).bit_length() - 1
        if smaller < 1 or len(config.conv_layers) > most:
            raise ValueError(f"at most {most} convolutions, as each halves the {smaller} pixels")

        layers: list[nn.Module] = []
        channels = form.channels
        for width_ in config.conv_layers:
            # Batch normalisation has its own bias.
            layers.append(nn.Conv2d(channels, width_, 3, padding=1, bias=not config.batch_norm))
            layers.append(nn.MaxPool2d(2))
            if config.batch_norm:
                layers.append(nn.BatchNorm2d(width_))
            layers.append(nn.ReLU())
            channels = width_
        self.features = nn.Sequential(*layers)

        layers = [nn.Flatten()]
        halvings = len(config.conv_layers)
        features = channels * (height >> halvings) * (width >> halvings)
        for size in config.fc_layers:
            layers += [nn.Dropout(config.dropout), nn.Linear(features, size), nn.ReLU()]
            features = size
        layers += [nn.Dropout(config.dropout), nn.Linear(features, form.classes)]
        self.classifier = nn.Sequential(*layers)
        # The fastest layout for convolutions with few channels, on CPUs and GPUs.
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of pixel values."""
        crop = self.config.crop
        rows, columns = slice(crop, self.form.height - crop), slice(crop, self.form.width - crop)
        logits: Tensor = self.classifier(self.features(normalise(pixels[..., rows, columns])))
        return logits

    def describe(self) -> str:
        """The layers and their widths."""
        conv_layers, fc_layers = (
            ", ".join(map(str, layers)) or "none"
            for layers in (self.config.conv_layers, self.config.fc_layers)
        )
        normalised = "with" if self.config.batch_norm else "without"
        return (
            f"3 × 3 convolutions, each with 2 × 2 max-pooling and {normalised} batch "
            f"normalisation; output channels: {conv_layers}. Hidden linear layers; output "
            f"features: {fc_layers}. Pixels cut off at each side: {self.config.crop}."
        )


def _layers(flat: dict[str, Any], kind: str) -> tuple[int, ...]:
    """The widths of the layers of one kind, in order; the first `n_…_layers` if that is set."""
    widths = {key: flat[key] for key in flat if _WIDTHS[kind].fullmatch(str(key))}
    for key, width in widths.items():
        if type(width) is not int or width < 1:
            raise ValueError(f"{key} is {width!r}, expected a whole number, 1 or more")
    in_order = sorted(widths, key=lambda key: int(re.sub(r"\D", "", key)))
    numbered = [re.sub(r"\d+", str(i), key, count=1) for i, key in enumerate(in_order, 1)]
    if in_order != numbered:
        raise ValueError(f"{min(set(numbered) - set(in_order))} missing before {in_order[-1]}")
    count = flat.get(f"n_{kind}_layers", len(widths))
    if type(count) is not int or not 0 <= count <= len(widths):
        raise ValueError(
            f"n_{kind}_layers is {count!r}, expected 0 to {len(widths)}, the number of widths"
        )
    return tuple(widths[key] for key in in_order[:count])
