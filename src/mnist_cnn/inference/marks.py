"""Connected marks: which belong to the object of an image, and whether there is another object.

A mark is a region of scikit-image, with `bbox`, `area`, `image` and `slice`.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.measure import label, regionprops

# Marks smaller than this fraction of the largest are dirt.
MIN_MARK = 0.02
# An underline is this many times as wide as high.
UNDERLINE = 6
# Marks are two objects if this fraction of the larger one's height is between them.
GAP = 0.05

_NEIGHBOURS = np.ones((3, 3), bool)


def find(mask: NDArray[np.bool_]) -> list[Any]:
    """The connected marks of a mask `(height, width)`, without dirt."""
    marks = regionprops(label(mask, connectivity=2))
    largest = max((mark.area for mark in marks), default=0)
    return [mark for mark in marks if mark.area >= MIN_MARK * largest]


def sides(mark: Any) -> tuple[int, int]:
    """The height and the width of a mark, in pixels."""
    top, left, bottom, right = mark.bbox
    return bottom - top, right - left


def touches_border(mark: Any, shape: tuple[int, ...]) -> bool:
    """Whether a mark touches the border of an image of this shape."""
    top, left, bottom, right = mark.bbox
    return bool(min(top, left) == 0 or bottom == shape[0] or right == shape[1])


def of_the_object(marks: list[Any], shape: tuple[int, ...]) -> list[Any]:
    """The marks without those at the border of the image, and without underlines.

    They stay if all others are shorter than a fifth of the longest mark.
    """
    longest = _longest(marks)
    inside = [mark for mark in marks if not touches_border(mark, shape)]
    if _longest(inside) >= longest / 5:
        marks = inside
    others = [mark for mark in marks if not _is_underline(mark)]
    return others if _longest(others) >= longest / 5 else marks


def _longest(marks: list[Any]) -> int:
    return max((max(sides(mark)) for mark in marks), default=0)


def _is_underline(mark: Any) -> bool:
    height, width = sides(mark)
    return width > UNDERLINE * height


def are_apart(marks: list[Any]) -> bool:
    """Whether another mark of at least 0.6 of the largest one's height is beside it, with a gap.

    The parts of a broken digit are lower, or above each other.
    """
    largest = max(marks, key=lambda mark: mark.area)
    height, _ = sides(largest)
    return any(
        _gap(mark, largest) >= GAP * height
        and sides(mark)[0] >= 0.6 * height
        and mark.area >= largest.area / 6
        for mark in marks
    )


def _gap(one: Any, other: Any) -> int:
    """The columns between two marks; negative if they share columns."""
    return int(max(one.bbox[1] - other.bbox[3], other.bbox[1] - one.bbox[3]))


def cut_out(levels: NDArray[np.uint8], marks: list[Any]) -> NDArray[np.uint8]:
    """The box around the marks, with their anti-aliased edges."""
    shape = np.zeros(levels.shape, bool)
    for mark in marks:
        shape[mark.slice] |= mark.image
    # An anti-aliased edge is one pixel wide.
    shape = ndimage.binary_dilation(shape, _NEIGHBOURS, mask=levels > 0)
    rows, columns = shape.any(axis=1).nonzero()[0], shape.any(axis=0).nonzero()[0]
    return levels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
