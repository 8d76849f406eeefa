"""The objects of a result as a COCO file has them, which the writers of other formats take."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from det_core.ops import rotated
from det_core.predict import Result
from det_core.predict.writers import ImageName

from det_inspect.predictions.contours import contours
from det_inspect.predictions.merging import bounds as around

__all__ = ["bounds", "content", "rings"]


def content(result: Result, name: ImageName, whole_pixels: bool = False) -> dict[str, Any]:
    """ "images", "categories" and "annotations" of one image; ids of categories are labels.

    Contours of masks and the corners of rotated boxes are in "segmentation".

    Args:
        whole_pixels: round the boxes, to one pixel at least.
    """
    height, width = result.detections.size
    image = {"id": name.id, "file_name": name.file_name, "height": height, "width": width}
    annotations = []
    corners = list(rings(result))
    for row, (x0, y0, x1, y1) in enumerate(bounds(result)):
        if whole_pixels:
            x0, y0 = min(round(x0), width - 1), min(round(y0), height - 1)
            x1, y1 = max(round(x1), x0 + 1), max(round(y1), y0 + 1)
        label = int(result.detections.labels[row])
        record: dict[str, Any] = {"id": row + 1, "image_id": name.id, "category_id": label}
        record["bbox"] = [x0, y0, x1 - x0, y1 - y0]
        if corners[row]:
            record["segmentation"] = [[value for point in ring for value in point] for ring in corners[row]]
        annotations.append(record)
    categories = [{"id": label, "name": each} for label, each in enumerate(result.classes)]
    return {"images": [image], "categories": categories, "annotations": annotations}


def bounds(result: Result) -> list[list[float]]:
    """x0, y0, x1, y1 of each object within the image; around rotated boxes."""
    boxes, (height, width) = around(result.detections.boxes), result.detections.size
    return [list(map(float, box)) for box in boxes.clamp(min=0).minimum(boxes.new_tensor([width, height] * 2)).tolist()]


def rings(result: Result) -> Iterator[list[list[list[float]]]]:
    """The polygons of each object, [[x, y], ...] within the image: of its mask, or of its rotated box; else none."""
    detections = result.detections
    height, width = detections.size
    if detections.masks is not None:
        masks = result.masks
        for row, (x0, y0, x1, y1) in enumerate(bounds(result)):
            mask = masks[row].cpu().numpy()
            # A mask may reach out of its box by what interpolation adds.
            left, top = max(math.floor(x0) - 2, 0), max(math.floor(y0) - 2, 0)
            window = mask[top : math.ceil(y1) + 2, left : math.ceil(x1) + 2]
            record = contours(window) if window.sum() == mask.sum() else contours(mask)
            offset = np.array([left, top]) if window.sum() == mask.sum() else np.zeros(2)
            yield [(ring + offset).tolist() for ring in record]
    elif detections.boxes.shape[1] == 5:
        for corners in rotated.corners(detections.boxes).tolist():
            yield [[[min(max(x, 0), width), min(max(y, 0), height)] for x, y in corners]]
    else:
        yield from ([] for _ in range(len(detections)))
