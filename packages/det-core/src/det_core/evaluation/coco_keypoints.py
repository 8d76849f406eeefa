"""Keypoints for COCO evaluation."""

import numpy as np
from numpy.typing import NDArray

from det_core.errors import DataError, StructureError
from det_core.structures import Detections, Targets

__all__ = ["pixel_indices", "require_keypoints"]


def pixel_indices(objects: Targets | Detections) -> NDArray[np.float64] | None:
    """Keypoints (N, K, 3) in the convention of the format: pixel indices, half a pixel less than coordinates.

    Unlabelled ground-truth keypoints stay at 0.
    """
    if objects.keypoints is None:
        return None
    points: NDArray[np.float64] = objects.keypoints.detach().double().cpu().numpy().copy()
    points[..., :2] -= np.where(points[..., 2:] > 0, 0.5, 0.0) if isinstance(objects, Targets) else 0.5
    return points


def require_keypoints(objects: Targets | Detections, count: int, where: str, what: str) -> None:
    """Raise DataError or StructureError unless `objects` have `count` finite keypoints each; no objects need none."""
    if objects.keypoints is None:
        if len(objects):
            fix = "load the dataset with keypoints" if what == "ground truth" else "use a model that predicts them"
            problem = f"its {what} has no keypoints to compare"
            raise DataError(where, problem, fix=f"{fix}, or leave 'keypoints' out of iou_types")
        return
    if objects.keypoints.shape[1] != count:
        found = f"{objects.keypoints.shape[1]} keypoints, but {count} sigmas"
        fix = "give the evaluator one sigma per keypoint"
        raise StructureError(where, f"its {what} has another number of keypoints than is evaluated", found, fix)
    if not bool(objects.keypoints.isfinite().all()):
        raise StructureError(where, f"its {what} has non-finite keypoints")
