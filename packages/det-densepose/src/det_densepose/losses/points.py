"""Predictions at annotated points: which cells of a region's map are around each point, and their interpolation."""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Cells", "cells_at_points"]


class Cells(NamedTuple):
    """The four cells around each of K points, of a map over the box of the point's region.

    Attributes:
        region: index of the map of each point, int64 (K,).
        x_low: int64 (K,): column left of the point.
        x_high: int64 (K,): column right of it; the last column has none, and stands for itself.
        y_low: int64 (K,): row above the point.
        y_high: int64 (K,): row below it.
        x_share: float32 (K,): weight of `x_high`; that of `x_low` is the rest.
        y_share: float32 (K,): weight of `y_high`.
        valid: bool (K,): whether the point lies in the box.
    """

    region: Tensor
    x_low: Tensor
    x_high: Tensor
    y_low: Tensor
    y_high: Tensor
    x_share: Tensor
    y_share: Tensor
    valid: Tensor

    def select(self, index: Tensor) -> "Cells":
        """The cells of some points; `index` is bool (K,) or int64."""
        return Cells(*(value[index] for value in self))

    def read(self, maps: Tensor, channel: Tensor | None = None) -> Tensor:
        """Maps (R, C, Z, Z) at the points: (K, C), or (K,) of the channel int64 (K,) of each."""

        def at(y: Tensor, x: Tensor) -> Tensor:
            return maps[self.region, :, y, x] if channel is None else maps[self.region, channel, y, x]

        x, y = (share if channel is not None else share[:, None] for share in (self.x_share, self.y_share))
        above = at(self.y_low, self.x_low) * (1 - x) + at(self.y_low, self.x_high) * x
        below = at(self.y_high, self.x_low) * (1 - x) + at(self.y_high, self.x_high) * x
        return above * (1 - y) + below * y


def cells_at_points(boxes: Tensor, points: Tensor, side: int) -> Cells:
    """The cells around points, of maps of `side` by `side` cells over boxes.

    A cell's value stands at its left and upper edge, as published, not at its center. A point on the right or lower
    edge of the box is outside.

    Args:
        boxes: boxes of the regions, xyxy in pixels, float32 (R, 4).
        points: float32 (R, P, 2) in the pixels of the image.
        side: height and width of the maps, in cells.

    Returns:
        The cells of all R * P points, those of the first region first.
    """
    size = (boxes[:, 2:] - boxes[:, :2])[:, None]
    offset = points - boxes[:, None, :2]
    valid = ((offset >= 0) & (offset < size)).all(-1)
    place = offset * side / size
    low = place.floor().clamp(0, side - 1)
    high = (low + 1).clamp(max=side - 1)
    share = torch.minimum(place, high) - low
    region = torch.arange(len(boxes), device=boxes.device)[:, None].expand(points.shape[:2])
    columns = [value.flatten(0, 1).unbind(-1) for value in (low.long(), high.long(), share)]
    (x_low, y_low), (x_high, y_high), (x_share, y_share) = columns
    return Cells(region.flatten(), x_low, x_high, y_low, y_high, x_share, y_share, valid.flatten())
