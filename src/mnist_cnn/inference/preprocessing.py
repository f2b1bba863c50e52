"""Images of digits from anywhere, converted to what MNIST's own images look like.

An image holds one object (a digit, or another class of the data set), and nothing else as large.
"""

from collections.abc import Sequence
from typing import Any

from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from skimage.filters import threshold_otsu

WHITE = 253  # of strokes in MNIST

# Grey levels, of 255, by which an object must differ from its background.
MIN_CONTRAST = 10
# Connected marks smaller than this fraction of the largest are dirt, not part of the object.
MIN_MARK = 0.02

_NEIGHBOURS = np.ones((3, 3), bool)


def preprocess(
    grey: NDArray[Any], name: str, *, size: int, object_size: int, strokes: bool
) -> NDArray[np.uint8]:
    """Convert an image to an input of the network: `uint8 (1, size, size)`, white on black.

    As LeCun, Cortes and Burges describe MNIST (http://yann.lecun.com/exdb/mnist/), a digit is
    scaled with anti-aliasing to fit 20 × 20 pixels, aspect ratio kept, and shifted by whole pixels
    until its centre of mass is in the middle of 28 × 28. Before that, the background and its noise
    are removed here. 19 of 20 images of MNIST stay as they are, within two grey levels.

    Args:
        grey: `(height, width)`, 0 to 255: a dark object on a lighter background, or a light one on
            a darker. The background is what most of the border shows. It can be shaded.
        name: the name of the image in messages.
        size: pixels of each side of the result; 28 in MNIST.
        object_size: pixels of the longer side of the object in the result; 20 in MNIST.
        strokes: whether the object is drawn with strokes, which become white. Else it keeps its
            grey levels, as differences from the background.

    Raises `UserError` if nothing differs from the background.
    """
    ink, noise = _ink(grey.astype(np.float64))
    contrast = ink.max()
    if contrast < max(MIN_CONTRAST, noise):
        raise UserError(f"{name}: shows nothing: all of it has about the same colour")
    if strokes:
        levels = (ink * (255 / contrast)).round().astype(np.uint8)
        scaled = _whiten(_scale(levels[_bounding_box(levels, threshold_otsu(levels))], object_size))
    else:
        levels = ink.clip(max=255).round().astype(np.uint8)
        scaled = _scale(levels[_bounding_box(levels, MIN_CONTRAST)], object_size)
    if scaled.max() < MIN_CONTRAST:  # specks that vanish at this size
        raise UserError(f"{name}: shows nothing at {size} × {size} pixels")
    # Fashion-MNIST is centred by its bounding box, but accuracy is higher this way there, too.
    return _centre(scaled.round().astype(np.uint8), size)[np.newaxis]


def _ink(grey: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """How far each pixel differs from the background towards the object, beyond the noise.

    Also returns the noise: three standard deviations of most of the border.
    """
    difference, deviation = _subtract_background(grey)
    # The median is 1 / 1.4826 of the standard deviation of a normal distribution.
    noise = 3 * 1.4826 * deviation
    # The object differs most, so in the third power it outweighs all other differences.
    towards = np.sign((difference**3).sum())
    return (towards * difference - noise).clip(0), noise


def _subtract_background(grey: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Subtract a tone or a surface that fits most of the border.

    Also returns the median of the absolute differences left there. A rolling ball (scikit-image)
    takes 8 seconds for an image; this takes a millisecond.
    """
    border = np.ones(grey.shape, bool)
    border[1:-1, 1:-1] = False
    tone = grey[0, 0]
    if (grey[border] == tone).all():  # a drawing
        return grey - tone, 0.0
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in grey.shape), indexing="ij")
    plane = [np.ones(grey.shape), x, y]
    difference, deviation = _subtract_surface(grey, plane, border)
    if deviation > 1:
        # Photographs are darker in their corners. But an object that touches the border would bend
        # the surface as well, so it stays flat unless that fits clearly worse.
        curved, curved_deviation = _subtract_surface(grey, [*plane, x**2, y**2], border)
        if curved_deviation < 0.7 * deviation:
            return curved, curved_deviation
    return difference, deviation


def _subtract_surface(
    grey: NDArray[np.float64], terms: Sequence[NDArray[np.float64]], border: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Subtract the sum of terms that fits most of the border; see `_subtract_background`."""
    basis = np.stack(terms, axis=-1)
    difference = grey - basis @ _fit(basis[border], grey[border])
    return difference, float(np.median(np.abs(difference[border])))


def _fit(terms: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the terms `(n, k)` that fit most of the values `(n,)`, ignoring outliers.

    Least absolute deviations by three steps of iteratively reweighted least squares, started at the
    median. More steps would let an object that covers a whole side tilt the fit.
    """
    residuals = values - np.median(values)
    coefficients: NDArray[np.float64]
    for _ in range(3):
        weighted = terms.T / np.abs(residuals).clip(1)
        coefficients = np.linalg.lstsq(weighted @ terms, weighted @ values)[0]
        residuals = values - terms @ coefficients
    return coefficients


def _bounding_box(levels: NDArray[np.uint8], threshold: int) -> tuple[slice, slice]:
    """Rows and columns of the object, whose levels are above a threshold."""
    marks, _ = ndimage.label(levels > threshold, _NEIGHBOURS)
    sizes = np.bincount(marks.ravel())
    sizes[0] = 0  # the background
    shape = (sizes >= MIN_MARK * sizes.max())[marks]
    # An anti-aliased edge is one pixel wide.
    shape = ndimage.binary_dilation(shape, _NEIGHBOURS, mask=levels > 0)
    rows, columns = shape.any(axis=1).nonzero()[0], shape.any(axis=0).nonzero()[0]
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


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
