"""The network, the `.pth` file it is stored in, and its predictions."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_cnn import faults
from mnist_cnn.errors import UserError
from mnist_cnn.files import write_bytes

import torch
from torch import Tensor, nn

FORMAT = "mnist-cnn"
VERSION = 1


class DeepCNN(nn.Module):
    """A convolutional classifier with any number of convolutions and hidden linear layers.

    Each entry of `conv_layers` is a 3 × 3 convolution with padding 1 and so many output channels,
    2 × 2 max-pooling, batch normalisation if wanted, and ReLU. Each entry of `fc_layers` is
    dropout, a linear layer with so many output features, and ReLU. Dropout and a linear layer to
    the classes come last. `crop` pixels at each side of an image are cut off.

    Pooling comes before batch normalisation and ReLU, which then work on a quarter of the values.
    ReLU is monotone, so its result is the same.

    Raises `ValueError` if there are more poolings than the image can be halved.
    """

    def __init__(
        self,
        conv_layers: Sequence[int],
        fc_layers: Sequence[int],
        *,
        batch_norm: bool = False,
        dropout: float = 0.0,
        crop: int = 0,
        image_size: int = 28,
        classes: int = 10,
    ) -> None:
        super().__init__()
        self.architecture: dict[str, Any] = {
            "conv_layers": list(conv_layers),
            "fc_layers": list(fc_layers),
            "batch_norm": batch_norm,
            "dropout": dropout,
            "crop": crop,
            "image_size": image_size,
            "classes": classes,
        }
        if crop < 0:
            raise ValueError(f"crop is {crop}, expected 0 or more")
        cropped = image_size - 2 * crop
        size = cropped >> len(conv_layers)
        if size < 1:
            raise ValueError(
                f"{len(conv_layers)} poolings are more than an image of {cropped} pixels allows"
            )

        layers: list[nn.Module] = []
        channels = 1
        for width in conv_layers:
            # Batch normalisation has its own bias.
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
            layers.append(nn.MaxPool2d(2))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        self.features = nn.Sequential(*layers)

        layers = [nn.Flatten()]
        features = channels * size**2
        for width in fc_layers:
            layers += [nn.Dropout(dropout), nn.Linear(features, width), nn.ReLU()]
            features = width
        layers += [nn.Dropout(dropout), nn.Linear(features, classes)]
        self.classifier = nn.Sequential(*layers)
        # The fastest layout for convolutions with few channels, on CPUs and GPUs.
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits `float (n, classes)` of pixel values `(n, 1, size, size)` from 0 to 255.

        Pixels are normalised here (scaled to [0, 1], then mean 0.5 and standard deviation 0.5), so
        that training and serving cannot differ.
        """
        crop = self.architecture["crop"]
        kept = slice(crop, pixels.shape[-1] - crop)
        inputs = pixels[..., kept, kept].float() / 127.5 - 1
        logits: Tensor = self.classifier(self.features(inputs))
        return logits


@torch.inference_mode()
def predict(model: DeepCNN, images: Tensor, batch_size: int = 250) -> Tensor:
    """Class probabilities `float64 (n, classes)` of pixel values `(n, 1, size, size)`.

    Leaves the model in evaluation mode.
    """
    model.eval()
    return torch.cat([model(batch).double().softmax(1) for batch in images.split(batch_size)])


def save(model: DeepCNN, dataset: str, path: Path) -> None:
    """Write a model for `torch.load(weights_only=True)`: architecture, weights, name of its data.

    Args:
        model: on any device.
        dataset: the name of the data set that it was trained on, which defines its classes.
        path: the file.
    """
    faults.point("model trained")
    content = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": dataset,
        "architecture": model.architecture,
        "state_dict": {
            name: value.cpu().contiguous() for name, value in model.state_dict().items()
        },
    }
    # Through a buffer, because `torch.save` would store the name of a file.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> tuple[DeepCNN, str]:
    """Read a `.pth` without executing code from it.

    Returns:
        The model, in evaluation mode, on the CPU, and the name of the data set that it was trained
        on: `MNIST` if the file, of an early version, has none.

    Raises `UserError` if the file is missing or was not written by `save`.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # Anything can happen while a foreign file is read. The message of PyTorch is left out, because
    # it recommends to execute the file.
    except Exception:
        raise UserError(f"{path}: damaged, or not a PyTorch file of plain tensors") from None
    if not isinstance(content, dict) or str(content.get("format")) != FORMAT:
        raise UserError(f"{path}: not a model of this project (its format is not {FORMAT!r})")
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise UserError(f"{path}: format version {version!r}, but this release reads {VERSION}")
    try:
        model = DeepCNN(**content["architecture"])
        model.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: architecture and weights do not match ({reason})") from None
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise UserError(f"{path}: has weights that are not finite")
    dataset = content.get("dataset", "MNIST")
    if not isinstance(dataset, str):
        raise UserError(f"{path}: has no name of a data set")
    return model.eval(), dataset
