"""Keypoints as cells of a heatmap over their box, and heatmaps read as points (He et al., "Mask R-CNN", 2017)."""

import torch
from torch import Tensor
from torch.nn import functional as F

from det_core.ops.precision import precise

__all__ = ["decode_heatmaps", "encode_keypoints", "keypoints_within"]


def encode_keypoints(keypoints: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """The cell of a `side` by `side` grid over its box that each keypoint lies in.

    A point on the right or lower edge of the box belongs to the last cell.

    Args:
        keypoints: (N, K, 3): x, y, visibility.
        boxes: (N, 4).
        side: of the grid.

    Returns:
        int64 (N, K): row * side + column, 0 where there is none; and bool (N, K): whether there is one, which is where
        the point is labelled and lies in the box.
    """
    start, end = boxes[:, None, :2], boxes[:, None, 2:]
    points = keypoints[..., :2]
    cell = ((points - start) * (side / (end - start))).floor().to(torch.int64)
    cell = torch.where(points == end, side - 1, cell)
    valid = ((cell >= 0) & (cell < side)).all(dim=-1) & (keypoints[..., 2] > 0)
    return (cell[..., 1] * side + cell[..., 0]) * valid, valid


def keypoints_within(keypoints: Tensor, boxes: Tensor) -> Tensor:
    """Which keypoints (N, K, 3) are labelled and lie in their box (N, 4), its edge included: bool (N, K)."""
    points = keypoints[..., :2]
    inside = (points >= boxes[:, None, :2]) & (points <= boxes[:, None, 2:])
    return inside.all(dim=-1) & (keypoints[..., 2] >= 1)


@torch.compiler.disable  # every box has a size of its own, and each would be translated anew
@torch.no_grad()
def decode_heatmaps(logits: Tensor, boxes: Tensor) -> Tensor:
    """The most probable place of each keypoint.

    Each heatmap is enlarged to its box's size in whole pixels, by bicubic interpolation, and its highest pixel taken.

    Args:
        logits: (N, K, S, S), of a softmax over the cells of each heatmap.
        boxes: (N, 4).

    Returns:
        float32 (N, K, 4): x and y of that pixel's centre, its logit, and its share of the softmax over the heatmap's
        cells, which serves as score (a bicubic peak between cells may share more than 1).
    """
    (logits,) = precise(logits)
    found = logits.new_zeros((*logits.shape[:2], 4))
    sides = (boxes[:, 2:] - boxes[:, :2]).float().clamp(min=1)
    # A box of 3.4 pixels is looked at in 4: those are a little smaller than pixels.
    for own, heatmaps, (width, height), (x0, y0) in zip(
        found, logits, sides.tolist(), boxes[:, :2].tolist(), strict=True
    ):
        size = (int(-(-height // 1)), int(-(-width // 1)))
        enlarged = F.interpolate(heatmaps[None], size=size, mode="bicubic", align_corners=False)[0].flatten(1)
        best, place = enlarged.max(dim=1)
        total = (heatmaps.flatten(1) - best[:, None]).exp().sum(dim=1)
        own[:, 0] = (place % size[1] + 0.5) * (width / size[1]) + x0
        own[:, 1] = (place // size[1] + 0.5) * (height / size[0]) + y0
        own[:, 2], own[:, 3] = best, 1 / total
    return found
