"""Box regression coding: boxes as offsets from anchors or proposals (Girshick et al., "Rich features", 2014)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from det_core.ops.precision import precise

__all__ = ["MAX_LOG_SCALE", "decode", "decode_distances", "encode", "encode_distances"]

MAX_LOG_SCALE = math.log(1000.0 / 16)
"""Maximum log size ratio in decoding, so that extreme predictions do not overflow."""


def _center_and_size(boxes: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    x0, y0, x1, y1 = boxes.unbind(dim=-1)
    width, height = x1 - x0, y1 - y0
    return x0 + 0.5 * width, y0 + 0.5 * height, width, height


def encode(boxes: Tensor, references: Tensor, weights: Sequence[float]) -> Tensor:
    """The offsets (dx, dy, dw, dh) from `references` to `boxes`: (..., 4) and (..., 4) to (..., 4).

    dx = wx (x - x_ref) / w_ref and dw = ww log(w / w_ref), x being centres; `weights` are (wx, wy, ww, wh). Sides must
    be longer than 0.
    """
    wx, wy, ww, wh = weights
    x, y, width, height = _center_and_size(boxes)
    from_x, from_y, from_width, from_height = _center_and_size(references)
    dx, dy = wx * (x - from_x) / from_width, wy * (y - from_y) / from_height
    dw, dh = ww * torch.log(width / from_width), wh * torch.log(height / from_height)
    return torch.stack((dx, dy, dw, dh), dim=-1)


def decode(offsets: Tensor, references: Tensor, weights: Sequence[float]) -> Tensor:
    """The boxes at `offsets` from `references`: float (..., 4) and (..., 4) to (..., 4), as `precise`.

    The inverse of `encode`, except that log size ratios are clamped to `MAX_LOG_SCALE`. Shapes broadcast.
    """
    wx, wy, ww, wh = weights
    offsets, references = precise(offsets, references)
    dx, dy, dw, dh = offsets.unbind(dim=-1)
    from_x, from_y, from_width, from_height = _center_and_size(references)
    x, y = dx / wx * from_width + from_x, dy / wy * from_height + from_y
    half_width = 0.5 * torch.exp((dw / ww).clamp(max=MAX_LOG_SCALE)) * from_width
    half_height = 0.5 * torch.exp((dh / wh).clamp(max=MAX_LOG_SCALE)) * from_height
    return torch.stack((x - half_width, y - half_height, x + half_width, y + half_height), dim=-1)


def encode_distances(boxes: Tensor, points: Tensor) -> Tensor:
    """Distances of a point to the left, top, right and bottom side: (..., 4) and (..., 2) to (..., 4)."""
    return torch.cat((points - boxes[..., :2], boxes[..., 2:] - points), dim=-1)


def decode_distances(distances: Tensor, points: Tensor) -> Tensor:
    """The boxes with sides at `distances` (..., 4) from `points` (..., 2): (..., 4)."""
    return torch.cat((points - distances[..., :2], points + distances[..., 2:]), dim=-1)
