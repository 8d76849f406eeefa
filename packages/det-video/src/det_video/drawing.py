"""Tracked objects drawn on frames, in the color of their number, with the trails that they leave; and blurred boxes."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import overload

import torch
from det_core.structures import Detections
from det_core.visual import class_color, draw
from det_core.visual.draw import to_pil
from det_core.zoo.class_names import short_name
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from det_video.stream import FrameResult
from det_video.tracking.tracker import TRACK_ID, upright

__all__ = ["TrackDrawing", "blurred"]

_VISIBLE = 0.05  # keypoints of a lower score are left out, as `det_core.visual.draw` does
_BLOCKS = 6
"""Blocks along the longer side of a blurred box: a face of so few cannot be recognized."""


class _TrackNames(Sequence[str]):
    """The text of each tracked object by its number, "dog #12", for `draw`, whose labels are the numbers here."""

    def __init__(self, detections: Detections, classes: Sequence[str]) -> None:
        ids = detections.extras[TRACK_ID].tolist()
        names = (short_name(classes[label]) for label in detections.labels.tolist())
        self._texts = {number: f"{name} #{number}" for number, name in zip(ids, names, strict=True)}

    def __len__(self) -> int:
        return max(self._texts, default=-1) + 1

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> list[str]: ...

    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [self._texts.get(each, "") for each in range(*index.indices(len(self)))]
        return self._texts[index]


class TrackDrawing:
    """Draws frames one after the other. Objects that are not tracked have the colors of their classes, and no trails.

    Args:
        trails: seconds that the path of an object, or of each of its keypoints, stays visible; 0 for none.
        labels: write names, numbers and scores.
        line_width: width of lines in pixels; None: by the size of the image.
    """

    def __init__(self, trails: float = 1.0, labels: bool = True, line_width: int | None = None) -> None:
        self._seconds, self._labels, self._line_width = trails, labels, line_width
        self._paths: dict[tuple[int, int], deque[tuple[float, float, float]]] = {}

    def __call__(self, result: FrameResult) -> Image.Image:
        """The frame with its objects."""
        detections = result.prediction.detections
        if detections is None or TRACK_ID not in detections.extras:
            return result.plot(self._labels, self._line_width)
        picture = to_pil(result.image)
        width = self._line_width or max(1, round(min(picture.size) / 240))
        if self._seconds > 0:
            self._extend(detections, result.time)
            self._draw_paths(picture, result.time, width)
        colored = replace(detections, labels=detections.extras[TRACK_ID])
        return draw(picture, colored, _TrackNames(detections, result.classes), self._labels, width)

    def _extend(self, detections: Detections, time: float) -> None:
        """Add the places of this frame, and forget those that are too old."""
        boxes = upright(detections.boxes)
        bottoms = torch.stack([(boxes[:, 0] + boxes[:, 2]) / 2, boxes[:, 3]], 1).tolist()
        points = [[]] * len(detections) if detections.keypoints is None else detections.keypoints.tolist()
        for number, bottom, keypoints in zip(detections.extras[TRACK_ID].tolist(), bottoms, points, strict=True):
            places = [(place, x, y) for place, (x, y, score) in enumerate(keypoints) if score >= _VISIBLE]
            for place, x, y in places if keypoints else [(0, *bottom)]:
                self._paths.setdefault((number, place), deque()).append((time, x, y))
        for key, path in list(self._paths.items()):
            while path and not time - self._seconds <= path[0][0] <= time:
                path.popleft()
            if not path:
                del self._paths[key]

    def _draw_paths(self, picture: Image.Image, time: float, width: int) -> None:
        canvas = ImageDraw.Draw(picture, "RGBA")
        for (number, _), path in self._paths.items():
            points = list(path)
            for (_, *start), (at, *end) in pairwise(points):
                fresh = 1 - (time - at) / self._seconds
                canvas.line((*start, *end), fill=(*class_color(number), round(60 + 180 * fresh)), width=width)


def blurred(image: Tensor, boxes: Tensor) -> Tensor:
    """A copy of an image, uint8 (3, H, W), with boxes (N, 4 or 5) replaced by a few blocks of their mean color.

    Boxes are made a tenth larger; the detail is gone from the returned pixels and cannot be computed from them.
    """
    result = image.clone()
    height, width = image.shape[1:]
    for x0, y0, x1, y1 in upright(boxes).tolist():
        dx, dy = (x1 - x0) / 20, (y1 - y0) / 20
        left, right = max(0, int(x0 - dx)), min(width, int(x1 + dx) + 1)
        top, bottom = max(0, int(y0 - dy)), min(height, int(y1 + dy) + 1)
        if left >= right or top >= bottom:
            continue
        region = result[:, top:bottom, left:right]
        block = max(bottom - top, right - left) / _BLOCKS
        blocks = [max(1, round(side / block)) for side in region.shape[1:]]
        means = F.adaptive_avg_pool2d(region[None].float(), (blocks[0], blocks[1]))
        result[:, top:bottom, left:right] = F.interpolate(means, region.shape[1:])[0].round().to(torch.uint8)
    return result
