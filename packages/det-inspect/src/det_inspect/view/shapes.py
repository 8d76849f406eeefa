"""Objects of a picture as plain data that a page draws."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from det_core.data.formats.coco_boxes import are_numbers
from det_core.ops.rle import rle_counts

from det_inspect.predictions.contours import contours

__all__ = ["shape_of"]

_POINTS, _RINGS = 20_000, 200
_PIXELS = 50_000_000


def shape_of(record: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """Box, polygons and keypoints of an entry; a damaged part is left out.

    Args:
        record: entry of an object or a result, whose box is valid: 4 numbers, or 5 of a rotated box.
        size: (height, width) of the picture as listed.

    Returns:
        {"box": [...], "polygons": [[x, y, ...], ...]?, "keypoints": [x, y, v, ...]?, "crowd": True?}
    """
    shape: dict[str, Any] = {"box": record["bbox"]} if are_numbers(record.get("bbox")) else {}
    if polygons := _polygons(record.get("segmentation"), size):
        shape["polygons"] = polygons
    points = record.get("keypoints")
    if isinstance(points, list) and points and are_numbers(points) and len(points) % 3 == 0 and len(points) < _POINTS:
        shape["keypoints"] = points
    if record.get("iscrowd") == 1:
        shape["crowd"] = True
    return shape


def _polygons(segmentation: Any, size: tuple[int, int]) -> list[list[float]]:
    if isinstance(segmentation, list):
        rings = [ring for ring in segmentation[:_RINGS] if isinstance(ring, list) and are_numbers(ring)]
        return [ring for ring in rings if 6 <= len(ring) <= _POINTS and len(ring) % 2 == 0]
    if not isinstance(segmentation, dict) or size[0] * size[1] > _PIXELS:
        return []
    try:
        counts = rle_counts(segmentation, size)
    except ValueError:
        return []
    return _contours_of(counts, size)


def _contours_of(counts: list[int], size: tuple[int, int]) -> list[list[float]]:
    """Polygons around the mask of run lengths, largest first."""
    values = np.zeros(len(counts), np.bool_)
    values[1::2] = True
    mask = np.repeat(values, counts).reshape(size[1], size[0]).T
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return []
    top, left = int(rows[0]), int(columns[0])
    part = np.ascontiguousarray(mask[top : rows[-1] + 1, left : columns[-1] + 1])
    return [np.add(ring, (left, top)).ravel().tolist() for ring in contours(part)[:_RINGS]]
