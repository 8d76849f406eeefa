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
    iou_type: IouType, ground_truth: Table, detections: Table, num_classes: int, sigmas: Sequence[float] = COCO_SIGMAS
) -> ErrorCosts:
    """Error costs of two tables, in which images are numbered from 0 and categories are labels, as for `curves`.

    Args:
        iou_type: "bbox", "segm" for mask IoU, or "keypoints" for OKS.
        ground_truth: table of objects; for OKS, those without labelled keypoints are ignored, like crowds.
        detections: detections of all images as a table.
        num_classes: number of classes, without background.
        sigmas: standard deviation of each keypoint's annotation as a fraction of the object's scale, for OKS; the
            default is the 17 of COCO's persons.
    """
    by_image: list[tuple[list[_Record], list[_Record]]] = [([], []) for _ in ground_truth["images"]]
    for side, table in enumerate((ground_truth, detections)):
        for entry in table["annotations"]:
            by_image[entry["image_id"]][side].append(entry)
    images = [
        _image_record(iou_type, image, *records, np.array(sigmas))
        for image, records in zip(ground_truth["images"], by_image, strict=True)
    ]
    image_errors = [classify_errors(image, LIMITS[iou_type][-1]) for image in images]
    return error_costs(images, image_errors, num_classes)


def _image_record(
    iou_type: IouType, image: _Record, ground_truth: list[_Record], detections: list[_Record], sigmas: Floats
) -> ImageRecord:
    objects, size = objects_of(ground_truth), (image["height"], image["width"])
    if iou_type == "bbox":
        return ImageRecord(image["id"], size, objects, objects_of(detections))
    once = np.zeros(len(ground_truth), np.bool_)
    if iou_type == "segm":
        ious = _of_masks(ground_truth, detections)
    else:
        oks = [[_similarity(detection, entry, sigmas) for entry in ground_truth] for detection in detections]
        ious = np.array(oks, np.float64)
        once = np.array([not entry["num_keypoints"] and not entry["iscrowd"] for entry in ground_truth], np.bool_)
        objects = objects._replace(crowd=objects.crowd | once)
    ious = ious.reshape(len(detections), len(ground_truth))
    return ImageRecord(image["id"], size, objects, objects_of(detections), "", ious, once)


def _of_masks(ground_truth: list[_Record], detections: list[_Record]) -> Floats:
    """IoU of masks (D, G); over a crowd, the share of the detection that lies in it."""
    if not ground_truth or not detections:
        return np.zeros((len(detections), len(ground_truth)))
    crowd = [int(entry["iscrowd"]) for entry in ground_truth]
    masks = ([entry["segmentation"] for entry in entries] for entries in (detections, ground_truth))
    ious = coco_mask.iou(*masks, crowd)
    return np.asarray(ious, np.float64)


def _similarity(detection: _Record, entry: _Record, sigmas: Floats) -> float:
    """OKS by COCO's rules; by the distance to a box twice as large on each side where no keypoint is labelled."""
    points, annotated = (np.array(each["keypoints"], np.float64).reshape(-1, 3) for each in (detection, entry))
    labelled = annotated[:, 2] > 0
    away = points[:, :2] - annotated[:, :2]
    if labelled.any():
        away, sigmas = away[labelled], sigmas[labelled]
    else:
        corner, sides = np.split(np.array(entry["bbox"], np.float64), 2)
        low, high = corner - sides, corner + 2 * sides
        away = (low - points[:, :2]).clip(0) + (points[:, :2] - high).clip(0)
    spread = (2 * sigmas) ** 2 * (entry["area"] + np.spacing(1)) * 2
    return float(np.exp(-(away**2).sum(1) / spread).mean())
