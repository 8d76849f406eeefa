"""Precision and recall by COCO's rules, computed by hotcoco, or by pycocotools where hotcoco is not there or differs.

No torch is needed here.
"""

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from det_core.errors import DetWarning

__all__ = ["COCO_SIGMAS", "Backend", "Curves", "IouType", "Table", "curves", "read_table"]

IouType = Literal["bbox", "segm", "keypoints"]
Backend = Literal["hotcoco", "pycocotools"]
Table: TypeAlias = Mapping[str, Any]
"""What a COCO file holds: "images", "categories" and "annotations"; those of results have a "score"."""

COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""How far apart people place each of COCO's 17 keypoints, as a share of the root of the object's area."""


class Curves(NamedTuple):
    """The arrays that every figure is a mean of; -1 where there is nothing to find.

    Axes: overlaps T (0.5 to 0.95), recalls R (0 to 1), classes K by their ids, sizes A (all, small, medium, large; of
    keypoints no small) and limits M on the number of detections of an image and class.
    """

    precision: NDArray[np.float64]  # (T, R, K, A, M)
    recall: NDArray[np.float64]  # (T, K, A, M)
    scores: NDArray[np.float64]  # (T, R, K, A, M): the least score that is needed


def curves(
    truth: Table,
    found: Table,
    iou_type: IouType,
    limits: Sequence[int],
    sigmas: Sequence[float] = COCO_SIGMAS,
    backend: Backend | None = None,
    overlaps: Callable[[COCOeval, Any, Any], Any] | None = None,
) -> Curves:
    """What COCO's rules make of two tables whose ids are whole numbers.

    Args:
        truth: objects, with "area" and "iscrowd".
        found: detections, with "id", "area" and "score"; its images and categories are those of `truth`.
        iou_type: what overlaps are of.
        limits: how many detections of an image and class count, the best first; growing.
        sigmas: of each keypoint.
        backend: None takes hotcoco if it is installed and says the same as pycocotools, which is tried once.
        overlaps: stands in for pycocotools' `computeIoU`, which only pycocotools takes.
    """
    if overlaps is None and (backend or _fastest(iou_type)) == "hotcoco":
        try:
            return _by_hotcoco(truth, found, iou_type, limits, sigmas)
        except Exception as error:
            if backend is not None:
                raise
            _warn(f"hotcoco failed ({type(error).__name__}: {error})")
    return _by_pycocotools(truth, found, iou_type, limits, sigmas, overlaps)


def read_table(table: Table) -> COCO:
    """The table as pycocotools holds it."""
    coco = COCO()
    coco.dataset = table
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _by_pycocotools(
    truth: Table,
    found: Table,
    iou_type: IouType,
    limits: Sequence[int],
    sigmas: Sequence[float],
    overlaps: Callable[[COCOeval, Any, Any], Any] | None = None,
) -> Curves:
    # pycocotools tells about its progress; a failure of it still comes out as an exception.
    with redirect_stdout(io.StringIO()):
        judge = COCOeval(read_table(truth), read_table(found), iou_type)
        judge.params.maxDets = list(limits)
        judge.params.kpt_oks_sigmas = np.array(sigmas)
        if overlaps is not None:
            judge.computeIoU = lambda image_id, category_id: overlaps(judge, image_id, category_id)
        judge.evaluate()
        judge.accumulate()
    return Curves(judge.eval["precision"], judge.eval["recall"], judge.eval["scores"])


def _by_hotcoco(
    truth: Table, found: Table, iou_type: IouType, limits: Sequence[int], sigmas: Sequence[float]
) -> Curves:
    import hotcoco

    judge = hotcoco.COCOeval(hotcoco.COCO(dict(truth)), hotcoco.COCO(dict(found)), iou_type)
    judge.params.max_dets = list(limits)
    if iou_type == "keypoints":
        judge.params.kpt_oks_sigmas = list(sigmas)
    judge.evaluate()
    judge.accumulate()
    made: Any = judge.eval
    return Curves(np.asarray(made["precision"]), np.asarray(made["recall"]), np.asarray(made["scores"]))


@cache
def _fastest(iou_type: IouType) -> Backend:
    """hotcoco, unless it is not there or judges a small table in another way than pycocotools."""
    try:
        import hotcoco  # noqa: F401
    except ImportError:
        _warn("hotcoco is not installed", "; pip install hotcoco")
        return "pycocotools"
    truth, found = _trial(iou_type)
    limits = [20] if iou_type == "keypoints" else [1, 10, 100]
    try:
        made = _by_hotcoco(truth, found, iou_type, limits, COCO_SIGMAS)
    except Exception as error:
        _warn(f"hotcoco failed ({type(error).__name__}: {error})")
        return "pycocotools"
    if all(map(np.array_equal, made, _by_pycocotools(truth, found, iou_type, limits, COCO_SIGMAS))):
        return "hotcoco"
    _warn("the installed hotcoco gives other figures than pycocotools")
    return "pycocotools"


def _warn(why: str, fix: str = "") -> None:
    warnings.warn(f"evaluation: {why}; pycocotools is used, which is slower{fix}", DetWarning, stacklevel=4)


def _trial(iou_type: IouType) -> tuple[Table, Table]:
    """Eight small images, one of them empty: two classes, all sizes, crowds, equal scores, detections of nothing."""
    rng = np.random.default_rng(0)
    images = [{"id": number, "height": 240, "width": 240} for number in range(8)]
    truth: list[dict[str, Any]] = []
    found: list[dict[str, Any]] = []
    for image_id in range(7):
        for _ in range(6):
            x, y, w, h = (rng.random(4) * (80, 80, 150, 150) + (0, 0, 8, 8)).tolist()
            own = {"image_id": image_id, "category_id": int(rng.integers(1, 3)), "iscrowd": int(rng.random() < 0.2)}
            truth.append({"id": len(truth) + 1, **own, **_shape(x, y, w, h, iou_type)})
            for shift in rng.normal(0, 8, rng.integers(0, 3)).tolist():
                guess = {"id": len(found) + 1, **own, "iscrowd": 0, "score": float(rng.integers(1, 6)) / 5}
                found.append({**guess, **_shape(x + shift, y, w, h, iou_type)})
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 3)]
    table = {"images": images, "categories": categories}
    return {**table, "annotations": truth}, {**table, "annotations": found}


def _shape(x: float, y: float, w: float, h: float, iou_type: IouType) -> dict[str, Any]:
    shape: dict[str, Any] = {"bbox": [x, y, w, h], "area": w * h}
    if iou_type == "segm":
        shape["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    if iou_type == "keypoints":
        points = [[x + w * place / 17, y + h * (place * 5 % 17) / 17, 2] for place in range(17)]
        shape |= {"keypoints": [value for point in points for value in point], "num_keypoints": 17}
    return shape
