"""Overlap of rotated boxes, as `detectron2.layers.rotated_boxes`."""

from det_core.ops import rotated
from torch import Tensor

__all__ = ["pairwise_iou_rotated"]


def pairwise_iou_rotated(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """(N, M): intersection over union of (N, 5) and (M, 5): cx, cy, w, h, angle in degrees."""
    return rotated.iou(boxes1, boxes2)
