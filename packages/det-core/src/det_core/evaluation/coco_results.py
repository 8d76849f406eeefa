"""Detections in the COCO results format, one mapping per object, and back."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from det_core.errors import DataError
from det_core.ops.masks import in_image
from det_core.ops.rle import rle_counts, rle_to_mask
from det_core.structures import Detections, MaskGrids, Polygons, Size

__all__ = ["RLE", "decode_masks", "encode_masks", "from_coco", "to_coco"]

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


def from_coco(results: Sequence[Mapping[str, Any]], size: Size, category_ids: Sequence[int]) -> Detections:
    """The detections of one image of `size`, by descending score; masks and keypoints if all results have them.

    Rotated boxes have five numbers, upright ones four; all results must have the same.

    Raises:
        DataError: a result lacks an entry, or has a category that is not in `category_ids`.
    """
    labels = {category_id: label for label, category_id in enumerate(category_ids)}
    results = sorted(results, key=lambda result: -result.get("score", 0))
    try:
        boxes = torch.tensor([result["bbox"] for result in results], dtype=torch.float64)
        boxes = boxes.reshape(len(results), -1 if results else 4)
        if boxes.shape[1] == 4:
            boxes[:, 2:] += boxes[:, :2]
        pointed = bool(results) and all("keypoints" in result for result in results)
        masked = bool(results) and all("segmentation" in result for result in results)
        return Detections(
            boxes=boxes.float(),
            labels=torch.tensor([labels[result["category_id"]] for result in results], dtype=torch.int64),
            scores=torch.tensor([result["score"] for result in results], dtype=torch.float32),
            size=size,
            masks=decode_masks([result["segmentation"] for result in results], size) if masked else None,
            keypoints=_keypoints([result["keypoints"] for result in results]) if pointed else None,
        )
    except (KeyError, ValueError, TypeError) as error:
        fix = "each result needs image_id, category_id, bbox (four numbers, or five of a rotated box) and score"
        raise DataError("COCO results", "cannot be read", f"{type(error).__name__}: {error}", fix) from error


def _keypoints(results: Sequence[Sequence[float]]) -> Tensor:
    points = torch.tensor(results, dtype=torch.float32)
    return points.reshape(len(results), -1, 3) + torch.tensor([0.5, 0.5, 0])


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
