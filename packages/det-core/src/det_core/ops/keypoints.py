"""Keypoint coding: keypoints as cells of a heatmap over their box, and heatmaps as points ("Mask R-CNN", 2017)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from det_core.ops.precision import precise

__all__ = ["decode_heatmaps", "encode_keypoints", "keypoints_within"]


def encode_keypoints(keypoints: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The cell of each keypoint in a `side` by `side` grid over its box.

    Points on the right or lower edge of the box belong to the last cell.

    Args:
        keypoints: keypoints (N, K, 3): x, y, visibility.
        boxes: boxes of the heatmaps, xyxy in pixels, (N, 4).
        side: number of cells along each axis.

    Returns:
        int64 (N, K): row * side + column, 0 for none; and bool (N, K): whether there is a cell, for labelled points
        inside of the box.
    """
    start, end = boxes[:, None, :2], boxes[:, None, 2:]
    points = keypoints[..., :2]
    cell = ((points - start) * (side / (end - start))).floor().to(torch.int64)
    cell = torch.where(points == end, side - 1, cell)
    valid = ((cell >= 0) & (cell < side)).all(dim=-1) & (keypoints[..., 2] > 0)
    return (cell[..., 1] * side + cell[..., 0]) * valid, valid


def keypoints_within(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Whether each keypoint (N, K, 3) is labelled and inside of its box (N, 4), including its edge: bool (N, K)."""
    points = keypoints[..., :2]
    inside = (points >= boxes[:, None, :2]) & (points <= boxes[:, None, 2:])
    return inside.all(dim=-1) & (keypoints[..., 2] >= 1)


@torch.compiler.disable  # every box has another size, and each would be recompiled
@torch.no_grad()
def decode_heatmaps(logits: Tensor, boxes: Tensor) -> Tensor:
    """The most probable position of each keypoint.

    Each heatmap is upsampled to its box's size in whole pixels, by bicubic interpolation, and its maximum taken.

    Args:
        logits: logits (N, K, S, S) of a softmax over the cells of each heatmap.
        boxes: boxes of the heatmaps, xyxy in pixels, (N, 4).

    Returns:
        float32 (N, K, 4): x and y of that pixel's centre, its logit, and its share of the softmax over the heatmap's
        cells, the score (a bicubic peak between cells may have a share above 1).
    """
    (logits,) = precise(logits)
    points = logits.new_zeros((*logits.shape[:2], 4))
    sides = (boxes[:, 2:] - boxes[:, :2]).float().clamp(min=1)
    # A box of 3.4 pixels is sampled at 4: those are a little smaller than pixels.
    for out, heatmaps, (width, height), (x0, y0) in zip(
        points, logits, sides.tolist(), boxes[:, :2].tolist(), strict=True
    ):
        size = (int(-(-height // 1)), int(-(-width // 1)))
        enlarged = F.interpolate(heatmaps[None], size=size, mode="bicubic", align_corners=False)[0].flatten(1)
        best, place = enlarged.max(dim=1)
        total = (heatmaps.flatten(1) - best[:, None]).exp().sum(dim=1)
        out[:, 0] = (place % size[1] + 0.5) * (width / size[1]) + x0
        out[:, 1] = (place // size[1] + 0.5) * (height / size[0]) + y0
        out[:, 2], out[:, 3] = best, 1 / total
    return points
