"""What follows an exported panoptic model, in NumPy alone: segments from the outputs of its file.

Programs that read det's files elsewhere may copy this module; it imports nothing of det.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Segments", "group_pixels", "join_things"]

Floats = NDArray[np.float32]
Segments = tuple[NDArray[np.int32], list[dict[str, Any]]]
"""The segment of each pixel, int32 (H, W), 0 where none; and of each segment "id", "label", "is_thing", "score"."""

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
        masks: bool (H, W) of each detection in the picture, best first; one is looked at after the other.
        labels: of the detections.
        scores: of the detections, falling.
        semantic: float32 (1 + S, H, W): all things as one class, then each stuff.
        num_things: the label of the first stuff.
        overlap_threshold: a detection is left out if better ones cover more than this share of it.
        stuff_area: stuff of fewer pixels in an image becomes void.
        score_threshold: detections that score less are left out.
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
        own = classes == label
        if own.any() and own.sum() >= stuff_area:
            segments.append({"id": len(segments) + 1, "label": num_things + label - 1, "is_thing": False})
            ids[own] = len(segments)
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
        semantic: float32 (C, H, W), class scores before the softmax.
        centers: float32 (1, H, W), the higher the likelier a center.
        offsets: float32 (2, H, W): how far down and across the center of the pixel's thing is, in pixels.
        things: the labels of things.
        threshold: a center must be higher than this.
        nms_kernel: side of the square in which a center must be the highest, in pixels; odd.
        top_k: centers at most; of those as high as the last of them, none counts, as published.
        stuff_area: stuff of fewer pixels becomes void.
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
            own = nearest == number
            if own.any():
                label = int(np.bincount(classes[own], minlength=len(semantic)).argmax())
                rows, columns = np.nonzero(own)
                peak = centers[0, rows.sum() // len(rows), columns.sum() // len(columns)]
                score = float(sure[label][own].sum(dtype=np.float32) / np.float32(len(rows)) * peak)
                segments.append({"id": len(segments) + 1, "label": label, "is_thing": label in things, "score": score})
                ids[own] = len(segments)
    for label in range(len(semantic)):
        own = (classes == label) & (ids == 0)
        if label not in things and (classes == label).sum() >= max(stuff_area, 1) and own.any():
            segments.append({"id": len(segments) + 1, "label": label, "is_thing": False})
            ids[own] = len(segments)
    return ids, segments


def _centers(height: Floats, threshold: float, kernel: int, most: int) -> NDArray[np.int64]:
    """The highest peaks: y and x, int64 (K, 2), best first."""
    kept = np.where(height > threshold, height, -1.0)
    highest = _window_max(_window_max(kept, kernel, 0), kernel, 1)
    peaks = np.where(kept == highest, kept, -1.0).ravel()
    order = np.argsort(-peaks, kind="stable")[: min(most, peaks.size)]
    order = order[peaks[order] > max(peaks[order[-1]], 0)]
    return np.stack(np.unravel_index(order, height.shape), axis=1)


def _window_max(values: Floats, kernel: int, axis: int) -> Floats:
    padding = [(0, 0), (0, 0)]
    padding[axis] = (kernel // 2, kernel // 2)
    padded = np.pad(values, padding, constant_values=-np.inf)
    found: Floats = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=axis).max(axis=-1)
    return found


def _nearest(points: NDArray[np.int64], offsets: Floats) -> NDArray[np.int64]:
    """Which of the points (K, 2) each pixel points nearest to, (H, W)."""
    height, width = offsets.shape[1:]
    middle = np.array([height // 2, width // 2])
    own = (points - middle).astype(np.float32)
    grid = np.stack(np.meshgrid(*(np.arange(n) - n // 2 for n in (height, width)), indexing="ij")).astype(np.float32)
    places = (grid + offsets).reshape(2, -1).T
    constant = (own**2).sum(1)
    step = max(1, _CHUNK // len(own))
    parts = [(constant - 2 * places[i : i + step] @ own.T).argmin(1) for i in range(0, len(places), step)]
    return np.concatenate(parts).reshape(height, width)


def _softmax(logits: Floats) -> Floats:
    raised = np.exp(logits - logits.max(0))
    return raised / raised.sum(0)
