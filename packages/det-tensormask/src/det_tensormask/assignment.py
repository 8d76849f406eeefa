"""Which object each window is for (Chen et al., "TensorMask", 2019, section 5.1)."""

import torch
from torch import Tensor

__all__ = ["assign"]


def assign(boxes: Tensor, anchors: Tensor, units: Tensor, smallest: float) -> Tensor:
    """The object that each window should show, -1 where there is none or more than one.

    A window is for an object if it contains its box, if it is at most twice as long as the box, and if their middles
    lie at most one unit apart. Lengths of windows are counted between the middles of their outer parts, and an object
    too small for any window counts as large enough for the smallest.

    Args:
        boxes: of the objects, float32 (N, 4).
        anchors: the windows in the image, float32 (A, 4).
        units: float32 (A,): the length of a part of each window, in pixels.
        smallest: length of the smallest windows, in pixels.

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
