"""Images unlike those of the data set, to measure the confidence of a model on them."""

from collections.abc import Mapping

import torch
from torch import Tensor


def unusual_images(images: Tensor, noun: str, seed: int) -> dict[str, Tensor]:
    """Kinds of unusual images by name, each `uint8 (n, channels, height, width)`.

    Args:
        images: of the data set, `uint8 (m, channels, height, width)`.
        noun: what an image of the data set shows.
        seed: of the noise.
    """
    shape = (1000, *images.shape[1:])
    noise = torch.randint(
        256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    return {
        "all black": torch.zeros_like(images[:1]),
        "all grey": torch.full_like(images[:1], 128),
        "all white": torch.full_like(images[:1], 255),
        "uniform noise": noise,
        f"{noun}s, inverted": 255 - images,
    }


def confidence_summary(confidences: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
    """For each kind, the mean of its confidences `(n,)` and the fraction above 0.99."""
    return {
        kind: (float(values.mean()), float((values > 0.99).double().mean()))
        for kind, values in confidences.items()
    }
