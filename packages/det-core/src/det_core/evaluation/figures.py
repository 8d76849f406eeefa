"""COCO's metrics from precision and recall curves, by their COCO names.

Works without torch.
"""

from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from det_core.evaluation.curves import Curves, IouType

__all__ = ["LIMITS", "Named", "averages", "best_threshold", "mean", "per_class", "recalls", "summary"]

LIMITS: dict[IouType, tuple[int, ...]] = {"bbox": (1, 10, 100), "segm": (1, 10, 100), "keypoints": (20,)}
"""COCO's maximum numbers of detections per image and class."""

Named: TypeAlias = Iterator[tuple[str, float | None, str]]
"""Name of each metric, its value, and the reason if it is None."""

_NOTHING = "the ground truth has no object"
_SIZES = {
    "s": "the ground truth has no object of less than 32 x 32 pixels",
    "m": "the ground truth has no object between 32 x 32 and 96 x 96 pixels",
    "l": "the ground truth has no object of more than 96 x 96 pixels",
}


def averages(computed: Curves, iou_type: IouType) -> Named:
    """AP, AP50, AP75 and AP by area, at the largest number of detections; keypoints have no small area."""
    precision = computed.precision[..., -1]
    yield "AP", mean(precision[..., 0]), _NOTHING
    yield "AP50", mean(precision[0, ..., 0]), _NOTHING
    yield "AP75", mean(precision[5, ..., 0]), _NOTHING
    for place, size in _sizes(iou_type):
        yield f"AP{size}", mean(precision[..., place]), _SIZES[size]


def recalls(computed: Curves, limits: Sequence[int]) -> Named:
    """AR100 and so on: AR by the number of detections per image and class."""
    for place, limit in enumerate(limits):
        yield f"AR{limit}", mean(computed.recall[..., 0, place]), _NOTHING


def summary(computed: Curves, iou_type: IouType) -> Named:
    """All COCO metrics at its `LIMITS`: AP, AR1, AR10, AR100 (keypoints: AR, AR50, AR75), and by area."""
    yield from averages(computed, iou_type)
    if iou_type == "keypoints":
        for name, values in {"AR": computed.recall, "AR50": computed.recall[0], "AR75": computed.recall[5]}.items():
            yield name, mean(values[..., 0, -1]), _NOTHING
    else:
        yield from recalls(computed, LIMITS[iou_type])
    for place, size in _sizes(iou_type):
        yield f"AR{size}", mean(computed.recall[..., place, -1]), _SIZES[size]


def per_class(computed: Curves, classes: Sequence[str]) -> Named:
    """AP/NAME for each class."""
    for label, name in enumerate(classes):
        missing = f"the ground truth has no object of class {name!r}"
        yield f"AP/{name}", mean(computed.precision[:, :, label, 0, -1]), missing


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
    """Indices along the area axis, the first of which is all."""
    return enumerate("ml" if iou_type == "keypoints" else "sml", 1)


def mean(values: NDArray[np.float64]) -> float | None:
    """The mean of the defined values; None without any."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None
