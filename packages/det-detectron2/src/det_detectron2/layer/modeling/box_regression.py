"""Boxes as offsets from others, as `detectron2.modeling.box_regression`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision.ops import generalized_box_iou_loss

from det_detectron2.layer.layers import cat, ciou_loss, diou_loss
from det_detectron2.layer.structures import Boxes

__all__ = ["Box2BoxTransform", "Box2BoxTransformLinear", "Box2BoxTransformRotated"]

_DEFAULT_SCALE_CLAMP = math.log(1000.0 / 16)
"""The largest logarithm of a ratio of sizes, so that its exponential stays finite."""


class Box2BoxTransform:
    """(dx, dy, dw, dh): shifts of the middle in sizes of the source, and logarithms of ratios of sizes.

    Args:
        weights: weights of the four offsets (dx, dy, dw, dh).
        scale_clamp: maximum of dw and dh, which are logarithms of size ratios.
    """

    def __init__(self, weights: Sequence[float], scale_clamp: float = _DEFAULT_SCALE_CLAMP) -> None:
        self.weights, self.scale_clamp = tuple(weights), scale_clamp

    def get_deltas(self, src_boxes: Tensor, target_boxes: Tensor) -> Tensor:
        """(N, 4) from boxes (N, 4) to boxes (N, 4)."""
        assert isinstance(src_boxes, Tensor), type(src_boxes)
        assert isinstance(target_boxes, Tensor), type(target_boxes)
        size, expected = src_boxes[:, 2:] - src_boxes[:, :2], target_boxes[:, 2:] - target_boxes[:, :2]
        middle, aim = src_boxes[:, :2] + 0.5 * size, target_boxes[:, :2] + 0.5 * expected
        assert (size[:, 0] > 0).all().item(), "Input boxes to Box2BoxTransform are not valid!"
        deltas = torch.cat(((aim - middle) / size, torch.log(expected / size)), dim=1)
        return deltas * deltas.new_tensor(self.weights)

    def apply_deltas(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """(N, 4 k) of boxes (N, 4) to boxes (N, 4 k)."""
        deltas = deltas.float()
        boxes = boxes.to(deltas.dtype)
        size = boxes[:, 2:] - boxes[:, :2]
        middle = boxes[:, :2] + 0.5 * size
        current = deltas.reshape(deltas.shape[0], -1, 4) / deltas.new_tensor(self.weights)
        aim = current[..., :2] * size[:, None] + middle[:, None]
        half = 0.5 * torch.exp(current[..., 2:].clamp(max=self.scale_clamp)) * size[:, None]
        return torch.cat((aim - half, aim + half), dim=2).reshape(deltas.shape)


class Box2BoxTransformRotated:
    """(dx, dy, dw, dh, da): as upright ones, with the difference of angles in radians.

    Args:
        weights: weights of the five offsets (dx, dy, dw, dh, da).
        scale_clamp: maximum of dw and dh, which are logarithms of size ratios.
    """

    def __init__(self, weights: Sequence[float], scale_clamp: float = _DEFAULT_SCALE_CLAMP) -> None:
        self.weights, self.scale_clamp = tuple(weights), scale_clamp

    def get_deltas(self, src_boxes: Tensor, target_boxes: Tensor) -> Tensor:
        """(N, 5) from boxes (N, 5) to boxes (N, 5)."""
        assert isinstance(src_boxes, Tensor), type(src_boxes)
        assert isinstance(target_boxes, Tensor), type(target_boxes)
        size = src_boxes[:, 2:4]
        assert (size[:, 0] > 0).all().item(), "Input boxes to Box2BoxTransformRotated are not valid!"
        turn = (target_boxes[:, 4] - src_boxes[:, 4] + 180.0) % 360.0 - 180.0
        shift = (target_boxes[:, :2] - src_boxes[:, :2]) / size
        deltas = torch.cat((shift, torch.log(target_boxes[:, 2:4] / size), turn[:, None] * math.pi / 180.0), dim=1)
        return deltas * deltas.new_tensor(self.weights)

    def apply_deltas(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """(N, 5 k) of boxes (N, 5) to boxes (N, 5 k)."""
        assert deltas.shape[1] % 5 == 0
        assert boxes.shape[1] == 5
        boxes = boxes.to(deltas.dtype)[:, None]
        current = deltas.reshape(deltas.shape[0], -1, 5) / deltas.new_tensor(self.weights)
        middle = current[..., :2] * boxes[..., 2:4] + boxes[..., :2]
        size = torch.exp(current[..., 2:4].clamp(max=self.scale_clamp)) * boxes[..., 2:4]
        angle = (current[..., 4:] * 180.0 / math.pi + boxes[..., 4:] + 180.0) % 360.0 - 180.0
        return torch.cat((middle, size, angle), dim=2).reshape(deltas.shape)


class Box2BoxTransformLinear:
    """Distances from the middle of the source to the sides (Tian et al., "FCOS", 2019).

    Args:
        normalize_by_size: whether to divide the distances by the size of the source box.
    """

    def __init__(self, normalize_by_size: bool = True) -> None:
        self.normalize_by_size = normalize_by_size

    def get_deltas(self, src_boxes: Tensor, target_boxes: Tensor) -> Tensor:
        """(N, 4), left, top, right, bottom, from boxes (N, 4) to boxes (N, 4)."""
        middle = 0.5 * (src_boxes[:, :2] + src_boxes[:, 2:])
        deltas = torch.cat((middle - target_boxes[:, :2], target_boxes[:, 2:] - middle), dim=1)
        return deltas / _sizes(src_boxes) if self.normalize_by_size else deltas

    def apply_deltas(self, deltas: Tensor, boxes: Tensor) -> Tensor:
        """(N, 4 k) of boxes (N, 4) to boxes (N, 4 k); negative distances count as 0."""
        deltas = F.relu(deltas)
        boxes = boxes.to(deltas.dtype)
        middle = 0.5 * (boxes[:, :2] + boxes[:, 2:])
        current = deltas.reshape(deltas.shape[0], -1, 4)
        if self.normalize_by_size:
            current = current * _sizes(boxes)[:, None]
        moved = torch.cat((middle[:, None] - current[..., :2], middle[:, None] + current[..., 2:]), dim=2)
        return moved.reshape(deltas.shape)


def _sizes(boxes: Tensor) -> Tensor:
    size = boxes[:, 2:] - boxes[:, :2]
    return torch.cat((size, size), dim=1)


def _dense_box_regression_loss(
    anchors: Sequence[Any],
    box2box_transform: Any,
    pred_anchor_deltas: Sequence[Tensor],
    gt_boxes: Sequence[Tensor],
    fg_mask: Tensor,
    box_reg_loss_type: str = "smooth_l1",
    smooth_l1_beta: float = 0.0,
) -> Tensor:
    """The sum of the losses of boxes over foreground anchors.

    Args:
        anchors: anchors of each level, `Boxes` or tensors.
        box2box_transform: encoding of the box offsets.
        pred_anchor_deltas: predicted offsets of each level, (N, anchors, 4).
        gt_boxes: matched ground-truth boxes of each image, (all anchors, 4).
        fg_mask: foreground anchors, bool (N, all anchors).
        box_reg_loss_type: box regression loss: "smooth_l1", "giou", "diou" or "ciou".
        smooth_l1_beta: difference above which the smooth L1 loss is linear; 0 for L1.
    """
    tensors = [each.tensor if isinstance(each, Boxes) else each for each in anchors]
    every = cat(tensors)
    offsets = cat(list(pred_anchor_deltas), dim=1)
    if box_reg_loss_type == "smooth_l1":
        expected = torch.stack([box2box_transform.get_deltas(every, boxes) for boxes in gt_boxes])
        selected, aim = offsets[fg_mask], expected[fg_mask]
        if smooth_l1_beta < 1e-5:
            return (selected - aim).abs().sum()
        return F.smooth_l1_loss(selected, aim, beta=smooth_l1_beta, reduction="sum")
    kinds = {"giou": generalized_box_iou_loss, "diou": diou_loss, "ciou": ciou_loss}
    if box_reg_loss_type not in kinds:
        raise ValueError(f"Invalid dense box regression loss type '{box_reg_loss_type}'")
    boxes = torch.stack([box2box_transform.apply_deltas(each, every) for each in offsets])
    loss: Tensor = kinds[box_reg_loss_type](boxes[fg_mask], torch.stack(list(gt_boxes))[fg_mask], reduction="sum")
    return loss
