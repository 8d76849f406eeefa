"""Pairs of objects of two frames, as `detectron2.tracking.utils`."""

from typing import Any

import numpy as np

from det_detectron2.layer.structures import Instances

__all__ = ["LARGE_COST_VALUE", "create_prediction_pairs"]

LARGE_COST_VALUE = 100000
"""The cost of a pair that is not to be."""


def create_prediction_pairs(
    instances: Instances, prev_instances: Instances, iou_all: np.ndarray, threshold: float = 0.5
) -> list[dict[str, Any]]:
    """The pairs whose IoU (N, M) is at least `threshold`, with their places, IDs, IoU and period of the earlier one."""
    places = np.argwhere(np.asarray(iou_all) >= threshold)
    return [
        {
            "idx": int(row),
            "prev_idx": int(column),
            "prev_id": prev_instances.ID[column],
            "IoU": iou_all[row, column],
            "prev_period": prev_instances.ID_period[column],
        }
        for row, column in places
    ]
