"""Losses of boxes and classes; all return the sum over their rows, to be normalized by the caller."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from det_core.errors import ConfigError
from det_core.ops import boxes as box_ops
from det_core.ops import coding
from det_core.ops.geometry import Geometry, geometry
from det_core.ops.precision import precise
from det_core.printable import quoted

__all__ = ["BoxLoss", "FocalLoss", "box_format_for", "box_loss", "focal_loss", "iou_loss", "smooth_l1"]

BoxLoss = Literal["smooth_l1", "giou", "diou", "ciou"]
"""Losses of a predicted against a ground-truth box; rotated boxes support `smooth_l1` only."""

_TINY = 1e-7


def smooth_l1(a: Tensor, b: Tensor, beta: float) -> Tensor:
    """Huber loss divided by `beta`, summed: quadratic where |a - b| < beta, linear beyond; beta 0 is the L1 loss."""
    if beta < 1e-5:
        return (a - b).abs().sum()
    return F.smooth_l1_loss(a, b, beta=beta, reduction="sum")


def focal_loss(logits: Tensor, targets: Tensor, alpha: float, gamma: float) -> Tensor:
    """Focal loss (Lin et al., 2017) of logits against `targets` in {0, 1} of the same shape, summed; as `precise`.

    `alpha` weighs targets of 1, and 1 - `alpha` those of 0; negative for no weights. Well-classified examples are
    down-weighted by (1 - p) ** `gamma`.
    """
    logits, targets = precise(logits, targets)
    p = logits.sigmoid()
    wrong = p * (1 - targets) + (1 - p) * targets
    loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * wrong**gamma
    if alpha >= 0:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss.sum()


@dataclass(frozen=True)
class FocalLoss:
    """Settings of `focal_loss`.

    Attributes:
        alpha: weight of the positive class, in [0, 1]; negative for none.
        gamma: exponent of the down-weighting of well-classified examples, 0 or more.
    """

    alpha: float = 0.25
    gamma: float = 2.0

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Sum of `focal_loss` over logits against `targets` in {0, 1} of the same shape."""
        return focal_loss(logits, targets, self.alpha, self.gamma)


def iou_loss(a: Tensor, b: Tensor, kind: Literal["giou", "diou", "ciou"]) -> Tensor:
    """Sum over the rows of 1 - IoU + penalty, for boxes (N, 4) and (N, 4) row by row.

    The penalty is the uncovered fraction of the enclosing box (giou: Rezatofighi et al., 2019), the squared centre
    distance divided by the squared diagonal of the enclosing box (diou: Zheng et al., 2020), or that and an aspect
    ratio term (ciou, the same).
    """
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(dim=1)
    union = box_ops.area(a) + box_ops.area(b) - shared
    overlap = shared / (union + _TINY)
    outer = torch.maximum(a[:, 2:], b[:, 2:]) - torch.minimum(a[:, :2], b[:, :2])
    if kind == "giou":
        outer_area = outer.prod(dim=1)
        return (1 - overlap + (outer_area - union) / (outer_area + _TINY)).sum()
    apart = ((a[:, :2] + a[:, 2:] - b[:, :2] - b[:, 2:]) / 2).square().sum(dim=1)
    loss = 1 - overlap + apart / (outer.square().sum(dim=1) + _TINY)
    if kind == "ciou":
        aspect_a, aspect_b = (torch.atan((x[:, 2] - x[:, 0]) / (x[:, 3] - x[:, 1])) for x in (a, b))
        v = (4 / math.pi**2) * (aspect_b - aspect_a).square()
        with torch.no_grad():
            alpha = v / (1 - overlap + v + _TINY)
        loss = loss + alpha * v
    return loss.sum()


def box_format_for(where: str, weights: Sequence[float], kind: BoxLoss) -> Geometry:
    """Box format for offsets with these weights; ConfigError if the loss `kind` does not support it."""
    form = geometry(len(weights), f"{where}.box_weights")
    if form.dim != 4 and kind != "smooth_l1":
        raise ConfigError(f"{where}.box_loss", "must be 'smooth_l1' for rotated boxes", f"got {quoted(kind)}")
    return form


def box_loss(
    offsets: Tensor, references: Tensor, boxes: Tensor, weights: Sequence[float], kind: BoxLoss, beta: float
) -> Tensor:
    """Loss of predicted offsets (N, 4) from `references` (N, 4) against ground-truth `boxes` (N, 4), or (N, 5); summed.

    `smooth_l1` compares offsets, the others the decoded boxes; 0 without rows.
    """
    offsets, references, boxes = precise(offsets, references, boxes)
    if kind == "smooth_l1":
        return smooth_l1(offsets, geometry(boxes.shape[1]).encode(boxes, references, weights), beta)
    return iou_loss(coding.decode(offsets, references, weights), boxes, kind)
