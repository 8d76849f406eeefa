"""Lines of YOLO's text files, parsed by the layout of a task."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from det_core.data.formats.faults import Fault
from det_core.errors import DataError
from det_core.ops.annotations import whole
from det_core.structures import Size

__all__ = ["Layout", "Task"]

Task = Literal["detect", "segment", "pose"]
"""Content of the lines after the class: a box, a polygon, or a box and keypoints."""


@dataclass(frozen=True)
class Layout:
    """Layout of the numbers of a line.

    Attributes:
        task: declared task; None: four numbers are a box, pairs of at least three vertices a polygon.
        keypoints: number of keypoints of a line of task "pose".
        values: numbers per keypoint: 2, x and y, negative if not labelled; or 3, with the visibility.
        names: names of the keypoints; empty for none.
        flipped: index of each keypoint's counterpart in a horizontal flip; empty for none.
    """

    task: Task | None = None
    keypoints: int = 0
    values: int = 3
    names: tuple[str, ...] = ()
    flipped: tuple[int, ...] = ()

    @classmethod
    def of(cls, task: str | None, content: Mapping[str, Any], where: str) -> "Layout":
        """The layout declared by `task`, or by `task` and `kpt_shape` of the file of classes.

        Raises:
            DataError: the task is not supported, or `kpt_shape` is invalid or does not fit it.
        """
        shape = content.get("kpt_shape")
        declared: Any = task or content.get("task")
        if declared not in (None, "detect", "segment", "pose"):
            fix = "give detect, segment or pose" if declared != "obb" else "rotated boxes are read from COCO files"
            raise DataError(where, f"the task {declared!r:.40} cannot be read", fix=fix)
        if shape is None:
            if declared == "pose":
                raise DataError(where, "does not give the number of keypoints", fix="add `kpt_shape: [count, 3]`")
            return cls(declared)
        if declared is not None and declared != "pose":
            return cls(declared)
        valid = isinstance(shape, list | tuple) and len(shape) == 2
        valid = valid and all(re.fullmatch(r"\d{1,4}", str(each)) for each in shape)
        if not valid or int(shape[0]) < 1 or int(shape[1]) not in (2, 3):
            raise DataError(where, "`kpt_shape` must be a count and 2 or 3", f"got {shape!r:.60}")
        count = int(shape[0])
        flipped = content.get("flip_idx") or ()
        if flipped and sorted(map(str, flipped)) != sorted(map(str, range(count))):
            raise DataError(where, "`flip_idx` must name each keypoint once", f"got {flipped!r:.80}")
        names = tuple(f"keypoint_{number}" for number in range(count))
        return cls("pose", count, int(shape[1]), names, tuple(int(each) for each in flipped))

    def record(self, words: Sequence[str], size: Size) -> dict[str, Any]:
        """COCO fields of a line, split at spaces; errors are left to validation."""
        label: int | str = whole(words[0])
        try:
            numbers = np.array([float(word) for word in words[1:]])
        except ValueError:
            return {"category_id": label, "bbox": list(words[1:])}
        fields: dict[str, Any] = {"category_id": label}
        if self.task == "pose":
            return fields | self._pose(numbers, size)
        if len(numbers) == 4:
            return fields | {"bbox": _box(numbers, size)}
        if len(numbers) > 4 and (self.task == "detect" or len(numbers) % 2):
            return fields | {"fault": _surplus(numbers)}
        if len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
            if self.task == "segment":
                return fields | {"fault": Fault("bad entry", f"has {_counted(numbers)}, which are no polygon")}
            return fields | {"bbox": numbers.tolist()}
        return fields | _polygon(numbers, size)

    def _pose(self, numbers: Any, size: Size) -> dict[str, Any]:
        expected = 4 + self.keypoints * self.values
        if len(numbers) != expected or not np.isfinite(numbers).all():
            text = f"has {_counted(numbers)}, where kpt_shape [{self.keypoints}, {self.values}] needs {expected}"
            return {"fault": Fault("broken keypoints", text)}
        points = numbers[4:].reshape(self.keypoints, self.values)
        # COCO keypoints are pixel indices, and pixel centres are half a pixel further.
        places = np.round(points[:, :2] * size[::-1] - 0.5, 9)
        visibility = points[:, 2] if self.values == 3 else np.where((points < 0).any(1), 0, 2)
        flat = np.where((visibility > 0)[:, None], np.column_stack((places, visibility)), 0).ravel().tolist()
        return {"bbox": _box(numbers[:4], size), "keypoints": flat, "num_keypoints": int((visibility > 0).sum())}


def _surplus(numbers: Any) -> Fault:
    text = f"has the bbox {numbers.tolist()!r:.80} of {len(numbers)} numbers, where a box has four and a polygon pairs"
    if len(numbers) == 5:
        text += ": is the last one a confidence? take it out"
    return Fault("bad box", text)


def _counted(numbers: Any) -> str:
    return f"{len(numbers)} numbers after its class" + ("" if np.isfinite(numbers).all() else ", not all finite")


def _box(numbers: Any, size: Size) -> list[float]:
    cx, cy, w, h = numbers
    height, width = size
    # Nine decimals are far beyond the precision of annotations, and remove rounding errors of the division.
    box: list[float] = np.round([(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height], 9).tolist()
    return box


def _polygon(numbers: Any, size: Size) -> dict[str, Any]:
    ring = np.round(numbers.reshape(-1, 2) * size[::-1], 9)
    (x0, y0), (x1, y1) = ring.min(0), ring.max(0)
    x, y = ring.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": [ring.ravel().tolist()], "area": area}
