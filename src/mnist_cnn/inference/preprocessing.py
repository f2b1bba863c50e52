"""Images of digits from anywhere, converted to what MNIST's own images look like."""

from typing import Any

from mnist_cnn.errors import UserError
from mnist_cnn.inference import ink, marks
from mnist_cnn.inference.ink import MIN_CONTRAST

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.filters import threshold_otsu

WHITE = 253  # of strokes in MNIST
HALO = 0.3  # less ink than this fraction of the strongest is blur, which enlarging makes


def preprocess(
    grey: NDArray[Any],
    name: str,
    *,
    size: int,
    object_size: int,
    strokes: bool,
    one_piece: bool = False,
) -> NDArray[np.uint8]:
    """Convert an image to an input of the network: `uint8 (1, size, size)`, white on black.

    As LeCun, Cortes and Burges describe MNIST (http://yann.lecun.com/exdb/mnist/), a digit is
    scaled with anti-aliasing to fit 20 × 20 pixels, aspect ratio kept, and shifted by whole pixels
    until its centre of mass is in the middle of 28 × 28. Before that, the background and its noise
    are removed here. 19 of 20 images of MNIST stay as they are, within two grey levels.

    Strokes in an image whose longer side is shorter than `object_size` are enlarged first. It may
    have been enlarged before, to blocks of equal pixels.

    Args:
        grey: `(height, width)`, 0 to 255: a dark object on a lighter background, or a light one on
            a darker. The background is what most of the border shows. It can be shaded. Strokes
            may also be on a sheet, a tile or rules, in a frame, or half in a shadow.
        name: the name of the image in messages.
        size: pixels of each side of the result; 28 in MNIST.
        object_size: pixels of the longer side of the object in the result; 20 in MNIST.
        strokes: whether the object is drawn with strokes, which become white. Else it keeps its
            grey levels, as differences from the background.
        one_piece: whether marks of similar height side by side, with a gap, are two objects.

    Raises `UserError` if nothing differs from the background, or if there are two objects.
    """
    pixels = _without_blocks(grey) if strokes else grey
    tiny = strokes and max(pixels.shape) < object_size
    find = ink.of_strokes if strokes else ink.of_object
    found, noise = find((pixels if tiny else grey).astype(np.float64))
    if found.max() < max(MIN_CONTRAST, noise):
        raise UserError(f"{name}: shows nothing: all of it has about the same colour")
    if strokes:
        if tiny:
            found, _ = find(_enlarge(pixels).astype(np.float64))
            found = (found - HALO * found.max()).clip(0)
        levels = (found * (255 / found.max())).round().astype(np.uint8)
        parts = marks.of_the_object(marks.find(levels > threshold_otsu(levels)), levels.shape)
        if one_piece and marks.are_apart(parts):
            raise UserError(f"{name}: shows more than one object; each needs an image of its own")
        scaled = _whiten(_scale(marks.cut_out(levels, parts), object_size))
    else:
        levels = found.clip(max=255).round().astype(np.uint8)
        parts = marks.find(levels >= MIN_CONTRAST)
        scaled = _scale(marks.cut_out(levels, parts), object_size)
    if scaled.max() < MIN_CONTRAST:  # specks that vanish at this size
        raise UserError(f"{name}: shows nothing at {size} × {size} pixels")
    # Fashion-MNIST is centred by its bounding box, but accuracy is higher this way there, too.
    return _centre(scaled.round().astype(np.uint8), size)[np.newaxis]


def _without_blocks(grey: NDArray[Any]) -> NDArray[Any]:
    """The image whose pixels are blocks of equal pixels here; without blocks, the image itself."""
    changes = [
        [*(np.flatnonzero(np.diff(grey, axis=axis).any(axis=1 - axis)) + 1), grey.shape[axis]]
        for axis in (0, 1)
    ]
    side = np.gcd.reduce(changes[0] + changes[1])
    return grey[::side, ::side]


def _enlarge(pixels: NDArray[Any]) -> NDArray[np.float32]:
    """Eight times the size, smoothly, with more of the background around it."""
    border = np.sort(np.concatenate([pixels[[0, -1]].ravel(), pixels[1:-1, [0, -1]].ravel()]))
    background = border[(len(border) - 1) // 2]
    padded = np.pad(pixels.astype(np.float32), 3, constant_values=background)
    height, width = padded.shape
    image = Image.fromarray(padded).resize((8 * width, 8 * height), Image.Resampling.LANCZOS)
    return np.asarray(image).clip(0, 255)


def _scale(levels: NDArray[np.uint8], size: int) -> NDArray[np.float32]:
    """Scale the longer side to `size`, with anti-aliasing."""
    height, width = (max(1, round(size * side / max(levels.shape))) for side in levels.shape)
    image = Image.fromarray(levels.astype(np.float32))
    # Hamming has no negative weights, so it leaves no halo.
    scaled: NDArray[np.float32] = np.asarray(
        image.resize((width, height), Image.Resampling.HAMMING)
    )
    return scaled


def _whiten(strokes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make strokes white. Scaling leaves thin strokes grey, and uneven ones in several greys.

    In MNIST the brightest quarter of the pixels of a stroke is white: 253 or more in most images,
    241 or more in 99 of 100.
    """
    white = np.percentile(strokes[strokes > strokes.max() / 2], 75)
    whitened: NDArray[np.float32] = (strokes * (WHITE / white)).clip(0, 255)
    return whitened


def _centre(levels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Place in a square with the centre of mass in the middle, or as near to it as possible."""
    field = np.zeros((size, size), np.uint8)
    place = []
    for axis, side in enumerate(levels.shape):
        mass = levels.sum(axis=1 - axis)
        start = round(size / 2 - mass @ np.arange(side) / mass.sum())
        start = min(max(start, 0), size - side)
        place.append(slice(start, start + side))
    field[tuple(place)] = levels
    return field
