"""Images that are not as those of a data set are, to see what a network says of them."""

from collections.abc import Mapping

import torch
from torch import Tensor


def probes(images: Tensor, thing: str, seed: int) -> dict[str, Tensor]:
    """Kinds of images by name, each `uint8 (n, 1, height, width)` of one size.

    Args:
        images: of the data set, `uint8 (m, 1, height, width)`, white on black.
        thing: what one of them shows, for the names of the kinds.
        seed: of the noise.
    """
    shape = (1000, *images.shape[1:])
    noise = torch.randint(
        256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    return {
        "one plain black": torch.zeros_like(images[:1]),
        "one plain grey": torch.full_like(images[:1], 128),
        "one plain white": torch.full_like(images[:1], 255),
        "noise, each pixel at random": noise,
        f"{thing}s in black on white": 255 - images,
    }


def sureness(confidences: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
    """Of each kind, the mean of its confidences `(n,)`, and the part that is above 0.99."""
    return {
        kind: (float(values.mean()), float((values > 0.99).double().mean()))
        for kind, values in confidences.items()
    }
