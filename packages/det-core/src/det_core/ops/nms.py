"""Non-maximum suppression."""

import torch
import torchvision
from torch import Tensor

from det_core.ops.precision import precise

__all__ = ["nms_by_group", "nms_in_graph"]


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Indices, by descending score, of the boxes that no better box of their group overlaps by more than `threshold`.

    Boxes (N, 4), scores (N,), groups int64 (N,), such as labels or levels; returns int64 (K,). Boxes must be finite.
    """
    boxes, scores = precise(boxes, scores)
    if torch.compiler.is_exporting():
        return _exported(boxes, scores, groups, threshold)
    return torchvision.ops.batched_nms(boxes, scores, groups, threshold)


def _exported(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """As `batched_nms` up to a thousand boxes; it branches on their number, which cannot be exported."""
    largest = torch.cat((boxes.flatten(), boxes.new_zeros(1))).max()
    return nms_in_graph(boxes + (groups.to(boxes) * (largest + 1))[:, None], scores, threshold)


def nms_in_graph(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """As `torchvision.ops.nms`, for graphs to be exported: boxes (N, 4), scores (N,), also none; returns int64 (K,).

    torchvision declares that its operator keeps at least two boxes, and graphs refuse fewer at run time. So two empty
    boxes are prepended, which overlap nothing, have the lowest scores, and are always kept; they are dropped
    afterwards. By `torch.cat`: padding without any rows crashes in AOTInductor.
    """
    boxes = torch.cat((boxes.new_zeros(2, 4), boxes))
    scores = torch.cat((scores.new_full((2,), torch.finfo(scores.dtype).min), scores))
    keep = torchvision.ops.nms(boxes, scores, threshold)
    return keep[torch.nonzero(keep >= 2).squeeze(1)] - 2
