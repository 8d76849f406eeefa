"""Lines that tracked objects cross, and zones that they stay in."""

from collections import Counter
from collections.abc import Sequence
from typing import Literal

import torch
from det_core.errors import ConfigError
from torch import Tensor

from det_video.stream import FrameResult
from det_video.tracking.tracker import track_ids, upright

__all__ = ["CountingLine", "Zone", "anchor_points"]

Point = tuple[float, float]
Anchor = Literal["center", "bottom"]


class CountingLine:
    """Counts tracked objects that cross a line segment, by class and direction.

    An object crosses where its anchor moves over the segment from one frame that it is in to the next.

    Args:
        start: x, y of the line's start in pixels.
        end: x, y of the line's end in pixels. On the way from `start` to `end`, forward is from the left to the right.
        anchor: "bottom" for where an object stands, the middle of the lower edge of its box; or "center".

    Attributes:
        forward: number of crossings by class name.
        backward: number of crossings in the other direction by class name.
    """

    def __init__(self, start: Point, end: Point, anchor: Anchor = "bottom") -> None:
        if tuple(start) == tuple(end):
            raise ConfigError("CountingLine", "start and end must differ", f"both are {start}")
        self._start, self._end, self._anchor = start, end, anchor
        self._last: dict[int, Point] = {}
        self.forward: Counter[str] = Counter()
        self.backward: Counter[str] = Counter()

    def update(self, result: FrameResult) -> list[int]:
        """Count the crossings of the next frame; returns the numbers of these objects.

        Raises:
            ConfigError: the objects are not tracked.
        """
        crossed = []
        ids, labels = track_ids(result).tolist(), result.detections.labels.tolist()
        points = anchor_points(result, self._anchor).tolist()
        for number, label, (x, y) in zip(ids, labels, points, strict=True):
            before, self._last[number] = self._last.get(number), (x, y)
            direction = 0 if before is None else self._crossing(before, (x, y))
            if direction:
                crossed.append(number)
                (self.forward if direction > 0 else self.backward)[result.classes[label]] += 1
        return crossed

    def _crossing(self, before: Point, now: Point) -> int:
        """1 for a step over the segment from its left to its right, -1 for the opposite one, 0 for none."""
        first, second = (_side(self._start, self._end, point) >= 0 for point in (before, now))
        if first == second or (_side(before, now, self._start) >= 0) == (_side(before, now, self._end) >= 0):
            return 0
        return 1 if second else -1


class Zone:
    """Lists which tracked objects are in a polygon, and for how long.

    Args:
        corners: x, y in pixels of three or more corners.
        anchor: "bottom" for the middle of the lower edge of an object's box; or "center".

    Attributes:
        inside: numbers of the objects that are inside in this frame.
        dwell: seconds that each object has been inside so far, by its number.
        visitors: number of objects that have been inside, by class name.
    """

    def __init__(self, corners: Sequence[Point], anchor: Anchor = "bottom") -> None:
        if len(corners) < 3:
            raise ConfigError("Zone.corners", "must be three or more", f"got {len(corners)}")
        self._corners, self._anchor = torch.tensor(corners, dtype=torch.float64), anchor
        self._time: float | None = None
        self.inside: set[int] = set()
        self.dwell: dict[int, float] = {}
        self.visitors: Counter[str] = Counter()

    def update(self, result: FrameResult) -> set[int]:
        """Add the next frame; returns `inside`.

        Raises:
            ConfigError: the objects are not tracked.
        """
        seconds = 0.0 if self._time is None else max(0.0, result.time - self._time)
        self._time = result.time
        ids, labels = track_ids(result).tolist(), result.detections.labels.tolist()
        now = _in_polygon(anchor_points(result, self._anchor).double(), self._corners).tolist()
        inside = set()
        for number, label, is_inside in zip(ids, labels, now, strict=True):
            if not is_inside:
                continue
            inside.add(number)
            if number not in self.dwell:
                self.visitors[result.classes[label]] += 1
            # The time since the frame before counts where the object was inside in that one too.
            self.dwell[number] = self.dwell.get(number, 0.0) + (seconds if number in self.inside else 0.0)
        self.inside = inside
        return inside


def anchor_points(result: FrameResult, anchor: Anchor = "bottom") -> Tensor:
    """Where each object is, (N, 2), x and y in pixels: the middle of its box, or of the lower edge of it."""
    if anchor not in ("center", "bottom"):
        raise ConfigError("anchor", 'must be "center" or "bottom"', f"got {anchor!r}")
    boxes = upright(result.detections.boxes)
    y = boxes[:, 3] if anchor == "bottom" else (boxes[:, 1] + boxes[:, 3]) / 2
    return torch.stack([(boxes[:, 0] + boxes[:, 2]) / 2, y], 1)


def _side(start: Point, end: Point, point: Point) -> float:
    """Positive to the right of the way from start to end, as it is displayed; y points down."""
    return (end[0] - start[0]) * (point[1] - start[1]) - (end[1] - start[1]) * (point[0] - start[0])


def _in_polygon(points: Tensor, corners: Tensor) -> Tensor:
    """Whether points (N, 2) lie in a polygon (M, 2), by the number of edges that a ray crosses: bool (N,)."""
    x, y = points[:, :1], points[:, 1:]
    (x0, y0), (x1, y1) = corners.T, corners.roll(-1, 0).T
    spans = (y0 > y) != (y1 > y)
    rise = torch.where(y1 == y0, 1.0, y1 - y0)
    return (spans & (x < x0 + (y - y0) * (x1 - x0) / rise)).sum(1) % 2 == 1
