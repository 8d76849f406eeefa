"""COCO's precision and recall curves, computed by hotcoco, or by pycocotools if hotcoco is missing or differs.

Works without torch.
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
"""Content of a COCO file: "images", "categories" and "annotations"; those of results have a "score"."""

COCO_SIGMAS = (
    *(0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072),
    *(0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089),
)
"""Standard deviation of the annotations of COCO's 17 keypoints, relative to the square root of the object area."""


class Curves(NamedTuple):
    """The arrays that all metrics are means of; -1 where there is no ground truth.

    Axes: IoU thresholds T (0.5 to 0.95), recalls R (0 to 1), classes K by id, areas A (all, small, medium, large; no
        small
    for keypoints) and limits M of the number of detections per image and class.
    """

    precision: NDArray[np.float64]  # (T, R, K, A, M)
    recall: NDArray[np.float64]  # (T, K, A, M)
    scores: NDArray[np.float64]  # (T, R, K, A, M): minimum score for this recall


def curves(
    ground_truth: Table,
    detections: Table,
    iou_type: IouType,
    limits: Sequence[int],
    sigmas: Sequence[float] = COCO_SIGMAS,
    backend: Backend | None = None,
    overlaps: Callable[[COCOeval, Any, Any], Any] | None = None,
) -> Curves:
    """COCO's curves for two tables with integer ids.

    Args:
        ground_truth: objects, with "area" and "iscrowd".
        detections: detections, with "id", "area" and "score"; images and categories are those of `ground_truth`.
        iou_type: type of IoU, "bbox", "segm" or "keypoints".
        limits: maximum numbers of detections per image and class, by score; ascending.
        sigmas: standard deviation of each keypoint.
        backend: None for hotcoco if it is installed and agrees with pycocotools, which is tested once.
        overlaps: replacement of pycocotools' `computeIoU`, supported by pycocotools only.
    """
    if overlaps is None and (backend or _fastest(iou_type)) == "hotcoco":
        try:
            return _by_hotcoco(ground_truth, detections, iou_type, limits, sigmas)
        except Exception as error:
            if backend is not None:
                raise
            _warn(f"hotcoco failed ({type(error).__name__}: {error})")
    return _by_pycocotools(ground_truth, detections, iou_type, limits, sigmas, overlaps)


def read_table(table: Table) -> COCO:
    """The table as an object of pycocotools."""
    coco = COCO()
    coco.dataset = table
    with redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def _by_pycocotools(
    ground_truth: Table,
    detections: Table,
    iou_type: IouType,
    limits: Sequence[int],
    sigmas: Sequence[float],
    overlaps: Callable[[COCOeval, Any, Any], Any] | None = None,
) -> Curves:
    # pycocotools prints its progress; its failures are exceptions.
    with redirect_stdout(io.StringIO()):
        evaluation = COCOeval(read_table(ground_truth), read_table(detections), iou_type)
        evaluation.params.maxDets = list(limits)
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        if overlaps is not None:
            evaluation.computeIoU = lambda image_id, category_id: overlaps(evaluation, image_id, category_id)
        evaluation.evaluate()
        evaluation.accumulate()
    return Curves(evaluation.eval["precision"], evaluation.eval["recall"], evaluation.eval["scores"])


def _by_hotcoco(
    ground_truth: Table, detections: Table, iou_type: IouType, limits: Sequence[int], sigmas: Sequence[float]
) -> Curves:
    import hotcoco

    evaluation = hotcoco.COCOeval(hotcoco.COCO(dict(ground_truth)), hotcoco.COCO(dict(detections)), iou_type)
    evaluation.params.max_dets = list(limits)
    if iou_type == "keypoints":
        evaluation.params.kpt_oks_sigmas = list(sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    result: Any = evaluation.eval
    return Curves(np.asarray(result["precision"]), np.asarray(result["recall"]), np.asarray(result["scores"]))


@cache
def _fastest(iou_type: IouType) -> Backend:
    """hotcoco, unless it is missing or gives other metrics for a small table than pycocotools."""
    try:
        import hotcoco  # noqa: F401
    except ImportError:
        _warn("hotcoco is not installed", "; pip install hotcoco")
        return "pycocotools"
    ground_truth, detections = _trial(iou_type)
    limits = [20] if iou_type == "keypoints" else [1, 10, 100]
    try:
        result = _by_hotcoco(ground_truth, detections, iou_type, limits, COCO_SIGMAS)
    except Exception as error:
        _warn(f"hotcoco failed ({type(error).__name__}: {error})")
        return "pycocotools"
    if all(map(np.array_equal, result, _by_pycocotools(ground_truth, detections, iou_type, limits, COCO_SIGMAS))):
        return "hotcoco"
    _warn("the installed hotcoco gives other metrics than pycocotools")
    return "pycocotools"


def _warn(why: str, fix: str = "") -> None:
    warnings.warn(f"evaluation: {why}; pycocotools is used, which is slower{fix}", DetWarning, stacklevel=4)


def _trial(iou_type: IouType) -> tuple[Table, Table]:
    """Eight small images, one of them empty: two classes, all areas, crowds, equal scores, false positives."""
    rng = np.random.default_rng(0)
    images = [{"id": number, "height": 240, "width": 240} for number in range(8)]
    ground_truth: list[dict[str, Any]] = []
    detections: list[dict[str, Any]] = []
    for image_id in range(7):
        for _ in range(6):
            x, y, w, h = (rng.random(4) * (80, 80, 150, 150) + (0, 0, 8, 8)).tolist()
            shared = {"image_id": image_id, "category_id": int(rng.integers(1, 3)), "iscrowd": int(rng.random() < 0.2)}
            ground_truth.append({"id": len(ground_truth) + 1, **shared, **_shape(x, y, w, h, iou_type)})
            for shift in rng.normal(0, 8, rng.integers(0, 3)).tolist():
                record = {"id": len(detections) + 1, **shared, "iscrowd": 0, "score": float(rng.integers(1, 6)) / 5}
                detections.append({**record, **_shape(x + shift, y, w, h, iou_type)})
    categories = [{"id": number, "name": str(number)} for number in (1, 2, 3)]
    table = {"images": images, "categories": categories}
    return {**table, "annotations": ground_truth}, {**table, "annotations": detections}


def _shape(x: float, y: float, w: float, h: float, iou_type: IouType) -> dict[str, Any]:
    shape: dict[str, Any] = {"bbox": [x, y, w, h], "area": w * h}
    if iou_type == "segm":
        shape["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    if iou_type == "keypoints":
        points = [[x + w * place / 17, y + h * (place * 5 % 17) / 17, 2] for place in range(17)]
        shape |= {"keypoints": [value for point in points for value in point], "num_keypoints": 17}
    return shape
