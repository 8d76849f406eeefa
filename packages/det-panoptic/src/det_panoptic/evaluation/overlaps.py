"""How much the segments of two maps share, counted for all pairs at once."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

__all__ = ["Overlaps", "overlaps", "rims"]


class Overlaps(NamedTuple):
    """Pixels that S true and P predicted segments have, and share.

    Attributes:
        shared: int64 (S, P).
        true: int64 (S,).
        predicted: int64 (P,).
        void: int64 (P,): those of the predicted that lie where the truth is void.
    """

    shared: NDArray[np.int64]
    true: NDArray[np.int64]
    predicted: NDArray[np.int64]
    void: NDArray[np.int64]

    def ious(self) -> NDArray[np.float64]:
        """Shared over joint pixels, (S, P); void pixels of a prediction are forgiven. 0 where nothing is joint."""
        joint = self.true[:, None] + self.predicted - self.shared - self.void
        return self.shared / np.maximum(joint, 1)


def overlaps(true: NDArray[np.int64], predicted: NDArray[np.int64], count: int, guesses: int) -> Overlaps:
    """Of maps (H, W) whose values run to `count` and `guesses`, 0 being void in both."""
    pairs = true * (guesses + 1)
    pairs += predicted
    table = np.bincount(pairs.ravel(), minlength=(count + 1) * (guesses + 1))
    table = table.reshape(count + 1, guesses + 1)
    return Overlaps(table[1:, 1:], table[1:].sum(1), table[:, 1:].sum(0), table[0, 1:])


def rims(ids: NDArray[np.int64], width: int) -> NDArray[np.int64]:
    """The map (H, W) with void wherever a pixel of another segment, or none at all, is less than `width` + 1 away.

    Distances are those of squares: a rim is what erosion by 3 x 3, done `width` times, takes away; returned is the map
    with the interiors made void, so that the rims are left.
    """
    padded = F.pad(torch.from_numpy(ids).double()[None, None], (width,) * 4, value=-1.0)
    side = 2 * width + 1

    def highest(x: torch.Tensor) -> torch.Tensor:
        # A square is a row of columns: two passes in place of one, whose cost would grow with the area.
        return F.max_pool2d(F.max_pool2d(x, (1, side), stride=1), (side, 1), stride=1)

    inside = (highest(padded) == -highest(-padded))[0, 0].numpy()
    return np.where(inside, 0, ids)
