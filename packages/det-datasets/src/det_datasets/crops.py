"""A random crop that contains an object."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import torch
from det_core.data import RandomCrop, compose
from det_core.ops import rotated
from det_core.structures import Sample
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

__all__ = ["ObjectCrop"]


class ObjectCrop:
    """Crops a random window that contains a random object of the image: its whole box, if the window is large enough.

    A smaller window lies within the box. Crowds do not count as objects; an image without objects is cropped anywhere.
    (torchvision's `RandomIoUCrop` asks for a minimum IoU with some box instead.)

    Args:
        size: two pixel counts or fractions, as `form` defines.
        form: "absolute", "absolute_range", "relative" or "relative_range", as in `RandomCrop`.
    """

    def __init__(
        self,
        size: Sequence[float],
        form: Literal["absolute", "absolute_range", "relative", "relative_range"] = "absolute",
    ) -> None:
        self._sizes = RandomCrop(size, form)

    def __call__(self, sample: Sample) -> Sample:
        """The sample within the window."""
        height, width = self._sizes.draw_size(sample.size)
        left, top = 0.0, 0.0
        right, bottom = float(sample.size[1]), float(sample.size[0])
        objects = _object_boxes(sample)
        if len(objects):
            left, top, right, bottom = objects[_random_int(0, len(objects) - 1)].tolist()
        window = (_start(top, bottom, height, sample.size[0]), _start(left, right, width, sample.size[1]))
        return compose([_Window((*window, height, width))])(sample)


class _Window(v2.Transform):
    """Cuts out one window: top, left, height, width."""

    def __init__(self, window: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.window = window

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        return functional.crop(inpt, *self.window)


def _object_boxes(sample: Sample) -> Tensor:
    """The upright boxes (N, 4) around the single objects of a sample."""
    boxes = torch.zeros(0, 4) if sample.targets is None else sample.targets.without_crowd().boxes
    if boxes.shape[1] == 5:
        points = rotated.corners(boxes)
        boxes = torch.cat((points.amin(1), points.amax(1)), 1)
    return boxes


def _start(first: float, last: float, length: int, side: int) -> int:
    """Where a stretch of whole pixels begins that holds [first, last], or lies within it, in an image's side."""
    low, high = sorted((last - length, first))
    low, high = max(0, math.ceil(low)), min(side - length, math.floor(high))
    # Between two pixels there may be no place at all for a box as long as the window.
    return _random_int(low, high) if low <= high else min(max(0, round(first)), side - length)


def _random_int(smallest: int, largest: int) -> int:
    """A random integer from `smallest` to `largest`, both included."""
    return int(torch.randint(smallest, largest + 1, ()))
