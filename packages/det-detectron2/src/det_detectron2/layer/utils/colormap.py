"""Colors, as `detectron2.utils.colormap`; they are those of `det predict`."""

import random
from typing import Any

import numpy as np
from det_core.visual import class_color
from numpy.typing import NDArray

__all__ = ["colormap", "random_color", "random_colors"]

_COUNT = 79


def colormap(rgb: bool = False, maximum: int = 255) -> NDArray[np.float32]:
    """Colors (79, 3), float32.

    Args:
        rgb: channel order RGB; BGR otherwise.
        maximum: value of the brightest channel, 255 or 1.
    """
    colors: NDArray[np.float32] = np.array([class_color(label)[:3] for label in range(_COUNT)], np.float32)
    colors *= maximum / 255
    return colors if rgb else colors[:, ::-1]


def random_color(rgb: bool = False, maximum: int = 255) -> Any:
    """One of the colors, (3,)."""
    return colormap(rgb, maximum)[random.randrange(_COUNT)]


def random_colors(count: int, rgb: bool = False, maximum: int = 255) -> list[Any]:
    """Different colors, each (3,)."""
    colors = colormap(rgb, maximum)
    return [colors[index] for index in random.sample(range(_COUNT), count)]
