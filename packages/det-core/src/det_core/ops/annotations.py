"""Normalizes entries of COCO files: other programs' spellings become those of most programs."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from pycocotools import mask as coco_mask

from det_core.ops.rle import rle_counts

__all__ = ["normalized", "whole"]

_WHOLE = re.compile(r"\s*([+-]?\d{1,18})(?:\.0*)?\s*")
_OPTIONAL = ("iscrowd", "area", "keypoints", "num_keypoints")


def whole(value: Any) -> Any:
    """An integer for a number that is written as a float or as text; other values unchanged."""
    if type(value) is float and value.is_integer():
        return int(value)
    match = _WHOLE.fullmatch(value) if type(value) is str else None
    return int(match[1]) if match else value


def normalized(content: Mapping[str, Any]) -> dict[str, Any]:
    """The lists of a COCO file, and optional "results", with integers for ids, classes, sizes and flags.

    Ids stay texts if all of a list are. Optional entries that are null count as missing, and an object without 'bbox'
    gets that of its segmentation. Invalid values are left for validation.
    """
    texts = {key: _are_texts(content.get(key)) for key in ("images", "annotations")}
    image = (lambda value: str(whole(value)) if type(value) in (int, float) else value) if texts["images"] else whole
    result: dict[str, Callable[[Any], Any]] = {"image_id": image, "category_id": whole, "iscrowd": whole}
    rules: dict[str, dict[str, Callable[[Any], Any]]] = {
        "images": {"id": image, "height": whole, "width": whole},
        "categories": {"id": whole},
        "annotations": {"id": (lambda value: value) if texts["annotations"] else whole, **result},
        "results": result,
    }
    lists = {key: rule for key, rule in rules.items() if isinstance(content.get(key), list)}
    return {**content, **{key: [_record(each, rule) for each in content[key]] for key, rule in lists.items()}}


def _are_texts(records: Any) -> bool:
    records = records if isinstance(records, list) else []
    return bool(records) and all(isinstance(each, dict) and isinstance(each.get("id"), str) for each in records)


def _record(record: Any, rules: Mapping[str, Callable[[Any], Any]]) -> Any:
    if not isinstance(record, dict):
        return record
    absent = [key for key in _OPTIONAL if key in record and record[key] is None]
    filled = {key: value for key, value in record.items() if key not in absent} if absent else record
    # Entries without other spellings, usually all of a large file, are not copied.
    changed = {k: new for k, rule in rules.items() if k in filled and (new := rule(filled[k])) is not filled[k]}
    filled = filled | changed if changed else filled
    if filled.get("bbox") is None and rules.keys() >= {"id", "image_id"} and (box := _box(filled.get("segmentation"))):
        return {**filled, "bbox": box}
    return filled


def _box(segmentation: Any) -> list[float] | None:
    """Bounding box of polygons or an RLE; None if they are invalid."""
    try:
        if isinstance(segmentation, dict):
            counts = rle_counts(segmentation, segmentation["size"])
            box: list[float] = coco_mask.toBbox(
                coco_mask.frPyObjects({"size": segmentation["size"], "counts": counts}, *segmentation["size"])
            ).tolist()
            return box
        numbers = [(ring[i], ring[i + 1]) for ring in segmentation for i in range(0, len(ring) - 1, 2)]
        (x0, x1), (y0, y1) = ((float(min(side)), float(max(side))) for side in zip(*numbers, strict=True))
        return [x0, y0, x1 - x0, y1 - y0]
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
