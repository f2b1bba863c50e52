"""Pictures of digits from anywhere, made into what MNIST's own images are.

A picture is read as grey values, whatever its format, size and colours, and then prepared as the
images of MNIST were, or of a data set of its form, of which "digit" here stands for what it shows.
It holds one, with nothing else as large beside it.

Files are not trusted: what one declares is checked before its pixels are decoded.
"""

import io
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

# The formats that are read, and how their files are named.
SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}

MAX_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
# A progressive JPEG is gone over once a scan, and a few bytes are enough for one.
MAX_SCANNED_PIXELS = 10_000_000_000

# Larger pictures are averaged down to about this size, which also averages their noise. A digit a
# tenth as high as the picture is then still larger than it is in MNIST.
WORKING_PIXELS = 250_000

IMAGE_SIDE, WHITE = 28, 253  # of MNIST

# Grey levels, of 255, by which a digit differs from its background at least.
MIN_CONTRAST = 10
# Marks of less than this fraction of the largest are dirt, not part of a digit.
MIN_MARK = 0.02

_NEIGHBOURS = np.ones((3, 3), bool)


def find(path: Path) -> list[Path]:
    """The image files in a folder and its sub-folders, in order; of anything else, itself.

    An image is told by its suffix, and what is hidden is left out. Raises `UserError` for a folder
    that has none, and for what cannot be read.
    """
    suffixes = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
    try:
        if not path.is_dir():
            return [path]
        found = sorted(
            file
            for file in path.rglob("*")
            if file.suffix.lower() in suffixes
            and not any(part.startswith(".") for part in file.relative_to(path).parts)
            and file.is_file()
        )
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    if not found:
        raise UserError(f"{path}: a folder without images")
    return found


def read(path: Path) -> NDArray[np.uint8]:
    """Read an image file as grey values; see `decode`.

    Raises `UserError`, naming the file, also for what is missing, is no file, or cannot be read.
    """
    try:
        if not path.is_file():
            raise UserError(f"{path}: {'not a file' if path.exists() else 'missing'}")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    return decode(content, str(path))


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """Grey values `uint8 (height, width)`, 0 black to 255 white, of the content of an image file.

    The picture is the first one in the file, turned as its EXIF orientation says, on a plain
    background where it is transparent, and averaged down to about `WORKING_PIXELS` where it is
    larger. Values of more than 8 bits are stretched to the whole range.

    Raises `UserError`, naming `name`, for what is not an image of a format in `SUFFIXES`, is
    damaged, or is too large.
    """
    if not content:
        raise UserError(f"{name}: empty")
    if len(content) > MAX_BYTES:
        raise UserError(f"{name}: more than {MAX_BYTES // 1_000_000} million bytes")
    try:
        # What Pillow warns of is refused, or does no harm.
        with warnings.catch_warnings(action="ignore"):
            return _decode(content)
    except Image.DecompressionBombError:
        raise UserError(
            f"{name}: more than {MAX_PIXELS // 1_000_000} million pixels, or a decompression bomb"
        ) from None
    except UnidentifiedImageError:
        raise UserError(f"{name}: not an image of the formats {', '.join(SUFFIXES)}") from None
    # Whatever Pillow's decoders meet in a damaged file.
    except Exception:
        raise UserError(f"{name}: an image that is damaged, cut short or of a rare kind") from None


def _decode(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=tuple(SUFFIXES)) as image:
        pixels = image.width * image.height
        scans = content.count(b"\xff\xda") if content.startswith(b"\xff\xd8") else 1
        if pixels > MAX_PIXELS or pixels * scans > MAX_SCANNED_PIXELS:
            raise Image.DecompressionBombError
        # A JPEG can be decoded at a fraction of its size, in a fraction of the time.
        shrink = math.sqrt(WORKING_PIXELS / pixels)
        image.draft("L", (math.ceil(shrink * image.width), math.ceil(shrink * image.height)))
        deep = image.mode.startswith(("I", "F"))
        grey = image.convert("F" if deep else "LA" if image.has_transparency_data else "L")
    factor = math.ceil(math.sqrt(grey.width * grey.height / WORKING_PIXELS))
    values = np.asarray(ImageOps.exif_transpose(grey.reduce(factor)))
    if deep:
        return _stretch(values)
    if values.ndim == 3:
        return _composite(values[..., 0].astype(np.float64), values[..., 1] / 255)
    return values


def _stretch(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Values of any range, mapped to 0 to 255."""
    if not np.isfinite(values).all():
        raise ValueError("pixel values that are not finite")
    return np.interp(values, (values.min(), values.max()), (0, 255)).round().astype(np.uint8)


def _composite(grey: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey values on a background on which the digit can be seen.

    Strokes on nothing get black or white behind them, whichever is further from their own tone. A
    picture whose corners are cut away, mostly opaque and of more than one tone, gets its own paper.

    Args:
        grey: 0 to 255, `(height, width)`.
        alpha: opacity, 0 to 1, of the same shape.
    """
    if not alpha.any():
        return np.zeros(grey.shape, np.uint8)
    tone = np.average(grey, weights=alpha)
    deviation = math.sqrt(np.average((grey - tone) ** 2, weights=alpha))
    if alpha.mean() > 0.5 and deviation > 32:
        background = float(np.median(grey[alpha >= 0.5]))
    else:
        background = 0.0 if tone > 127 else 255.0
    return (alpha * grey + (1 - alpha) * background).round().astype(np.uint8)


def preprocess(grey: NDArray[Any], name: str, *, box: int, strokes: bool) -> NDArray[np.uint8]:
    """Make a picture of a digit what the images of MNIST are: `uint8 (1, 28, 28)`, white on black.

    As LeCun, Cortes and Burges describe it (http://yann.lecun.com/exdb/mnist/), a digit is scaled
    to fit a box of 20 × 20 pixels with its aspect ratio kept, which leaves grey levels as it is
    anti-aliased, and shifted by whole pixels to have its centre of mass in the middle of 28 × 28.
    They began with black and white; here the background and its noise are first taken away. Of the
    images of MNIST, 19 in 20 come out as they are, to two grey levels.

    Args:
        grey: values `(height, width)`, 0 to 255, of a dark digit on a lighter background or of a
            light one on a darker. The background is what most of the border shows; it may be shaded
            from one side to another.
        name: what messages call the picture.
        box: the side, in pixels, of what a digit is scaled to fit: 20 of MNIST's, up to 28.
        strokes: whether it is one of ink, which is white then; else it keeps the tones by which it
            differs from the background.

    Raises `UserError` when nothing stands out from the background.
    """
    ink, noise = _ink(grey.astype(np.float64))
    contrast = ink.max()
    if contrast < max(MIN_CONTRAST, noise):
        raise UserError(f"{name}: nothing to be seen, as all is of about one colour")
    if strokes:
        levels = (ink * (255 / contrast)).round().astype(np.uint8)
        scaled = _whiten(_scale(levels[_bounding_box(levels, _threshold(levels))], box))
    else:
        levels = ink.clip(max=255).round().astype(np.uint8)
        scaled = _scale(levels[_bounding_box(levels, MIN_CONTRAST)], box)
    if scaled.max() < MIN_CONTRAST:  # specks, of which nothing is left at this size
        raise UserError(f"{name}: nothing to be seen at {IMAGE_SIDE} × {IMAGE_SIDE} pixels")
    # Fashion-MNIST's own are centred by their box, but more are told right that way.
    return _centre(scaled.round().astype(np.uint8))[np.newaxis]


def _ink(grey: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """By how much pixels differ from the background towards the digit, beyond noise; and the noise.

    The noise is three standard deviations of what most of the border shows.
    """
    difference, deviation = _subtract_background(grey)
    # The median is 1 / 1.4826 of the standard deviation of a normal distribution.
    noise = 3 * 1.4826 * deviation
    # Strokes differ most, so in the third power they outweigh whatever else is uneven.
    towards = np.sign((difference**3).sum())
    return (towards * difference - noise).clip(0), noise


def _subtract_background(grey: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Subtract what fits most of the border, a tone or a surface; and the median left there."""
    border = np.ones(grey.shape, bool)
    border[1:-1, 1:-1] = False
    tone = grey[0, 0]
    if (grey[border] == tone).all():  # drawn, not photographed; as quick as it is frequent
        return grey - tone, 0.0
    y, x = np.meshgrid(*(np.linspace(-1, 1, side) for side in grey.shape), indexing="ij")
    plane = [np.ones(grey.shape), x, y]
    difference, deviation = _subtract_surface(grey, plane, border)
    if deviation > 1:
        # Photographs are darker in their corners. But strokes that touch the border bend a surface
        # too, so that it stays flat unless that is clearly worse.
        curved, curved_deviation = _subtract_surface(grey, [*plane, x**2, y**2], border)
        if curved_deviation < 0.7 * deviation:
            return curved, curved_deviation
    return difference, deviation


def _subtract_surface(
    grey: NDArray[np.float64], terms: Sequence[NDArray[np.float64]], border: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], float]:
    """Subtract the sum of terms that fits most of the border; and the median left there."""
    basis = np.stack(terms, axis=-1)
    difference = grey - basis @ _fit(basis[border], grey[border])
    return difference, float(np.median(np.abs(difference[border])))


def _fit(terms: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Coefficients of the terms `(n, k)` that fit most of the values `(n,)`, whatever the others.

    Least absolute deviations by iteratively reweighted least squares, begun at the median. It is
    not run to its end, where strokes that cover a whole side would tilt it.
    """
    residuals = values - np.median(values)
    coefficients: NDArray[np.float64]
    for _ in range(3):
        weighted = terms.T / np.abs(residuals).clip(1)
        coefficients = np.linalg.lstsq(weighted @ terms, weighted @ values)[0]
        residuals = values - terms @ coefficients
    return coefficients


def _bounding_box(levels: NDArray[np.uint8], threshold: int) -> tuple[slice, slice]:
    """Rows and columns of the digit among levels, of which those up to a threshold are nothing."""
    marks, _ = ndimage.label(levels > threshold, _NEIGHBOURS)
    sizes = np.bincount(marks.ravel())
    sizes[0] = 0  # what is not marked
    digit = (sizes >= MIN_MARK * sizes.max())[marks]
    # The anti-aliased edge of a stroke is a pixel wide.
    digit = ndimage.binary_dilation(digit, _NEIGHBOURS, mask=levels > 0)
    rows, columns = digit.any(axis=1).nonzero()[0], digit.any(axis=0).nonzero()[0]
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _threshold(levels: NDArray[np.uint8]) -> int:
    """The level up to which values are background, by Otsu's method (1979).

    It makes the variance between the two classes largest.
    """
    counts = np.bincount(levels.ravel(), minlength=256)
    below, sums = counts.cumsum(), (counts * np.arange(256)).cumsum()
    above = levels.size - below
    # The difference of the means of the two classes.
    difference = sums / below.clip(1) - (sums[-1] - sums) / above.clip(1)
    return int(np.argmax(below * above * difference**2))


def _scale(digit: NDArray[np.uint8], box: int) -> NDArray[np.float32]:
    """Fit into a box, anti-aliased, aspect ratio kept."""
    height, width = (max(1, round(box * side / max(digit.shape))) for side in digit.shape)
    # A filter without negative weights, so that no stroke has a halo.
    image = Image.fromarray(digit.astype(np.float32))
    scaled: NDArray[np.float32] = np.asarray(
        image.resize((width, height), Image.Resampling.HAMMING)
    )
    return scaled


def _whiten(strokes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Make strokes white, of which thin ones come out grey, and uneven ones in several greys.

    In MNIST the brightest quarter of the pixels of a stroke is white: from 253 up in most images,
    from 241 in 99 of 100.
    """
    white = np.percentile(strokes[strokes > strokes.max() / 2], 75)
    whitened: NDArray[np.float32] = (strokes * (WHITE / white)).clip(0, 255)
    return whitened


def _centre(digit: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Place in 28 × 28 pixels with the centre of mass at pixel 14, or as near as all of it fits."""
    field = np.zeros((IMAGE_SIDE, IMAGE_SIDE), np.uint8)
    place = []
    for axis, side in enumerate(digit.shape):
        mass = digit.sum(axis=1 - axis)
        start = round(IMAGE_SIDE / 2 - mass @ np.arange(side) / mass.sum())
        start = min(max(start, 0), IMAGE_SIDE - side)
        place.append(slice(start, start + side))
    field[tuple(place)] = digit
    return field
