"""Non-maximum suppression: of boxes that overlap, the best one stays."""

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

from det_core.ops.precision import precise

__all__ = ["nms_by_group"]


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Indices, by falling score, of the boxes that no better box of their own group overlaps by more than `threshold`.

    Boxes (N, 4), scores (N,), groups int64 (N,), such as labels or levels; returns int64 (K,). Boxes must be finite.
    """
    boxes, scores = precise(boxes, scores)
    if torch.compiler.is_exporting():
        # What batched_nms does up to a thousand boxes; it branches on their number, which a graph cannot.
        largest = F.pad(boxes.flatten(), (0, 1)).max()
        return torchvision.ops.nms(boxes + (groups.to(boxes) * (largest + 1))[:, None], scores, threshold)
    return torchvision.ops.batched_nms(boxes, scores, groups, threshold)
