"""Image files as grey values, whatever their format, size and colours.

Files are not trusted: what a header declares is checked before the pixels are decoded.
"""

import io
import math
import warnings
from collections.abc import Callable
from pathlib import Path

from mnist_cnn.errors import UserError

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

SUFFIXES = {
    "PNG": (".png",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
    "AVIF": (".avif",),
}
"""The formats that can be read, with the suffixes of their files."""

# Images that cannot be read. They are found, so that they are reported.
_OTHERS = (".heic", ".heif", ".jxl", ".jp2")

MAX_BYTES = 100_000_000
MAX_PIXELS = 64_000_000
# A progressive JPEG is decoded once for each scan, and a scan can be a few bytes long.
MAX_SCANNED_PIXELS = 10_000_000_000

# Larger images are averaged down to about this size, which also averages their noise. A digit a
# tenth as high as the image is then still larger than in MNIST.
WORKING_PIXELS = 250_000


def find(path: Path) -> list[Path]:
    """The image files in a folder and its sub-folders, sorted; any other path, itself.

    Images are recognised by their suffix, also those of formats that cannot be read, such as HEIC;
    hidden files are skipped. Raises `UserError` if a folder has no images or cannot be read.
    """
    suffixes = {suffix for known in (*SUFFIXES.values(), _OTHERS) for suffix in known}
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
        raise UserError(f"{path}: no images in this folder")
    return found


def read_planes(path: Path, channels: int) -> NDArray[np.uint8]:
    """Read an image file; see `decode_planes`. Raises `UserError` that names the file."""
    return decode_planes(_content(path), str(path), channels)


def _content(path: Path) -> bytes:
    try:
        if not path.is_file():
            raise UserError(f"{path}: {'not a file' if path.exists() else 'missing'}")
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def decode_planes(content: bytes, name: str, channels: int) -> NDArray[np.uint8]:
    """Values `uint8 (channels, height, width)` of the content of an image file.

    With 1 channel, grey values as `decode` has them; with 3, red, green and blue on white. Raises
    what `decode` raises.
    """
    if channels == 1:
        return decode(content, name)[np.newaxis]
    return _checked(content, name, _decode_colours)


def planes(image: Image.Image, channels: int) -> NDArray[np.uint8]:
    """Values `uint8 (channels, height, width)` of an opaque image of 8 bits."""
    values = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return np.atleast_3d(values).transpose(2, 0, 1)


def resize(image: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Scale `(channels, height, width)` to another size, with anti-aliasing."""
    if image.shape[1:] == (height, width):
        return image
    scaled = [
        Image.fromarray(plane).resize((width, height), Image.Resampling.BILINEAR) for plane in image
    ]
    return np.stack([np.asarray(plane) for plane in scaled])


def decode(content: bytes, name: str) -> NDArray[np.uint8]:
    """Grey values `uint8 (height, width)`, 0 black to 255 white, of the content of an image file.

    Of several images in a file, the first is used. It is rotated by its EXIF orientation, averaged
    down to about `WORKING_PIXELS` if it is larger, and put on a plain background where it is
    transparent. Values of more than 8 bits are stretched to the whole range.

    Raises `UserError`, naming `name`, if the content is not an image in a format of `SUFFIXES`, is
    damaged, or is too large.
    """
    return _checked(content, name, _decode)


def _checked(
    content: bytes, name: str, decoder: Callable[[bytes], NDArray[np.uint8]]
) -> NDArray[np.uint8]:
    """What a decoder returns, or a `UserError` that names the image."""
    if not content:
        raise UserError(f"{name}: empty")
    if len(content) > MAX_BYTES:
        raise UserError(f"{name}: more than {MAX_BYTES // 1_000_000} million bytes")
    try:
        # What Pillow warns about is either an error below or harmless.
        with warnings.catch_warnings(action="ignore"):
            return decoder(content)
    except Image.DecompressionBombError:
        raise UserError(
            f"{name}: more than {MAX_PIXELS // 1_000_000} million pixels, or a decompression bomb"
        ) from None
    except UnidentifiedImageError:
        raise UserError(f"{name}: not an image of the formats {', '.join(SUFFIXES)}") from None
    # Pillow's decoders raise anything for a damaged file.
    except Exception:
        raise UserError(f"{name}: damaged, cut short, or of an unsupported kind") from None


def _decode(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=tuple(SUFFIXES)) as image:
        _prepare(image, content, "L")
        deep = image.mode.startswith(("I", "F"))
        grey = image.convert("F" if deep else "LA" if image.has_transparency_data else "L")
    factor = math.ceil(math.sqrt(grey.width * grey.height / WORKING_PIXELS))
    values = np.asarray(ImageOps.exif_transpose(grey.reduce(factor)))
    if deep:
        return _stretch(values)
    if values.ndim == 3:
        return _composite(values[..., 0].astype(np.float64), values[..., 1] / 255)
    return values


def _decode_colours(content: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(content), formats=tuple(SUFFIXES)) as image:
        if image.mode.startswith(("I", "F")):  # grey values of more than 8 bits
            return np.stack([_decode(content)] * 3)
        _prepare(image, content, "RGB")
        upright = ImageOps.exif_transpose(image).convert("RGBA")
    white = Image.new("RGBA", upright.size, "white")
    colours = Image.alpha_composite(white, upright).convert("RGB")
    factor = math.ceil(math.sqrt(colours.width * colours.height / WORKING_PIXELS))
    return planes(colours.reduce(factor), 3)


def _prepare(image: Image.Image, content: bytes, mode: str) -> None:
    """Refuse an image that is too large, and have a JPEG decoded at a fraction of its size."""
    pixels = image.width * image.height
    scans = content.count(b"\xff\xda") if content.startswith(b"\xff\xd8") else 1
    if pixels > MAX_PIXELS or pixels * scans > MAX_SCANNED_PIXELS:
        raise Image.DecompressionBombError
    shrink = math.sqrt(WORKING_PIXELS / pixels)
    image.draft(mode, (math.ceil(shrink * image.width), math.ceil(shrink * image.height)))


def _stretch(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Map values of any range to 0 to 255."""
    if not np.isfinite(values).all():
        raise ValueError("pixel values are not finite")
    return np.interp(values, (values.min(), values.max()), (0, 255)).round().astype(np.uint8)


def _composite(grey: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Grey values of a partly transparent image on a background with contrast.

    Strokes get a black or a white background, whichever differs more from them. An image that is
    mostly opaque and has several tones, such as paper without its corners, gets its own median.

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
