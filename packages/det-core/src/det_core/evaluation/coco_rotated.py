"""COCO evaluation of rotated boxes: the same matching and metrics, with the IoU of rotated rectangles."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from det_core.ops import rotated

__all__ = ["rotated_overlaps"]


def rotated_overlaps(evaluation: COCOeval, image_id: Any, category_id: Any) -> "NDArray[np.float64] | list[Any]":
    """IoU (D, G) of the best detections of one image and class with its objects; [] without either.

    A replacement of `evaluation.computeIoU`. As with upright boxes, the overlap with a crowd is the fraction of the
    detection inside of it. (Detectron2's evaluation of rotated boxes has no crowds.)
    """
    objects, detections = evaluation._gts[image_id, category_id], evaluation._dts[image_id, category_id]
    if not objects or not detections:
        return []
    detections = sorted(detections, key=lambda record: -record["score"])[: evaluation.params.maxDets[-1]]
    a, b = (torch.tensor([record["bbox"] for record in records]) for records in (detections, objects))
    overlaps = rotated.iou(a, b)
    # IoU = intersection / (area of a + area of b - intersection).
    shared = overlaps / (1 + overlaps) * (rotated.area(a)[:, None] + rotated.area(b))
    crowd = torch.tensor([bool(record["iscrowd"]) for record in objects])
    within = shared / rotated.area(a).clamp(min=1e-14)[:, None]
    values: NDArray[np.float64] = torch.where(crowd, within, overlaps).double().numpy()
    return values
