"""Images unlike those of a data set, to measure whether they are rejected."""

import string
from pathlib import Path

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Generator, Tensor
from torch.nn import functional as F

COUNT = 1000

# Those of matplotlib, which are the same on every system.
_FONTS = Path(matplotlib.get_data_path(), "fonts/ttf")
_FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif", "DejaVuSansMono", "STIXGeneral")
# Letters that look like no digit.
_LETTERS = sorted(set(string.ascii_letters) - set("BDGIJOQSTZbgijloqsyz"))


def unusual_images(images: Tensor, noun: str, seed: int) -> dict[str, Tensor]:
    """Kinds of unusual images by name, each `uint8 (n, channels, height, width)`.

    Args:
        images: of the data set, `uint8 (m, channels, height, width)`.
        noun: what an image of the data set shows.
        seed: of random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = images.shape[1:]
    shape = (COUNT, channels, height, width)
    grey = torch.arange(256, dtype=torch.uint8)[:, None, None, None]
    return {
        "one grey level": grey.expand(-1, channels, height, width),
        "uniform noise": torch.randint(256, shape, dtype=torch.uint8, generator=generator),
        "letters": _letters(height, width, generator).expand(shape),
        f"two {noun}s": _pairs(images, generator),
        f"{noun}s, inverted": 255 - _sample(images, generator),
    }


def _sample(images: Tensor, generator: Generator) -> Tensor:
    return images[torch.randperm(len(images), generator=generator)[:COUNT]]


def _letters(height: int, width: int, generator: Generator) -> Tensor:
    """White letters of several fonts on black, `uint8 (COUNT, 1, height, width)`."""
    size = round(0.7 * height)
    fonts = [ImageFont.truetype(_FONTS / f"{name}.ttf", size) for name in _FACES]
    drawn = []
    for font, letter in torch.rand(COUNT, 2, generator=generator).tolist():
        image = Image.new("L", (width, height))
        ImageDraw.Draw(image).text(
            (width / 2, height / 2),
            _LETTERS[int(letter * len(_LETTERS))],
            fill=255,
            font=fonts[int(font * len(fonts))],
            anchor="mm",
        )
        drawn.append(np.asarray(image))
    return torch.from_numpy(np.stack(drawn))[:, None]


def _pairs(images: Tensor, generator: Generator) -> Tensor:
    """Two images side by side, each at its full height and half its width."""
    chosen = images[torch.randint(len(images), (2, COUNT), generator=generator)].float()
    height, width = images.shape[2:]
    side_by_side = torch.cat([*chosen], 3)
    return F.interpolate(side_by_side, (height, width), mode="area").round().byte()
