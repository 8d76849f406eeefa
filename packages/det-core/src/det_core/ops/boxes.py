"""Axis-aligned boxes: (x0, y0, x1, y1) in continuous pixels, so that a box from 0 to 1 covers just the first pixel."""

import torch
from torch import Tensor

from det_core.structures import Size

__all__ = ["area", "clip", "finite", "iou", "larger_than", "within"]


def area(boxes: Tensor) -> Tensor:
    """Square pixels of each box: (..., 4) to (...)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair: (N, 4) and (M, 4) to (N, M), 0 where two boxes do not meet."""
    width, height = (
        (torch.minimum(a[:, None, i + 2], b[:, i + 2]) - torch.maximum(a[:, None, i], b[:, i])).clamp_(min=0)
        for i in (0, 1)
    )
    shared = width * height
    union = area(a)[:, None] + area(b) - shared
    return torch.where(shared > 0, shared / union, 0.0)


def clip(boxes: Tensor, size: Size) -> Tensor:
    """Clip boxes to an image of `size`: (..., 4) to (..., 4)."""
    height, width = size
    x = boxes[..., 0::2].clamp(0, width)
    y = boxes[..., 1::2].clamp(0, height)
    return torch.stack((x[..., 0], y[..., 0], x[..., 1], y[..., 1]), dim=-1)


def larger_than(boxes: Tensor, side: float) -> Tensor:
    """Whether both sides of each box are longer than `side` pixels: (..., 4) to bool (...)."""
    return (boxes[..., 2] - boxes[..., 0] > side) & (boxes[..., 3] - boxes[..., 1] > side)


def within(boxes: Tensor, size: Size, margin: float) -> Tensor:
    """Whether each box extends at most `margin` pixels beyond an image of `size`: (..., 4) to bool (...)."""
    height, width = size
    starts = (boxes[..., :2] >= -margin).all(dim=-1)
    return starts & (boxes[..., 2] < width + margin) & (boxes[..., 3] < height + margin)


def finite(boxes: Tensor, scores: Tensor) -> Tensor:
    """Whether each row has neither NaN nor infinity: (N, ...) and (N, ...) to bool (N,)."""
    return boxes.flatten(1).isfinite().all(dim=1) & scores.unsqueeze(-1).flatten(1).isfinite().all(dim=1)
