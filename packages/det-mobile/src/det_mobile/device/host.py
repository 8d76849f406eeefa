"""The steps between and after the methods of a file, in NumPy: copy this module into programs without det.

Settings are those under "device" in the JSON beside the file.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["detect", "entering", "suppressed"]

Array = NDArray[Any]
_SHIFTED = 4000
"""Up to so many numbers torchvision moves the boxes of each group apart and suppresses all at once; boxes that reach
out of the picture may then meet those of another group, here as there."""
Run = Callable[[str, Sequence[Array]], Sequence[Array]]
"""Runs a method of the file by its name: arrays in, arrays out."""


def entering(picture: Array, settings: Mapping[str, Any]) -> Array:
    """The input of the first method: float32 (1, 3, H, W).

    Args:
        picture: resized picture, uint8 (h, w, 3), RGB, no larger than `settings["size"]`, (H, W).
        settings: settings of the JSON; the picture is padded with `mean`, so padding is 0 after normalization.
    """
    (height, width), (h, w) = settings["size"], picture.shape[:2]
    if h > height or w > width:
        raise ValueError(f"the picture has {h} x {w} pixels, and the file takes up to {height} x {width}")
    pixels = np.empty((1, 3, height, width), np.float32)
    pixels[:] = np.array(settings["mean"], np.float32)[:, None, None]
    pixels[0, :, :h, :w] = picture.transpose(2, 0, 1)
    return pixels


def detect(run: Run, pixels: Array, size: Sequence[int], settings: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    """Boxes float32 (N, 4), xyxy in pixels of the picture, scores float32 (N,) and labels int64 (N,), best first.

    Args:
        run: function that runs a method of the file, see `Run`.
        pixels: float32 (1, 3, H, W), the output of `entering`.
        size: (height, width) of the picture in pixels.
        settings: settings under "device" in the JSON beside the file.
    """
    outputs = run("trunk", [pixels])
    if settings["stages"] == 1:
        boxes, scores = outputs
        return _of_candidates(boxes, scores, size, settings)
    *features, logits, boxes = outputs
    regions = _proposals(logits, boxes, size, settings["proposals"])
    count = settings["proposals"]["most"]
    padded = np.zeros((count, 4), np.float32)
    padded[: len(regions)] = regions
    scores, boxes = run("heads", [*features, padded])
    return _of_regions(boxes[: len(regions)], scores[: len(regions)], size, settings)


def suppressed(boxes: Array, scores: Array, groups: Array, threshold: float, most: int) -> Array:
    """The boxes kept by greedy NMS within groups, best first, up to a maximum number: int64 (K,)."""
    order = np.argsort(-scores, kind="stable")
    if boxes.size <= _SHIFTED:
        boxes = boxes + (groups * (boxes.max(initial=0) + 1)).astype(np.float32)[:, None]
        groups = np.zeros_like(groups)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    keep: list[int] = []
    while len(order) and len(keep) < most:
        best, order = order[0], order[1:]
        keep.append(int(best))
        low, high = np.maximum(boxes[order, :2], boxes[best, :2]), np.minimum(boxes[order, 2:], boxes[best, 2:])
        sides = np.maximum(high - low, 0)
        shared = sides[:, 0] * sides[:, 1]
        whole = areas[order] + areas[best] - shared
        # Shares are compared without a division, which boxes of no area would make one by 0.
        order = order[~((shared > threshold * whole) & (groups[order] == groups[best]))]
    return np.array(keep, np.int64)


def _clipped(boxes: Array, size: Sequence[int]) -> Array:
    height, width = size
    clipped: Array = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    return clipped


def _proposals(logits: Array, boxes: Array, size: Sequence[int], settings: Mapping[str, Any]) -> Array:
    """The regions that the second method classifies, best first: float32 (N, 4)."""
    selected, levels, start = [], [], 0
    for level, count in enumerate(settings["anchors"]):
        part = logits[start : start + count]
        best = np.argsort(-part, kind="stable")[: settings["candidates"]] + start
        selected.append(best)
        levels.append(np.full(len(best), level))
        start += count
    rows, levels_of_rows = np.concatenate(selected), np.concatenate(levels)
    detected, scores = _clipped(boxes[rows], size), logits[rows]
    sides = detected[:, 2:] - detected[:, :2]
    usable = np.isfinite(detected).all(1) & np.isfinite(scores) & (sides > settings["min_size"]).all(1)
    detected, scores, groups = detected[usable], scores[usable], levels_of_rows[usable]
    keep: Array = detected[suppressed(detected, scores, groups, settings["iou_threshold"], settings["most"])]
    return keep


def _of_regions(
    boxes: Array, scores: Array, size: Sequence[int], settings: Mapping[str, Any]
) -> tuple[Array, Array, Array]:
    """Detections of regions: boxes (N, C or 1, 4), scores (N, C + 1), the background last."""
    region, label = np.nonzero(scores[:, :-1] > settings["score_threshold"])
    detected = _clipped(boxes[region, np.minimum(label, boxes.shape[1] - 1)], size)
    return _best(detected, scores[region, label], label, settings)


def _of_candidates(
    boxes: Array, scores: Array, size: Sequence[int], settings: Mapping[str, Any]
) -> tuple[Array, Array, Array]:
    """Detections of a one-stage detector: boxes (A, 4), scores (A, C)."""
    rows, labels, start = [], [], 0
    for count in settings["anchors"]:
        part = scores[start : start + count].ravel()
        best = np.argsort(-part, kind="stable")[: settings["candidates"]]
        best = best[part[best] > settings["score_threshold"]]
        rows.append(best // scores.shape[1] + start)
        labels.append(best % scores.shape[1])
        start += count
    row, label = np.concatenate(rows), np.concatenate(labels)
    detected = _clipped(boxes[row], size) if settings["clip_before_nms"] else boxes[row]
    detected, score, label = _best(detected, scores[row, label], label, settings)
    detected = _clipped(detected, size)
    there = (detected[:, 2:] > detected[:, :2]).all(1)
    return detected[there], score[there], label[there]


def _best(boxes: Array, scores: Array, labels: Array, settings: Mapping[str, Any]) -> tuple[Array, Array, Array]:
    keep = suppressed(boxes, scores, labels, settings["iou_threshold"], settings["most"])
    boxes, scores, labels = boxes[keep], scores[keep], labels[keep]
    there = (boxes[:, 2:] > boxes[:, :2]).all(1) | (settings["stages"] == 1)
    return boxes[there].astype(np.float32), scores[there].astype(np.float32), labels[there].astype(np.int64)
