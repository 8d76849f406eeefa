"""Costs of errors of masks and keypoints: error types by mask IoU or OKS instead of box IoU.

No torch is needed here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from det_core.evaluation.curves import COCO_SIGMAS, IouType, Table
from det_core.evaluation.figures import LIMITS
from pycocotools import mask as coco_mask

from det_inspect.analysis.error_kinds import ErrorCosts, classify_errors, error_costs
from det_inspect.analysis.image_records import Floats, ImageRecord, objects_of

__all__ = ["costs_by"]

_Record = Mapping[str, Any]


def costs_by(
    iou_type: IouType, truth: Table, found: Table, num_classes: int, sigmas: Sequence[float] = COCO_SIGMAS
) -> ErrorCosts:
    """The balance of two tables, of which images count from 0 and categories are labels, as `curves` takes them.

    Args:
        iou_type: "segm" for mask IoU, "keypoints" for OKS.
        truth: ground-truth objects; those without labelled keypoints are ignored, like crowds.
        found: the detections.
        num_classes: how many labels there are.
        sigmas: of each keypoint.
    """
    by_image: list[tuple[list[_Record], list[_Record]]] = [([], []) for _ in truth["images"]]
    for side, table in enumerate((truth, found)):
        for own in table["annotations"]:
            by_image[own["image_id"]][side].append(own)
    images = [
        _seen(iou_type, image, *records, np.array(sigmas))
        for image, records in zip(truth["images"], by_image, strict=True)
    ]
    judged = [classify_errors(image, LIMITS[iou_type][-1]) for image in images]
    return error_costs(images, judged, num_classes)


def _seen(iou_type: IouType, image: _Record, truth: list[_Record], found: list[_Record], sigmas: Floats) -> ImageRecord:
    objects, size = objects_of(truth), (image["height"], image["width"])
    if iou_type == "bbox":
        return ImageRecord(image["id"], size, objects, objects_of(found))
    once = np.zeros(len(truth), np.bool_)
    if iou_type == "segm":
        shared = _of_masks(truth, found)
    else:
        shared = np.array([[_similarity(guess, own, sigmas) for own in truth] for guess in found], np.float64)
        once = np.array([not own["num_keypoints"] and not own["iscrowd"] for own in truth], np.bool_)
        objects = objects._replace(crowd=objects.crowd | once)
    return ImageRecord(image["id"], size, objects, objects_of(found), "", shared.reshape(len(found), len(truth)), once)


def _of_masks(truth: list[_Record], found: list[_Record]) -> Floats:
    """As `overlaps` has them of boxes: (D, G)."""
    if not truth or not found:
        return np.zeros((len(found), len(truth)))
    crowd = [int(own["iscrowd"]) for own in truth]
    shared = coco_mask.iou([own["segmentation"] for own in found], [own["segmentation"] for own in truth], crowd)
    return np.asarray(shared, np.float64)


def _similarity(found: _Record, truth: _Record, sigmas: Floats) -> float:
    """OKS by COCO's rules; by the distance to a box twice as large on each side where no keypoint is labelled."""
    points, own = (np.array(each["keypoints"], np.float64).reshape(-1, 3) for each in (found, truth))
    labelled = own[:, 2] > 0
    away = points[:, :2] - own[:, :2]
    if labelled.any():
        away, sigmas = away[labelled], sigmas[labelled]
    else:
        corner, sides = np.split(np.array(truth["bbox"], np.float64), 2)
        low, high = corner - sides, corner + 2 * sides
        away = (low - points[:, :2]).clip(0) + (points[:, :2] - high).clip(0)
    spread = (2 * sigmas) ** 2 * (truth["area"] + np.spacing(1)) * 2
    return float(np.exp(-(away**2).sum(1) / spread).mean())
