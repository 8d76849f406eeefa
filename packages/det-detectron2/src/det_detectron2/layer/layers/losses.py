"""Losses of boxes, as `detectron2.layers.losses`."""

import torch
from torch import Tensor
from torchvision.ops import complete_box_iou_loss, distance_box_iou_loss

__all__ = ["ciou_loss", "diou_loss"]


def diou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """1 - IoU + distance of the middles over the diagonal around both (Zheng et al., 2020); boxes (N, 4), (N,)."""
    return _mean_of_nothing(distance_box_iou_loss(boxes1, boxes2, reduction, eps), boxes1, reduction)


def ciou_loss(boxes1: Tensor, boxes2: Tensor, reduction: str = "none", eps: float = 1e-7) -> Tensor:
    """`diou_loss` with a term for the ratio of the sides."""
    return _mean_of_nothing(complete_box_iou_loss(boxes1, boxes2, reduction, eps), boxes1, reduction)


def _mean_of_nothing(loss: Tensor, boxes: Tensor, reduction: str) -> Tensor:
    return torch.sum(boxes) * 0.0 if reduction == "mean" and len(boxes) == 0 else loss
