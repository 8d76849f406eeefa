"""Masks and boxes of objects and detections, and regions of an image that are not evaluated."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

__all__ = ["box_kept", "box_overlaps", "encode", "gt_mask_rle", "mask_kept", "mask_overlaps", "pasted_rle"]

_OF_BOX, _OF_MASK = 0.7, 0.9
Box = tuple[float, float, float, float]


def encode(mask: NDArray[Any]) -> Any:
    """A mask (H, W) as pycocotools' RLE."""
    return coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))


def pasted_rle(mask: NDArray[np.bool_], box: Box, size: tuple[int, int]) -> Any:
    """A mask over a box x, y, width, height, cut off to whole pixels, as an RLE of the image."""
    x, y, width, height = box
    left, top = int(x), int(y)
    x0, x1 = max(left, 0), min(int(x + width), size[1], left + mask.shape[1])
    y0, y1 = max(top, 0), min(int(y + height), size[0], top + mask.shape[0])
    image = np.zeros(size, np.uint8, order="F")
    if x1 > x0 and y1 > y0:
        image[y0:y1, x0:x1] = mask[y0 - top : y1 - top, x0 - left : x1 - left]
    return coco_mask.encode(image)


def gt_mask_rle(coarse: NDArray[np.bool_], box: Box, size: tuple[int, int]) -> Any:
    """The union of coarse parts (256, 256) as an RLE of the image: zoomed to the box by lines, corner to corner."""
    height, width = max(round(box[3]), 1), max(round(box[2]), 1)
    values = coarse.astype(np.float64)
    ys, xs = (np.linspace(0, side - 1, n) if n > 1 else np.zeros(1) for side, n in ((256, height), (256, width)))
    top, left = np.minimum(ys.astype(int), 254), np.minimum(xs.astype(int), 254)
    down, across = (ys - top)[:, None], (xs - left)[None]
    rows = values[top] * (1 - down) + values[top + 1] * down
    zoomed = rows[:, left] * (1 - across) + rows[:, left + 1] * across
    return pasted_rle(zoomed > 0.5, box, size)


def box_overlaps(detections: NDArray[np.float64], ground_truth: NDArray[np.float64], crowd: NDArray[np.bool_]) -> Any:
    """IoU (D, G) of boxes x, y, width, height; those of crowds are divided by the detection's area."""
    if not len(detections) or not len(ground_truth):
        return np.zeros((len(detections), len(ground_truth)))
    return np.asarray(coco_mask.iou(detections, ground_truth, crowd.astype(np.uint8)), np.float64)


def mask_overlaps(detections: list[Any], ground_truth: list[Any], crowd: NDArray[np.bool_]) -> Any:
    """The same of RLEs."""
    if not detections or not ground_truth:
        return np.zeros((len(detections), len(ground_truth)))
    return np.asarray(coco_mask.iou(detections, ground_truth, crowd.astype(np.uint8).tolist()), np.float64)


def _cut(box: Box, region: NDArray[np.bool_]) -> NDArray[np.bool_]:
    x, y, width, height = (int(value) for value in box)
    return region[max(y, 0) : min(y + height, region.shape[0]), max(x, 0) : min(x + width, region.shape[1])]


def box_kept(box: Box, region: NDArray[np.bool_]) -> bool:
    """Whether less than 0.7 of a box lies in the region; a box without area is not kept."""
    area = int(box[2]) * int(box[3])
    return bool(area and int(_cut(box, region).sum()) / area < _OF_BOX)


def mask_kept(box: Box, mask: NDArray[np.bool_], region: NDArray[np.bool_]) -> bool:
    """Whether less than 0.9 of a mask (h, w) over a box lies in the region; one without a pixel there is kept."""
    if int(box[2]) * int(box[3]) == 0:
        return False
    part = _cut(box, region)
    if not part.any():
        return True
    top, left = max(-int(box[1]), 0), max(-int(box[0]), 0)
    window = mask[top : top + part.shape[0], left : left + part.shape[1]]
    covered = int((window & part[: window.shape[0], : window.shape[1]]).sum())
    return covered / max(int(mask.sum()), 1) < _OF_MASK
