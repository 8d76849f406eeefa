"""Detections in the COCO results format, one mapping per object."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from det_core.ops.masks import in_image
from det_core.ops.rle import rle_counts, rle_to_mask
from det_core.structures import Detections, MaskGrids, Polygons, Size

__all__ = ["RLE", "decode_masks", "encode_masks", "to_coco"]

RLE: TypeAlias = dict[str, Any]
"""A run-length encoded mask: {"size": [height, width], "counts": compressed text}."""


def to_coco(detections: Detections, image_id: int | str, category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """One JSON-ready mapping per detection: image_id, category_id, bbox, score, and masks and keypoints if present.

    The bbox is x, y, w, h; of a rotated box cx, cy, w, h and the angle in degrees, counter-clockwise.

    Args:
        detections: detections in coordinates of the stored image.
        image_id: image id in the annotation file.
        category_ids: category id in the annotation file, by label.
    """
    boxes = detections.boxes.detach().to("cpu", torch.float64, copy=True)
    if boxes.shape[1] == 4:
        boxes[:, 2:] -= boxes[:, :2]
    labels, scores = detections.labels.tolist(), detections.scores.tolist()
    results: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": category_ids[label], "bbox": box, "score": score}
        for label, box, score in zip(labels, boxes.tolist(), scores, strict=True)
    ]
    if detections.masks is not None:
        for result, rle in zip(results, encode_masks(detections.masks, detections.boxes, detections.size), strict=True):
            result["segmentation"] = rle
    if detections.keypoints is not None:
        # The format has pixel indices; our coordinates are continuous, and pixel centres half a pixel further.
        points = detections.keypoints.detach().cpu() - torch.tensor([0.5, 0.5, 0])
        for result, values in zip(results, points.flatten(1).tolist(), strict=True):
            result["keypoints"] = values
    return results


def encode_masks(masks: Tensor | Polygons | MaskGrids, boxes: Tensor, size: Size) -> list[RLE]:
    """Masks of any format, of objects with `boxes` in an image of `size`, as RLE."""
    masks, boxes = masks.to("cpu"), boxes.to("cpu")
    rles: list[RLE] = []
    for some in in_image(masks, boxes, size):
        # pycocotools reads an image column by column.
        columns = np.asfortranarray(some.to(torch.uint8).permute(1, 2, 0).numpy())
        rles += [{"size": list(rle["size"]), "counts": rle["counts"].decode()} for rle in coco_mask.encode(columns)]
    return rles


def decode_masks(rles: Sequence[RLE], size: Size) -> Tensor:
    """RLE as bool masks (N, height, width)."""
    masks = torch.zeros((len(rles), *size), dtype=torch.bool)
    for mask, rle in zip(masks, rles, strict=True):
        mask.copy_(rle_to_mask(rle_counts(rle, size), size))
    return masks
