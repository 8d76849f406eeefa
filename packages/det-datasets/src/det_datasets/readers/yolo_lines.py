"""Lines of YOLO's text files, read as a declared task lays them out."""

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
"""What the lines of a dataset hold beside the class: a box, an outline, or a box and keypoints."""


@dataclass(frozen=True)
class Layout:
    """What the numbers of a line mean.

    Attributes:
        task: as declared; None: four numbers are a box, pairs of at least three corners an outline.
        keypoints: how many keypoints a line of task "pose" has.
        values: numbers of each: 2, x and y, negative where it is not labelled; or 3, with the visibility.
        names: of the keypoints.
        flipped: for each keypoint, which one takes its place in a mirror; empty: none does.
    """

    task: Task | None = None
    keypoints: int = 0
    values: int = 3
    names: tuple[str, ...] = ()
    flipped: tuple[int, ...] = ()

    @classmethod
    def of(cls, task: str | None, content: Mapping[str, Any], where: str) -> "Layout":
        """The layout that `task`, or else the file of classes by `task` and `kpt_shape`, declares.

        Raises:
            DataError: that is no task that can be read, or `kpt_shape` does not fit it or is none.
        """
        shape = content.get("kpt_shape")
        chosen: Any = task or content.get("task")
        if chosen not in (None, "detect", "segment", "pose"):
            fix = "give detect, segment or pose" if chosen != "obb" else "rotated boxes are read from COCO files"
            raise DataError(where, f"the task {chosen!r:.40} cannot be read", fix=fix)
        if shape is None:
            if chosen == "pose":
                raise DataError(where, "does not say how many keypoints there are", fix="add `kpt_shape: [count, 3]`")
            return cls(chosen)
        if chosen is not None and chosen != "pose":
            return cls(chosen)
        sound = isinstance(shape, list | tuple) and len(shape) == 2
        sound = sound and all(re.fullmatch(r"\d{1,4}", str(each)) for each in shape)
        if not sound or int(shape[0]) < 1 or int(shape[1]) not in (2, 3):
            raise DataError(where, "`kpt_shape` must be a count and 2 or 3", f"got {shape!r:.60}")
        count = int(shape[0])
        flipped = content.get("flip_idx") or ()
        if flipped and sorted(map(str, flipped)) != sorted(map(str, range(count))):
            raise DataError(where, "`flip_idx` must name each keypoint once", f"got {flipped!r:.80}")
        names = tuple(f"keypoint_{number}" for number in range(count))
        return cls("pose", count, int(shape[1]), names, tuple(int(each) for each in flipped))

    def record(self, words: Sequence[str], size: Size) -> dict[str, Any]:
        """A line, cut into words, in COCO's words; what is wrong with it is left for the check to tell."""
        label: int | str = whole(words[0])
        try:
            numbers = np.array([float(word) for word in words[1:]])
        except ValueError:
            return {"category_id": label, "bbox": list(words[1:])}
        own: dict[str, Any] = {"category_id": label}
        if self.task == "pose":
            return own | self._pose(numbers, size)
        if len(numbers) == 4:
            return own | {"bbox": _box(numbers, size)}
        if len(numbers) > 4 and (self.task == "detect" or len(numbers) % 2):
            return own | {"fault": _surplus(numbers)}
        if len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
            if self.task == "segment":
                return own | {"fault": Fault("bad entry", f"has {_counted(numbers)}, which are no outline")}
            return own | {"bbox": numbers.tolist()}
        return own | _outline(numbers, size)

    def _pose(self, numbers: Any, size: Size) -> dict[str, Any]:
        wanted = 4 + self.keypoints * self.values
        if len(numbers) != wanted or not np.isfinite(numbers).all():
            text = f"has {_counted(numbers)}, where kpt_shape [{self.keypoints}, {self.values}] needs {wanted}"
            return {"fault": Fault("broken keypoints", text)}
        points = numbers[4:].reshape(self.keypoints, self.values)
        # The entries of a COCO file are indices of pixels, whose middle lies half a pixel on.
        places = np.round(points[:, :2] * size[::-1] - 0.5, 9)
        seen = points[:, 2] if self.values == 3 else np.where((points < 0).any(1), 0, 2)
        flat = np.where((seen > 0)[:, None], np.column_stack((places, seen)), 0).ravel().tolist()
        return {"bbox": _box(numbers[:4], size), "keypoints": flat, "num_keypoints": int((seen > 0).sum())}


def _surplus(numbers: Any) -> Fault:
    text = f"has the bbox {numbers.tolist()!r:.80} of {len(numbers)} numbers, where a box has four and an outline pairs"
    if len(numbers) == 5:
        text += ": is the last one a confidence? take it out"
    return Fault("bad box", text)


def _counted(numbers: Any) -> str:
    return f"{len(numbers)} numbers after its class" + ("" if np.isfinite(numbers).all() else ", not all finite")


def _box(numbers: Any, size: Size) -> list[float]:
    cx, cy, w, h = numbers
    height, width = size
    # Nine places behind the point are far below what anybody marks, and take away what dividing has added.
    box: list[float] = np.round([(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height], 9).tolist()
    return box


def _outline(numbers: Any, size: Size) -> dict[str, Any]:
    ring = np.round(numbers.reshape(-1, 2) * size[::-1], 9)
    (x0, y0), (x1, y1) = ring.min(0), ring.max(0)
    x, y = ring.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    return {"bbox": [x0, y0, x1 - x0, y1 - y0], "segmentation": [ring.ravel().tolist()], "area": area}
