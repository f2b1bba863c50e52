"""`DeepCNN`, the file it is kept in, and its answers. Knows nothing of training or of data."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_cnn.errors import UserError
from mnist_cnn.files import write_bytes

import torch
from torch import Tensor, nn

FORMAT = "mnist-cnn"
VERSION = 1


class DeepCNN(nn.Module):
    """A plain convolutional classifier of any number of convolutions and linear layers.

    Each entry of `conv_layers` is a 3 × 3 convolution with padding 1 to so many channels, 2 × 2
    max-pooling, batch normalisation where asked for, and ReLU; each entry of `fc_layers` a linear
    layer and ReLU, with dropout before it; last a linear layer to the classes. Of the image, `crop`
    pixels of each side are not looked at.

    Pooling comes before ReLU: both are monotone, so the result is the same for a quarter of the
    work. It comes before batch normalisation too, for the same saving.

    Raises `ValueError` when there are more poolings than `crop` leaves pixels to halve.
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
        shown = image_size - 2 * crop
        side = shown >> len(conv_layers)
        if side < 1:
            raise ValueError(
                f"{len(conv_layers)} poolings are more than an image of {shown} pixels allows"
            )

        layers: list[nn.Module] = []
        channels = 1
        for width in conv_layers:
            # Batch normalisation has an offset of its own.
            layers.append(nn.Conv2d(channels, width, 3, padding=1, bias=not batch_norm))
            layers.append(nn.MaxPool2d(2))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(nn.ReLU())
            channels = width
        self.features = nn.Sequential(*layers)

        layers = [nn.Flatten()]
        features = channels * side**2
        for width in fc_layers:
            layers += [nn.Dropout(dropout), nn.Linear(features, width), nn.ReLU()]
            features = width
        layers += [nn.Dropout(dropout), nn.Linear(features, classes)]
        self.classifier = nn.Sequential(*layers)
        # The layout in which convolutions of few channels are fastest, on CPUs as on GPUs.
        self.to(memory_format=torch.channels_last)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits `float (n, classes)` of pixel values `(n, 1, size, size)` from 0 to 255.

        Pixels are scaled to [0, 1] and normalised with mean 0.5 and standard deviation 0.5 here,
        so that training and serving cannot disagree about it.
        """
        crop = self.architecture["crop"]
        shown = slice(crop, pixels.shape[-1] - crop)
        inputs = pixels[..., shown, shown].float() / 127.5 - 1
        logits: Tensor = self.classifier(self.features(inputs))
        return logits


@torch.inference_mode()
def predict(model: DeepCNN, images: Tensor, batch_size: int = 250) -> Tensor:
    """Class probabilities `float64 (n, classes)` of pixel values `(n, 1, size, size)`.

    Leaves the model in evaluation mode.
    """
    model.eval()
    return torch.cat([model(batch).double().softmax(1) for batch in images.split(batch_size)])


def save(network: DeepCNN, dataset: str, path: Path) -> None:
    """Write architecture and weights as one file for `torch.load(weights_only=True)`.

    It has the name of the data set besides, as whose classes the answers are to be read.
    """
    content = {
        "format": FORMAT,
        "version": VERSION,
        "dataset": dataset,
        "architecture": network.architecture,
        "state_dict": {
            name: value.cpu().contiguous() for name, value in network.state_dict().items()
        },
    }
    # Through a buffer, because `torch.save` writes the name of a file that it opens into it.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_bytes(path, buffer.getvalue())


def load(path: Path) -> tuple[DeepCNN, str]:
    """Read what `save` wrote: the network, in evaluation mode, on the CPU, and its data set.

    No code in the file is executed. One that names no data set is taken for one of MNIST.

    Raises `UserError` for a missing file and for one that `save` did not write.
    """
    if not path.is_file():
        raise UserError(f"{path}: missing")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    # Whatever the unpickler meets in a file that is not a checkpoint. Its own words are left out,
    # because they end in the advice to execute the file.
    except Exception:
        raise UserError(f"{path}: damaged, or not a PyTorch file of plain tensors") from None
    if not isinstance(content, dict) or str(content.get("format")) != FORMAT:
        raise UserError(f"{path}: not a model of this project (no format {FORMAT!r})")
    version = content.get("version")
    if type(version) is not int or version != VERSION:
        raise UserError(f"{path}: format version {version!r}, this release reads {VERSION}")
    try:
        model = DeepCNN(**content["architecture"])
        model.load_state_dict(content["state_dict"])
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path}: architecture and weights do not fit ({reason})") from None
    if not all(torch.isfinite(value).all() for value in model.state_dict().values()):
        raise UserError(f"{path}: has weights that are not finite numbers")
    dataset = content.get("dataset", "MNIST")
    if not isinstance(dataset, str):
        raise UserError(f"{path}: names no data set")
    return model.eval(), dataset
