"""Overlaps of boxes, and assignments of the largest total overlap."""

import numpy as np
import torch
from det_core.ops.boxes import iou
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["assign", "iou_matrix"]

Array = NDArray[np.float64]


def iou_matrix(first: Array, second: Array) -> Array:
    """IoU (N, M) of boxes (N, 4) and (M, 4), xyxy; 0 where both are empty."""
    overlaps: Array = iou(torch.from_numpy(first), torch.from_numpy(second)).numpy()
    return overlaps


def assign(values: Array, minimum: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the assignment of the largest total gain.

    A pair gains what its value (N, M) exceeds `minimum` by; a pair below it is never assigned. That is the same as
    minimizing costs where leaving a row and a column alone costs `1 - minimum`.
    """
    if not values.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    gains = np.where(values >= minimum, values - minimum + 1e-9, 0)
    rows, columns = linear_sum_assignment(gains, maximize=True)
    valid = gains[rows, columns] > 0
    return rows[valid], columns[valid]
