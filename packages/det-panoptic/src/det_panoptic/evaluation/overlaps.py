"""Intersections of the segments of two maps, for all pairs at once."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

__all__ = ["Overlaps", "overlaps", "rims"]


class Overlaps(NamedTuple):
    """Pixel counts of S ground-truth and P predicted segments, and of their intersections.

    Attributes:
        shared: intersections, int64 (S, P).
        true: areas of the ground-truth segments, int64 (S,).
        predicted: areas of the predicted segments, int64 (P,).
        void: int64 (P,): pixels of each predicted segment where the ground truth is void.
    """

    shared: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    void: NDArray[np.int64]

    def ious(self) -> NDArray[np.float64]:
        """Intersection over union, (S, P); void pixels of a prediction are ignored. 0 for an empty union."""
        union = self.true[:, None] + self.predicted - self.shared - self.void
        return self.shared / np.maximum(union, 1)


def overlaps(true: NDArray[np.int64], predicted: NDArray[np.int64], count: int, predictions: int) -> Overlaps:
    """Overlaps of maps (H, W) with values up to `count` and `predictions`; 0 is void in both."""
    pairs = true * (predictions + 1)
    pairs += predicted
    table = np.bincount(pairs.ravel(), minlength=(count + 1) * (predictions + 1))
    table = table.reshape(count + 1, predictions + 1)
    return Overlaps(table[1:, 1:], table[1:].sum(1), table[:, 1:].sum(0), table[0, 1:])


def rims(ids: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The map (H, W) with void wherever all pixels within `width` belong to the same segment.

    Distances are Chebyshev: a rim is the part that `width` erosions by 3 x 3 remove. Interiors become void, so that the
    rims remain.
    """
    padded = F.pad(torch.from_numpy(ids).double()[None, None], (width,) * 4, value=-1.0)
    side = 2 * width + 1

    def highest(x: torch.Tensor) -> torch.Tensor:
        # The maximum over a square is separable: two passes, whose cost is linear in the side.
        return F.max_pool2d(F.max_pool2d(x, (1, side), stride=1), (side, 1), stride=1)

    inside = (highest(padded) == -highest(-padded))[0, 0].numpy()
    return np.where(inside, 0, ids)
