"""Rotated boxes as torchvision's transforms move them, but for three things that are otherwise here.

A box that reaches out of the image stays as it is instead of being pushed inside; a box that is stretched follows its
height, as the published models have it; and a box that is mirrored top to bottom turns to -30 degrees, not to 150.
"""

from typing import Any

import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from det_core.ops import rotated
from det_core.structures import Size

__all__ = ["RotatedBoxes", "on_canvas"]


class RotatedBoxes(tv_tensors.BoundingBoxes):
    """Boxes (N, 5) in the format CXCYWHR, without clamping; `on_canvas` makes them."""


def on_canvas(boxes: Tensor, size: Size) -> RotatedBoxes:
    """Rotated boxes (N, 5) of an image of `size`."""
    return RotatedBoxes(boxes, format="CXCYWHR", canvas_size=size, clamping_mode=None)


@functional.register_kernel(functional.resize, RotatedBoxes)
def _resize(boxes: RotatedBoxes, size: list[int] | None, max_size: int | None = None, **_: Any) -> RotatedBoxes:
    before = boxes.canvas_size
    # An empty canvas is resized for the effect of `size` and `max_size`.
    canvas = tv_tensors.BoundingBoxes(torch.zeros(0, 4), format="XYXY", canvas_size=before)
    after: Size = functional.resize(canvas, size, max_size=max_size).canvas_size
    return on_canvas(rotated.scale(boxes.as_subclass(Tensor), after[1] / before[1], after[0] / before[0]), after)


@functional.register_kernel(functional.vertical_flip, RotatedBoxes)
def _flip(boxes: RotatedBoxes) -> RotatedBoxes:
    x, y, w, h, angle = boxes.as_subclass(Tensor).unbind(-1)
    return on_canvas(torch.stack((x, boxes.canvas_size[0] - y, w, h, -angle), -1), boxes.canvas_size)
