"""Random rotation and translation of a batch of images."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def augment(
    images: Tensor, *, rotation: float, translation: float, interpolation: str = "nearest"
) -> Tensor:
    """Rotate each image by a random angle, then translate it, in one resampling.

    Args:
        images: pixel values `(n, 1, height, width)` of any type.
        rotation: largest angle in degrees; angles are uniform in ±rotation.
        translation: largest shift as a fraction of height and width; horizontal and vertical shift
            are independent and uniform in ±translation.
        interpolation: `nearest` or `bilinear`.

    Returns:
        `float32` pixel values of the same shape and range; pixels from outside the image are 0.
        Random numbers come from PyTorch's global generator for the device of the images. None are
        drawn if rotation and translation are 0.
    """
    if not rotation and not translation:
        return images.float()
    count, _, height, width = images.shape
    angle, dx, dy = (torch.rand(3, count, device=images.device) * 2 - 1).unbind()
    cos, sin = torch.cos(angle * math.radians(rotation)), torch.sin(angle * math.radians(rotation))
    # `affine_grid` maps positions in the result to positions in the image. Both run from -1 to 1,
    # so a shift by the whole width is 2, and the axes of an oblong image differ in scale.
    turn = torch.stack(
        [torch.stack([cos, -sin * height / width], 1), torch.stack([sin * width / height, cos], 1)],
        1,
    )
    # In that direction the rotation comes last, so it applies to the shift as well.
    shift = 2 * translation * torch.stack([dx, dy], 1).unsqueeze(2)
    theta = torch.cat([turn, turn @ shift], 2)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode=interpolation, align_corners=False)
