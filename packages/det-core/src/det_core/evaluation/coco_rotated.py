"""Rotated boxes under the rules of COCO: the same matching and figures, with the overlap of turned rectangles."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from det_core.ops import rotated

__all__ = ["rotated_overlaps"]


def rotated_overlaps(judge: COCOeval, image_id: Any, category_id: Any) -> "NDArray[np.float64] | list[Any]":
    """Overlaps (D, G) of the best detections of one image and class with its objects; [] without either.

    It stands in for `judge.computeIoU`. As with upright boxes, a crowd is overlapped by the share of the detection that
    lies in it. (Detectron2's evaluation of rotated boxes takes no crowds.)
    """
    objects, found = judge._gts[image_id, category_id], judge._dts[image_id, category_id]
    if not objects or not found:
        return []
    found = sorted(found, key=lambda record: -record["score"])[: judge.params.maxDets[-1]]
    a, b = (torch.tensor([record["bbox"] for record in records]) for records in (found, objects))
    overlaps = rotated.iou(a, b)
    # IoU = shared / (area of a + area of b - shared).
    shared = overlaps / (1 + overlaps) * (rotated.area(a)[:, None] + rotated.area(b))
    crowd = torch.tensor([bool(record["iscrowd"]) for record in objects])
    within = shared / rotated.area(a).clamp(min=1e-14)[:, None]
    values: NDArray[np.float64] = torch.where(crowd, within, overlaps).double().numpy()
    return values
