"""Non-maximum suppression, as `detectron2.layers.nms`."""

import torch
from det_core.ops import rotated
from torch import Tensor
from torchvision.ops import boxes as box_ops
from torchvision.ops import nms

__all__ = ["batched_nms", "batched_nms_rotated", "nms", "nms_rotated"]


def batched_nms(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """The boxes (N, 4) that stay among those of the same group, best first: int64 (K,)."""
    assert boxes.shape[-1] == 4
    return box_ops.batched_nms(boxes.float(), scores, idxs, iou_threshold)


def nms_rotated(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """The rotated boxes (N, 5) that stay, best first: int64 (K,)."""
    return rotated.nms_by_group(boxes, scores, torch.zeros_like(scores, dtype=torch.int64), iou_threshold)


def batched_nms_rotated(boxes: Tensor, scores: Tensor, idxs: Tensor, iou_threshold: float) -> Tensor:
    """The rotated boxes (N, 5) that stay among those of the same group, best first: int64 (K,)."""
    assert boxes.shape[-1] == 5
    if boxes.numel() == 0:
        return torch.empty((0,), dtype=torch.int64, device=boxes.device)
    return rotated.nms_by_group(boxes.float(), scores, idxs, iou_threshold)
