"""Assignment of objects to windows (Chen et al., "TensorMask", 2019, section 5.1)."""

import torch
from torch import Tensor

__all__ = ["assign"]


def assign(boxes: Tensor, anchors: Tensor, units: Tensor, smallest: float) -> Tensor:
    """Matched ground-truth index of each window, -1 for none or for more than one.

    A window matches an object if it contains its box, is at most twice as long as the box, and their centres are at
    most one unit apart. Window lengths are measured between the centres of the outer parts. Objects smaller than every
    window are treated as large enough for the smallest.

    Args:
        boxes: ground-truth boxes, float32 (N, 4).
        anchors: windows in image coordinates, float32 (A, 4).
        units: length of a part of each window in pixels, float32 (A,).
        smallest: length of the smallest windows in pixels.

    Returns:
        int64 (A,).
    """
    if len(boxes) == 0:
        return torch.full((len(anchors),), -1, dtype=torch.int64, device=anchors.device)
    contains = (anchors[:, :2] <= boxes[:, None, :2]).all(dim=2) & (anchors[:, 2:] >= boxes[:, None, 2:]).all(dim=2)
    longest = 2 * (boxes[:, 2:] - boxes[:, :2]).amax(dim=1)
    longest = torch.where(longest < smallest, smallest, longest)
    lengths = (anchors[:, 2:] - anchors[:, :2]).amax(dim=1) - units
    apart = (boxes[:, :2] + boxes[:, 2:])[:, None] / 2 - (anchors[:, :2] + anchors[:, 2:]) / 2
    near = (apart / units[:, None]).square().sum(dim=2) <= 1
    fits = contains & (lengths <= longest[:, None]) & near
    return torch.where(fits.sum(dim=0) == 1, fits.int().argmax(dim=0), -1)
