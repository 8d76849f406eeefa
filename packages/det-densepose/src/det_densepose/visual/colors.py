"""Color maps for drawing without matplotlib: a few anchor colors, joined by lines."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["JET", "PARULA", "apply"]

Anchors = tuple[tuple[int, int, int], ...]

PARULA: Anchors = (
    (53, 42, 135), (15, 92, 221), (18, 125, 216), (7, 156, 207), (21, 177, 180),
    (89, 189, 140), (165, 190, 107), (225, 185, 82), (252, 206, 46), (249, 251, 14),
)  # fmt: skip
"""From blue over green to yellow; RGB."""

JET: Anchors = ((0, 0, 143), (0, 0, 255), (0, 255, 255), (255, 255, 0), (255, 0, 0), (128, 0, 0))
"""From blue over cyan and yellow to red; RGB."""


def apply(values: NDArray[np.floating], anchors: Anchors = PARULA) -> NDArray[np.float64]:
    """Colors (..., 3), 0 to 255, of values (...) in [0, 1]; others are cut off."""
    table = np.array(anchors, np.float64)
    place = np.clip(np.asarray(values, np.float64), 0, 1) * (len(table) - 1)
    low = np.minimum(place.astype(np.int64), len(table) - 2)
    share = (place - low)[..., None]
    return np.asarray(table[low] * (1 - share) + table[low + 1] * share)
