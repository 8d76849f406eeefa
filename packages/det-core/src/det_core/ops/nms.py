"""Non-maximum suppression: of boxes that overlap, the best one stays."""

import torchvision
from torch import Tensor

from det_core.ops.precision import precise

__all__ = ["nms_by_group"]


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Indices, by falling score, of the boxes that no better box of their own group overlaps by more than `threshold`.

    Boxes (N, 4), scores (N,), groups int64 (N,), such as labels or levels; returns int64 (K,). Boxes must be finite.
    """
    boxes, scores = precise(boxes, scores)
    return torchvision.ops.batched_nms(boxes, scores, groups, threshold)
