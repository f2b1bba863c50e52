"""Grey values of colour images, in which colours of one lightness differ as well."""

import numpy as np
from numpy.typing import NDArray

# The contrast of the colours must be this many times that of the grey values to replace it.
GAIN = 2


def grey_values(grey: NDArray[np.uint8], colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey values of an image, from its colours if its lightness shows much less.

    Args:
        grey: its lightness, `(height, width)`.
        colours: red, green and blue of the same image, `(3, height, width)`.

    Returns:
        `uint8 (height, width)`: the lightness, or where each pixel is between the two colours that
        differ most: their first principal component.
    """
    if (colours == colours[0]).all():
        return grey
    values = colours.reshape(3, -1).astype(np.float64)
    values -= values.mean(axis=1, keepdims=True)
    axis = np.linalg.eigh(values @ values.T).eigenvectors[:, -1]
    component = axis @ values / np.abs(axis).sum()
    if component.std() <= GAIN * grey.std():
        return grey
    levels: NDArray[np.uint8] = (component - component.min()).round().astype(np.uint8)
    return levels.reshape(grey.shape)
