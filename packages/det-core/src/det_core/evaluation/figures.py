"""The figures that COCO draws from precision and recall, by the names that COCO gives them.

No torch is needed here.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from det_core.evaluation.curves import Curves, IouType

__all__ = ["LIMITS", "Named", "averages", "best_threshold", "mean", "per_class", "recalls", "summary"]

LIMITS: dict[IouType, tuple[int, ...]] = {"bbox": (1, 10, 100), "segm": (1, 10, 100), "keypoints": (20,)}
"""How many detections of an image and class count, as COCO has it."""

Named: TypeAlias = Iterator[tuple[str, float | None, str]]
"""Each figure's name, its value, and why it has none."""

_NOTHING = "the truth holds no object"
_SIZES = {
    "s": "the truth holds no object of less than 32 x 32 pixels",
    "m": "the truth holds no object between 32 x 32 and 96 x 96 pixels",
    "l": "the truth holds no object of more than 96 x 96 pixels",
}


def averages(made: Curves, iou_type: IouType) -> Named:
    """AP, AP50, AP75 and those by size, at the greatest number of detections; of keypoints there are no small ones."""
    precision = made.precision[..., -1]
    yield "AP", mean(precision[..., 0]), _NOTHING
    yield "AP50", mean(precision[0, ..., 0]), _NOTHING
    yield "AP75", mean(precision[5, ..., 0]), _NOTHING
    for place, size in _sizes(iou_type):
        yield f"AP{size}", mean(precision[..., place]), _SIZES[size]


def recalls(made: Curves, limits: Sequence[int]) -> Named:
    """AR100 and so on: AR by the number of detections of an image and class."""
    for place, limit in enumerate(limits):
        yield f"AR{limit}", mean(made.recall[..., 0, place]), _NOTHING


def summary(made: Curves, iou_type: IouType) -> Named:
    """All that COCO reports at its `LIMITS`: AP, AR1, AR10, AR100 (of keypoints AR, AR50, AR75), and by size."""
    yield from averages(made, iou_type)
    if iou_type == "keypoints":
        for name, values in {"AR": made.recall, "AR50": made.recall[0], "AR75": made.recall[5]}.items():
            yield name, mean(values[..., 0, -1]), _NOTHING
    else:
        yield from recalls(made, LIMITS[iou_type])
    for place, size in _sizes(iou_type):
        yield f"AR{size}", mean(made.recall[..., place, -1]), _SIZES[size]


def per_class(made: Curves, classes: Sequence[str]) -> Named:
    """AP/NAME for each class."""
    for label, name in enumerate(classes):
        missing = f"the truth holds no object of class {name!r}"
        yield f"AP/{name}", mean(made.precision[:, :, label, 0, -1]), missing


def best_threshold(curves: Curves) -> float | None:
    """The score in 0.01, 0.02 ... 0.99 above which the mean over classes of F1 at IoU 0.5 is best; None if all are 0.

    Where several are equally good, the middle of the first such range. F1 of a class is 2 P R / (P + R).
    """
    precision, scores = (
        each[0, ..., 0, -1][:, curves.precision[0, 0, :, 0, -1] > -1] for each in (curves[0], curves[2])
    )
    recall = np.linspace(0, 1, len(precision))[:, None]
    f1 = 2 * precision * recall / np.maximum(precision + recall, 1e-9)
    steps = np.arange(1, 100) / 100
    # The scores of a class fall with recall, and are 0 at recalls that it does not reach.
    reached = np.stack([(scores >= step).sum(axis=0) for step in steps])
    means = np.where(reached > 0, f1[reached - 1, np.arange(f1.shape[1])], 0).sum(axis=1)
    if means.max() <= 0:
        return None
    best = np.flatnonzero(means > means.max() - 1e-9)
    first = np.split(best, np.flatnonzero(np.diff(best) > 1) + 1)[0]
    return float(steps[first[len(first) // 2]])


def _sizes(iou_type: IouType) -> Iterator[tuple[int, str]]:
    """The places along the axis of sizes, the first of which is all."""
    return enumerate("ml" if iou_type == "keypoints" else "sml", 1)


def mean(values: NDArray[np.float64]) -> float | None:
    """The mean of the values that are defined; None if none is."""
    known = values[values > -1]
    return float(known.mean()) if known.size else None
