"""The fifteen corruptions of MNIST-C (Mu and Gilmer 2019, arXiv 1906.02337), as described there.

Each takes images `float32 (n, channels, height, width)` in [0, 1] and a random number generator,
and returns such images; `corrupt` clips them. Lengths are fractions of the side of an image, but
pixels in `glass_blur` and `canny_edges`. The strengths are ours.
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import torch
from scipy import ndimage
from skimage import feature
from torch import Generator, Tensor
from torch.nn import functional as F


def corrupt(pixels: Tensor, seed: int) -> Iterator[tuple[str, Tensor]]:
    """The name of each corruption, and the images with it.

    Args:
        pixels: `uint8 (n, channels, height, width)`, 0 to 255.
        seed: each corruption begins with it.

    Yields:
        The name, and `uint8` images of the same shape.
    """
    images = pixels.float() / 255
    for change in CORRUPTIONS:
        changed = change(images, torch.Generator().manual_seed(seed))
        yield change.__name__, (255 * changed.clamp(0, 1)).round().byte()


def shot_noise(images: Tensor, generator: Generator) -> Tensor:
    """Few photons: each pixel is a Poisson variable, of which it is the mean."""
    photons = 8
    return torch.poisson(photons * images, generator) / photons


def impulse_noise(images: Tensor, generator: Generator) -> Tensor:
    """A fifth of the pixels is black or white."""
    noise = torch.rand(images.shape, generator=generator)
    return torch.where(noise < 0.2, (noise < 0.1).float(), images)


def glass_blur(images: Tensor, generator: Generator) -> Tensor:
    """Frosted glass: between two blurs, pixels take the values of neighbours at random."""
    count, _, height, width = images.shape
    blurred = _blur(images, 0.025).flatten(2)
    steps = torch.randint(-2, 3, (2, count, height, width), generator=generator)
    rows = (torch.arange(height)[:, None] + steps[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + steps[1]).clamp(0, width - 1)
    sources = (rows * width + columns).flatten(1)[:, None].expand_as(blurred)
    moved = blurred.gather(2, sources)
    return _blur(moved.view_as(images), 0.025)


def motion_blur(images: Tensor, generator: Generator) -> Tensor:
    """The camera moves along a fifth of the image, at up to 45° from the horizontal."""
    angle = _uniform(images, generator, -math.pi / 4, math.pi / 4)
    way = torch.linspace(-0.1, 0.1, 9)
    return sum(
        (_warp(images, dx=step * angle.cos(), dy=step * angle.sin()) for step in way),
        torch.zeros_like(images),
    ) / len(way)


def shear(images: Tensor, generator: Generator) -> Tensor:
    """Rows shift to one side, by 0.4 of their height."""
    return _warp(images, shear=0.4 * _sign(images, generator))


def scale(images: Tensor, _generator: Generator) -> Tensor:
    """Half the size."""
    return _warp(images, scale=torch.full((len(images),), 0.5))


def rotate(images: Tensor, generator: Generator) -> Tensor:
    """Rotated by 30° to either side."""
    return _warp(images, angle=math.radians(30) * _sign(images, generator))


def brightness(images: Tensor, _generator: Generator) -> Tensor:
    """Brighter by half the range."""
    return images + 0.5


def translate(images: Tensor, generator: Generator) -> Tensor:
    """Shifted by 0.15 of the image, in any direction."""
    angle = _uniform(images, generator, 0, 2 * math.pi)
    return _warp(images, dx=0.15 * angle.cos(), dy=0.15 * angle.sin())


def stripe(images: Tensor, _generator: Generator) -> Tensor:
    """The middle fifth is inverted, from top to bottom."""
    x, _ = _positions(images)
    return torch.where(x.abs() < 0.1, 1 - images, images)


def fog(images: Tensor, generator: Generator) -> Tensor:
    """A cloud of noise that is stronger the longer its waves are, over a darker image."""
    count, _, height, width = images.shape
    cloud = torch.zeros_like(images)
    for cells in (2, 4, 8, 16):
        noise = torch.rand(count, 1, cells, cells, generator=generator)
        cloud += F.interpolate(noise, (height, width), mode="bicubic", align_corners=False) / cells
    lowest, highest = (reduce(cloud, (2, 3), keepdim=True) for reduce in (torch.amin, torch.amax))
    return 0.6 * images + 0.6 * (cloud - lowest) / (highest - lowest)


def spatter(images: Tensor, generator: Generator) -> Tensor:
    """Bright drops, on a tenth of the image."""
    waves = _blur(torch.randn(images.shape, generator=generator), 0.04)
    level = waves.flatten(1).quantile(0.9, dim=1)[:, None, None, None]
    return torch.maximum(images, (waves > level).float() * 0.8)


def dotted_line(images: Tensor, generator: Generator) -> Tensor:
    """Dots on a straight line from one side to the opposite one."""
    left, right = _uniform(images, generator, -0.4, 0.4), _uniform(images, generator, -0.4, 0.4)
    dots = [(torch.full_like(left, x), left + (right - left) * (x + 0.5)) for x in _steps(10)]
    return _draw(images, [(dot, dot) for dot in dots])


def zigzag(images: Tensor, generator: Generator) -> Tensor:
    """A zigzag line from one side to the opposite one."""
    left, right = _uniform(images, generator, -0.3, 0.3), _uniform(images, generator, -0.3, 0.3)
    corners = [
        (torch.full_like(left, x), left + (right - left) * (x + 0.5) + 0.08 * (-1) ** i)
        for i, x in enumerate(_steps(9))
    ]
    return _draw(images, list(pairwise(corners)))


def canny_edges(images: Tensor, _generator: Generator) -> Tensor:
    """White edges, by Canny's method."""
    edges = [feature.canny(plane, sigma=1) for plane in images.flatten(0, 1).numpy()]
    return torch.from_numpy(np.stack(edges)).float().view_as(images)


CORRUPTIONS: tuple[Callable[[Tensor, Generator], Tensor], ...] = (
    shot_noise,
    impulse_noise,
    glass_blur,
    motion_blur,
    shear,
    scale,
    rotate,
    brightness,
    translate,
    stripe,
    fog,
    spatter,
    dotted_line,
    zigzag,
    canny_edges,
)
"""In the order of the paper."""

_Point = tuple[Tensor, Tensor]


def _uniform(images: Tensor, generator: Generator, low: float, high: float) -> Tensor:
    """A number for each image, `(n,)`."""
    return low + (high - low) * torch.rand(len(images), generator=generator)


def _sign(images: Tensor, generator: Generator) -> Tensor:
    """1 or -1 for each image, `(n,)`."""
    return _uniform(images, generator, -1, 1).sign()


def _steps(count: int) -> list[float]:
    """Positions from one side of an image to the opposite one."""
    return torch.linspace(-0.5, 0.5, count).tolist()


def _positions(images: Tensor) -> tuple[Tensor, Tensor]:
    """The centres of pixels as fractions of the side, 0 in the middle: x `(w,)` and y `(h, 1)`."""
    height, width = images.shape[2:]
    return (
        (torch.arange(width) + 0.5) / width - 0.5,
        ((torch.arange(height) + 0.5) / height - 0.5)[:, None],
    )


def _blur(images: Tensor, sigma: float) -> Tensor:
    """A Gaussian blur, `sigma` as a fraction of the width."""
    sigma *= images.shape[3]
    return torch.from_numpy(ndimage.gaussian_filter(images.numpy(), (0, 0, sigma, sigma)))


def _warp(
    images: Tensor,
    *,
    angle: Tensor | float = 0.0,
    scale: Tensor | float = 1.0,
    shear: Tensor | float = 0.0,
    dx: Tensor | float = 0.0,
    dy: Tensor | float = 0.0,
) -> Tensor:
    """Each image rotated, scaled, sheared, and moved by fractions of its width and height."""
    zero = torch.zeros(len(images))
    angle, scale, shear, dx, dy = (zero + value for value in (angle, scale, shear, dx, dy))
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # From rows and columns of the result to those of the image.
    matrices = torch.stack([cos, -sin, sin + shear, cos], 1).view(-1, 2, 2).double().numpy()
    size = np.array(images.shape[2:])
    shifts = torch.stack([dy, dx], 1).double().numpy() * size
    centre = (size - 1) / 2
    warped = [
        ndimage.affine_transform(
            *(plane, matrix, centre - matrix @ centre - shift), order=1, mode="grid-constant"
        )
        for image, matrix, shift in zip(images.numpy(), matrices, shifts, strict=True)
        for plane in image
    ]
    return torch.from_numpy(np.stack(warped)).view_as(images)


def _draw(images: Tensor, lines: list[tuple[_Point, _Point]]) -> Tensor:
    """White lines, a fourteenth of the image wide, each with two ends `(n,)` as fractions."""
    x, y = _positions(images)
    nearest = torch.full_like(images[:, 0], math.inf)
    for start, end in lines:
        (ax, ay), (bx, by) = ((p[0][:, None, None], p[1][:, None, None]) for p in (start, end))
        length = ((bx - ax) ** 2 + (by - ay) ** 2).clamp(min=1e-12)
        t = (((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length).clamp(0, 1)
        distance = torch.hypot(x - ax - t * (bx - ax), y - ay - t * (by - ay))
        nearest = nearest.minimum(distance)
    side = images.shape[3]
    return torch.maximum(images, ((1 / 28 - nearest) * side + 0.5).clamp(0, 1)[:, None])
