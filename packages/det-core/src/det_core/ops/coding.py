"""Boxes as offsets from reference boxes, anchors or proposals (Girshick et al., "Rich feature hierarchies", 2014)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["MAX_LOG_SCALE", "decode", "encode"]

MAX_LOG_SCALE = math.log(1000.0 / 16)
"""The largest logarithm of a size ratio that is decoded, so that a wild prediction does not overflow."""


def _centre_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    size = boxes[..., 2:] - boxes[..., :2]
    return boxes[..., :2] + 0.5 * size, size


def encode(boxes: Tensor, references: Tensor, weights: Sequence[float]) -> Tensor:
    """The offsets (dx, dy, dw, dh) that lead from `references` to `boxes`: (..., 4) and (..., 4) to (..., 4).

    dx = wx (x - x_ref) / w_ref and dw = ww log(w / w_ref), x being centres; `weights` are (wx, wy, ww, wh). Sides must
    be longer than 0.
    """
    wx, wy, ww, wh = weights
    to, to_size = _centre_and_size(boxes)
    start, start_size = _centre_and_size(references)
    moved = (to - start) / start_size * to.new_tensor((wx, wy))
    scaled = torch.log(to_size / start_size) * to.new_tensor((ww, wh))
    return torch.cat((moved, scaled), dim=-1)


def decode(offsets: Tensor, references: Tensor, weights: Sequence[float]) -> Tensor:
    """The boxes that `offsets` lead to, seen from `references`: float (..., 4) and (..., 4) to float32 (..., 4).

    The inverse of `encode`, bar offsets of size beyond `MAX_LOG_SCALE`, which count as that. Shapes broadcast.
    """
    wx, wy, ww, wh = weights
    offsets = offsets.float()
    start, start_size = _centre_and_size(references.float())
    centre = offsets[..., :2] / offsets.new_tensor((wx, wy)) * start_size + start
    log_scale = (offsets[..., 2:] / offsets.new_tensor((ww, wh))).clamp(max=MAX_LOG_SCALE)
    half = 0.5 * torch.exp(log_scale) * start_size
    return torch.cat((centre - half, centre + half), dim=-1)
