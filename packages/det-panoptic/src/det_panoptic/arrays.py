"""Postprocessing of an exported panoptic model in NumPy alone: segments from the outputs of its file.

This module imports nothing of det, so that it can be copied into programs that run exported files.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Segments", "group_pixels", "join_things"]

Floats = NDArray[np.float32]
Segments = tuple[NDArray[np.int32], list[dict[str, Any]]]
"""The segment id of each pixel, int32 (H, W), 0 for void; and "id", "label", "is_thing", "score" of each segment."""

_CHUNK = 2**22


def join_things(
    masks: Iterable[NDArray[np.bool_]],
    labels: Sequence[int],
    scores: Sequence[float],
    semantic: Floats,
    *,
    num_things: int,
    overlap_threshold: float = 0.5,
    stuff_area: int = 4096,
    score_threshold: float = 0.5,
) -> Segments:
    """Segments of Panoptic FPN.

    Args:
        masks: bool (H, W) of each detection at image size, best first; processed one after the other.
        labels: class labels of the detections.
        scores: scores of the detections, in descending order.
        semantic: logits, float32 (1 + S, H, W): all things as one class, then each stuff class.
        num_things: number of thing classes: the label of the first stuff class.
        overlap_threshold: fraction of a detection above which its overlap with better ones suppresses it.
        stuff_area: minimum stuff area in pixels; smaller stuff becomes void.
        score_threshold: minimum score of a detection.
    """
    ids = np.zeros(semantic.shape[1:], np.int32)
    segments: list[dict[str, Any]] = []
    for mask, label, score in zip(masks, labels, scores, strict=True):
        if score < score_threshold:
            continue
        free, area = mask & (ids == 0), int(mask.sum())
        if area and (area - int(free.sum())) / area <= overlap_threshold:
            number = len(segments) + 1
            segments.append({"id": number, "label": int(label), "is_thing": True, "score": float(score)})
            ids[free] = number
    classes = np.where(ids == 0, semantic.argmax(0), 0)
    for label in range(1, len(semantic)):
        pixels = classes == label
        if pixels.any() and pixels.sum() >= stuff_area:
            segments.append({"id": len(segments) + 1, "label": num_things + label - 1, "is_thing": False})
            ids[pixels] = len(segments)
    return ids, segments


def group_pixels(
    semantic: Floats,
    centers: Floats,
    offsets: Floats,
    *,
    things: Sequence[int],
    threshold: float = 0.1,
    nms_kernel: int = 7,
    top_k: int = 200,
    stuff_area: int = 2048,
) -> Segments:
    """Segments of Panoptic-DeepLab.

    Args:
        semantic: logits, float32 (C, H, W), before the softmax.
        centers: centre heatmap, float32 (1, H, W).
        offsets: float32 (2, H, W): vertical and horizontal offset from each pixel to the centre of its thing, in
            pixels.
        things: labels of the thing classes.
        threshold: minimum height of a centre in the heatmap.
        nms_kernel: side of the square in which a centre must be the maximum, in pixels; odd.
        top_k: maximum number of centres; ties with the lowest of them are dropped, as published.
        stuff_area: minimum stuff area in pixels; smaller stuff becomes void.
    """
    classes = semantic.argmax(0)
    is_thing = np.isin(classes, list(things))
    points = _centers(centers[0], threshold, nms_kernel, top_k)
    ids = np.zeros(classes.shape, np.int32)
    segments: list[dict[str, Any]] = []
    if len(points):
        nearest = np.where(is_thing, _nearest(points, offsets) + 1, 0)
        sure = _softmax(semantic)
        for number in range(1, len(points) + 1):
            pixels = nearest == number
            if pixels.any():
                label = int(np.bincount(classes[pixels], minlength=len(semantic)).argmax())
                rows, columns = np.nonzero(pixels)
                peak = centers[0, rows.sum() // len(rows), columns.sum() // len(columns)]
                score = float(sure[label][pixels].sum(dtype=np.float32) / np.float32(len(rows)) * peak)
                segments.append({"id": len(segments) + 1, "label": label, "is_thing": label in things, "score": score})
                ids[pixels] = len(segments)
    for label in range(len(semantic)):
        pixels = (classes == label) & (ids == 0)
        if label not in things and (classes == label).sum() >= max(stuff_area, 1) and pixels.any():
            segments.append({"id": len(segments) + 1, "label": label, "is_thing": False})
            ids[pixels] = len(segments)
    return ids, segments


def _centers(height: Floats, threshold: float, kernel: int, most: int) -> NDArray[np.int64]:
    """The highest peaks: y and x, int64 (K, 2), best first."""
    heights = np.where(height > threshold, height, -1.0)
    highest = _window_max(_window_max(heights, kernel, 0), kernel, 1)
    peaks = np.where(heights == highest, heights, -1.0).ravel()
    order = np.argsort(-peaks, kind="stable")[: min(most, peaks.size)]
    order = order[peaks[order] > max(peaks[order[-1]], 0)]
    return np.stack(np.unravel_index(order, height.shape), axis=1)


def _window_max(values: Floats, kernel: int, axis: int) -> Floats:
    padding = [(0, 0), (0, 0)]
    padding[axis] = (kernel // 2, kernel // 2)
    padded = np.pad(values, padding, constant_values=-np.inf)
    largest: Floats = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axis).max(axis=-1)
    return largest


def _nearest(points: NDArray[np.int64], offsets: Floats) -> NDArray[np.int64]:
    """Index of the point (K, 2) nearest to the target of each pixel, (H, W)."""
    height, width = offsets.shape[1:]
    middle = np.array([height // 2, width // 2])
    pixels = (points - middle).astype(np.float32)
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in (height, width)), indexing="ij")).astype(np.float32)
    places = (grid + offsets).reshape(2, -1).T
    constant = (pixels**2).sum(1)
    step = max(1, _CHUNK // len(pixels))
    parts = [(constant - 2 * places[i : i + step] @ pixels.T).argmin(1) for i in range(0, len(places), step)]
    return np.concatenate(parts).reshape(height, width)


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(0))
    return raised / raised.sum(0)
