"""Images that are not as MNIST's are, to see what a network says of them."""

from collections.abc import Mapping

import torch
from torch import Tensor


def probes(digits: Tensor, seed: int) -> dict[str, Tensor]:
    """Kinds of images by name, each `uint8 (n, 1, height, width)` of the size of the digits.

    Args:
        digits: images of digits, `uint8 (m, 1, height, width)`, white on black.
        seed: of the noise.
    """
    shape = (1000, *digits.shape[1:])
    noise = torch.randint(
        256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )
    return {
        "one plain black": torch.zeros_like(digits[:1]),
        "one plain grey": torch.full_like(digits[:1], 128),
        "one plain white": torch.full_like(digits[:1], 255),
        "noise, each pixel at random": noise,
        "digits in black on white": 255 - digits,
    }


def sureness(confidences: Mapping[str, Tensor]) -> dict[str, tuple[float, float]]:
    """Of each kind, the mean of its confidences `(n,)`, and the part that is above 0.99."""
    return {
        kind: (float(values.mean()), float((values > 0.99).double().mean()))
        for kind, values in confidences.items()
    }
