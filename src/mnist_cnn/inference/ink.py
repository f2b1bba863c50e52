"""The ink of an image: how far each pixel differs from its background.

Strokes may be on a sheet on a desk, on a tile, in a frame, on rules, or half in a shadow.
"""

from collections.abc import Sequence

from mnist_cnn.inference import marks

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

# Grey levels, of 255, by which an object must differ from its background.
MIN_CONTRAST = 10
# The same for strokes in uneven light, in proportion to the light.
MIN_LOCAL_CONTRAST = 64
# What differs less than this fraction of the largest difference does not count.
VISIBLE = 0.1
# Light is uneven if a quarter of the border differs from its median by this part of the contrast.
UNEVEN = 0.15
# The thickness of a line is at most this fraction of the longer side of the image.
LINE = 0.03
# A rectangle fills its smallest box by at least this fraction, an ellipse by 0.79.
RECTANGLE = 0.92
# The fraction of a panel that is left out at its edges.
PANEL_MARGIN = 0.03


def of_object(grey: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """How far each pixel differs from the background towards the object, beyond the noise.

    Also returns the noise: three standard deviations of most of the border. Both are grey levels.
    """
    difference, deviation = _subtract_background(grey)
    # The median is 1 / 1.4826 of the standard deviation of a normal distribution.
    noise = 3 * 1.4826 * deviation
    # The object differs most, so in the third power it outweighs all other differences.
    towards = np.sign((difference**3).sum())
    return (towards * difference - noise).clip(0), noise


def of_strokes(grey: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """The same for strokes: only inside a sheet, tile or frame, in any light, and without lines.

    The ink has the shape of the innermost sheet, tile or frame, which may be smaller.
    """
    panel = _innermost_panel(grey)
    ink, noise = of_object(panel)
    ink = _remove_lines(ink)
    # A surface that leaves neither ink nor much noise fits an image that shows nothing.
    if max(ink.max(), noise / 2) >= MIN_CONTRAST and _is_uneven(panel, ink.max()):
        local = _remove_lines(_local_ink(panel))
        if local.max() >= MIN_LOCAL_CONTRAST:
            return local, 0.0
    return ink, noise


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


def _innermost_panel(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """The inside of a rectangle that has something in it: a sheet, a tile, a frame.

    What is outside gets the values of the nearest pixels inside. An image without such a rectangle
    stays as it is.
    """
    ink, noise = of_object(grey)
    contrast = ink.max()
    if contrast < max(MIN_CONTRAST, noise):
        return grey
    visible = marks.find(ink >= max(MIN_CONTRAST, contrast * VISIBLE))
    mark = max(visible, key=lambda mark: mark.area_filled)
    shape = mark.image_filled
    if marks.touches_border(mark, grey.shape) or _rectangularity(shape) < RECTANGLE:
        return grey
    margin = 2 + round(PANEL_MARGIN * max(shape.shape))
    inside = ndimage.binary_erosion(shape, iterations=margin)
    if not inside.any():
        return grey
    nearest = ndimage.distance_transform_edt(~inside, return_distances=False, return_indices=True)
    panel = _innermost_panel(grey[mark.slice][tuple(nearest)])
    content, noise = of_object(panel)
    return panel if content.max() >= max(contrast / 4, noise) else grey


def _rectangularity(shape: NDArray[np.bool_]) -> float:
    """The fraction that a shape fills of the smallest rectangle around it, at any angle."""
    y, x = (shape & ~ndimage.binary_erosion(shape)).nonzero()
    turned = (x + 1j * y)[:, np.newaxis] * np.exp(1j * np.deg2rad(range(90)))
    areas = (np.ptp(turned.real, axis=0) + 1) * (np.ptp(turned.imag, axis=0) + 1)
    return float(shape.sum() / areas.min())


def _is_uneven(grey: NDArray[np.float64], contrast: float) -> bool:
    """Whether the border of the image has several tones, as in a shadow."""
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    differs = np.abs(border - np.median(border)) > max(MIN_CONTRAST, contrast * UNEVEN)
    return bool(differs.mean() > 0.25)


def _local_ink(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """How far each pixel differs from its surroundings, in proportion to the light, 0 to 255.

    This shows what is narrower than a quarter of the image, but no edges of shadows.
    """
    smooth = ndimage.median_filter(grey, 3)
    window = max(3, max(grey.shape) // 4)
    light = ndimage.grey_closing(smooth, window, mode="nearest")
    dark = ndimage.grey_opening(smooth, window, mode="nearest")
    below, above = (light - grey).clip(0), (grey - dark).clip(0)
    # Paper between dark strokes is lighter than they are, but not lighter than other paper.
    ink = below if _share_of_tone(-grey, below) <= _share_of_tone(grey, above) else above
    ink *= 255 / light.clip(max(1, light.max() / 4))
    cleaned: NDArray[np.float64] = (ink - 2 * np.median(ink)).clip(0)  # the median is noise
    return cleaned


def _share_of_tone(values: NDArray[np.float64], ink: NDArray[np.float64]) -> float:
    """The fraction of the image that has the values of the ink, or higher ones."""
    tone = np.average(values, weights=ink**3 + 1e-9)
    return float((values >= tone - MIN_CONTRAST).mean())


def _remove_lines(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Remove long thin lines, horizontal and vertical, unless there is nothing else."""
    removed = _remove_horizontal_lines(_remove_horizontal_lines(ink).T).T
    return removed if removed.max() > ink.max() / 2 else ink


def _remove_horizontal_lines(ink: NDArray[np.float64]) -> NDArray[np.float64]:
    """Remove lines that are at least 0.7 of the image wide, up to 3° askew.

    Strokes that cross a line stay, because they are higher than it is.
    """
    width = ink.shape[1]
    thickness = round(LINE * max(ink.shape))
    visible = max(MIN_CONTRAST, ink.max() * VISIBLE)
    high = ndimage.grey_opening(ink, (thickness + 2, 1))
    wide = ndimage.grey_opening(ink, (1, max(3, width // 10)))
    pieces = (wide > visible) & (high <= visible)
    # Strokes that cross a line divide it.
    gap = width // 3 + 1
    padded = np.pad(pieces.astype(np.uint8), ((0, 0), (gap, gap)))
    joined = ndimage.grey_closing(padded, (1, gap))[:, gap:-gap]
    lines = np.zeros(ink.shape, bool)
    for mark in marks.find(joined > 0):
        _, length = marks.sides(mark)
        if length >= 0.7 * width and mark.area <= thickness * length:
            lines[mark.slice] |= mark.image
    removed: NDArray[np.float64] = np.where(ndimage.binary_dilation(lines, iterations=2), high, ink)
    return removed
