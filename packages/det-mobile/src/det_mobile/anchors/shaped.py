"""Anchors of given widths and heights, such as those found by k-means."""

from collections.abc import Mapping, Sequence

import torch
from det_core.errors import ConfigError
from det_core.models.parts.anchors import AnchorGenerator

__all__ = ["ShapedAnchors"]


class ShapedAnchors(AnchorGenerator):
    """Generates anchors of given widths and heights at every feature pixel, the same on every level.

    Args:
        strides: level -> stride in input pixels per feature pixel; one level in the published models.
        shapes: width and height of each anchor, in pixels.
        offset: position of anchor centers within their feature pixel: 0 for the upper left corner, 0.5 for the center.
    """

    contract = "AnchorGenerator"

    def __init__(
        self, strides: Mapping[str, int], *, shapes: Sequence[Sequence[float]] = ((32.0, 32.0),), offset: float = 0.0
    ) -> None:
        if not shapes or any(len(shape) != 2 or min(shape) <= 0 for shape in shapes):
            raise ConfigError("ShapedAnchors.shapes", "needs a positive width and height of each anchor")
        super().__init__(strides, sizes=[[1.0] * len(shapes)], aspect_ratios=[[1.0]], offset=offset)
        cells = [[-w / 2, -h / 2, w / 2, h / 2] for w, h in shapes]
        for level in range(len(strides)):
            self.register_buffer(f"cell{level}", torch.tensor(cells), persistent=False)
        self.per_pixel = [len(cells)] * len(strides)
