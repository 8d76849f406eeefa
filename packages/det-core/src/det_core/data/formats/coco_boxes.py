"""The boxes of a COCO file: x, y, width, height of upright ones, cx, cy, width, height, angle of rotated ones."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_core.data.formats.faults import Fault
from det_core.printable import quoted

__all__ = ["are_numbers", "box_fault", "convert_boxes", "extent"]


def are_numbers(values: Any) -> bool:
    """Whether `values` is a list of finite numbers that float32 can hold."""
    return isinstance(values, list) and all(
        isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30 for value in values
    )


def box_fault(box: Any, height: int, width: int, rotated: bool) -> Fault | None:
    """The fault of a `bbox` in an image of `height` and `width`; None if it is valid."""
    counts = (4, 5) if rotated else (4,)
    if not isinstance(box, list) or len(box) not in counts or not are_numbers(box):
        if are_numbers(box) and len(box) == 5:
            return Fault("bad box", f"has the bbox {quoted(box, 80)} of a rotated box: set rotated to true")
        count = "four or five" if rotated else "four"
        return Fault("bad box", f"has the bbox {quoted(box, 80)}, which is not {count} finite numbers")
    w, h = box[2:4]
    if w <= 0 or h <= 0:
        return Fault("negative box" if min(w, h) < 0 else "empty box", f"has a box of width {w:g} and height {h:g}")
    left, top, right, bottom = np.array(extent(box), np.float32)
    if not (left < right and top < bottom):
        return Fault("empty box", f"has a box of width {w:g} and height {h:g}, empty after rounding to float32")
    if left >= width or top >= height or right <= 0 or bottom <= 0:
        return Fault("box outside", f"has the bbox {box}, all outside its image of {width} x {height} pixels")
    return None


def convert_boxes(boxes: Sequence[Sequence[float]], rotated: bool) -> NDArray[np.float32]:
    """(A, 4) corners; or, `rotated`, (A, 5) with the angle 0 for a box of four numbers."""
    if not rotated:
        upright = np.array(boxes, np.float64).reshape(-1, 4)
        upright[:, 2:] += upright[:, :2]
        return upright.astype(np.float32)
    turned = [box if len(box) == 5 else (box[0] + box[2] / 2, box[1] + box[3] / 2, *box[2:], 0) for box in boxes]
    return np.array(turned, np.float32).reshape(-1, 5)


def extent(box: Sequence[float]) -> tuple[float, float, float, float]:
    """The upright box around it, as corners."""
    if len(box) == 4:
        x, y, w, h = box
        return x, y, x + w, y + h
    x, y, w, h, angle = box
    cos, sin = abs(math.cos(math.radians(angle))), abs(math.sin(math.radians(angle)))
    across, down = (w * cos + h * sin) / 2, (w * sin + h * cos) / 2
    return x - across, y - down, x + across, y + down
