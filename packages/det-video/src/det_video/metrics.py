"""Metrics of tracking: MOTA (CLEAR MOT, 2008), IDF1 (Ristani et al., 2016) and HOTA (Luiten et al., 2021)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from det_video.mot import Tracks
from det_video.tracking.assignment import iou_matrix

__all__ = ["mot_metrics"]

Array = NDArray[np.float64]
_Index = NDArray[np.int64]
_EPSILON = float(np.finfo(float).eps)
_ALPHAS = np.arange(1, 20) / 20


@dataclass(frozen=True, eq=False)
class _Frame:
    """Ground truth and predictions of one frame: numbers of the tracks, from 0, and IoU (N, M)."""

    actual: _Index
    predicted: _Index
    overlaps: Array


def mot_metrics(ground_truth: Tracks, predictions: Tracks, iou: float = 0.5) -> dict[str, float]:
    """Metrics of a film, or of several by `det_video.mot.concatenate`.

    Args:
        ground_truth: annotated tracks of the video.
        predictions: the predicted tracks; each box needs an id of its own in its frame.
        iou: minimum of a match for MOTA and IDF1; HOTA takes 0.05 to 0.95.

    Returns:
        "HOTA", "DetA", "AssA", "LocA", "MOTA", "MOTP", "IDF1", "IDP", "IDR", fractions, and the counts "IDSW",
        "Frag", "FP", "FN", "MT" (mostly tracked, above 80 % of the frames), "ML" (mostly lost, below 20 %).

    Raises:
        DataError: there is no ground truth, or predictions have no ids.
    """
    if not len(ground_truth):
        raise DataError("ground_truth", "holds no boxes", fix="MOTA and HOTA need at least one")
    if (predictions.ids < 0).any():
        raise DataError("predictions", "have no ids", fix="predict with --track")
    frames, counts = _frames(ground_truth, predictions)
    return {**_hota(frames, *counts), **_clear(frames, counts[0], iou), **_identity(frames, *counts, iou)}


def _frames(ground_truth: Tracks, predictions: Tracks) -> tuple[list[_Frame], tuple[_Index, _Index]]:
    """Each frame with boxes, and how many boxes each track has."""
    both = []
    counts = []
    for tracks in (ground_truth, predictions):
        ids, numbers, count = np.unique(tracks.ids, return_inverse=True, return_counts=True)
        order = np.argsort(tracks.frames, kind="stable")
        both.append((tracks.frames[order], numbers.reshape(-1)[order].astype(np.int64), tracks.boxes[order]))
        counts.append(count.astype(np.int64) if len(ids) else np.zeros(0, np.int64))

    def parts(frame: int) -> Iterator[tuple[_Index, Array]]:
        for times, numbers, boxes in both:
            window = slice(*np.searchsorted(times, [frame, frame + 1]))
            yield numbers[window], boxes[window]

    frames = []
    for frame in np.union1d(both[0][0], both[1][0]):
        (actual, first), (predicted, second) = parts(int(frame))
        frames.append(_Frame(actual, predicted, iou_matrix(first, second)))
    return frames, (counts[0], counts[1])


def _clear(frames: list[_Frame], counts: _Index, iou: float) -> dict[str, float]:
    """MOTA, MOTP and their counts: matches of the frame before are kept where they still overlap enough."""
    last, current = (np.full(len(counts), -1, np.int64) for _ in range(2))  # track matched last, and in this frame
    matched_frames, segments = np.zeros(len(counts)), np.zeros(len(counts))
    true_positives = false_positives = switches = 0
    overlap = 0.0
    for frame in frames:
        if not len(frame.actual) or not len(frame.predicted):
            false_positives += len(frame.predicted)
            continue
        values = 1000.0 * (current[frame.actual][:, None] == frame.predicted) + frame.overlaps
        values[frame.overlaps < iou - _EPSILON] = 0
        rows, columns = linear_sum_assignment(values, maximize=True)
        valid = values[rows, columns] > _EPSILON
        rows, columns = rows[valid], columns[valid]
        actual, predicted = frame.actual[rows], frame.predicted[columns]
        switches += int(((last[actual] >= 0) & (last[actual] != predicted)).sum())
        matched_frames[actual] += 1
        segments[actual[current[actual] < 0]] += 1
        last[actual] = predicted
        current[:] = -1
        current[actual] = predicted
        true_positives += len(rows)
        false_positives += len(frame.predicted) - len(rows)
        overlap += float(frame.overlaps[rows, columns].sum())
    total = int(counts.sum())
    share = matched_frames / counts
    return {
        "MOTA": (true_positives - false_positives - switches) / total,
        "MOTP": overlap / max(1, true_positives),
        "IDSW": switches,
        "Frag": int(np.clip(segments - 1, 0, None).sum()),
        "FP": false_positives,
        "FN": total - true_positives,
        "MT": int((share > 0.8).sum()),
        "ML": int((share < 0.2).sum()),
    }


def _identity(frames: list[_Frame], actual: _Index, predicted: _Index, iou: float) -> dict[str, float]:
    """IDF1 and its precision and recall: each ground-truth track has one predicted track at most in the whole film."""
    together = np.zeros((len(actual), len(predicted)))
    for frame in frames:
        together[np.ix_(frame.actual, frame.predicted)] += frame.overlaps >= iou
    rows, columns = linear_sum_assignment(together, maximize=True)
    matched = float(together[rows, columns].sum())
    return {
        "IDF1": 2 * matched / max(1, actual.sum() + predicted.sum()),
        "IDP": matched / max(1, predicted.sum()),
        "IDR": matched / max(1, actual.sum()),
    }


def _hota(frames: list[_Frame], actual: _Index, predicted: _Index) -> dict[str, float]:
    """HOTA and its parts, the mean over the localization thresholds."""
    alignment = np.zeros((len(actual), len(predicted)))
    for frame in frames:
        rest = frame.overlaps.sum(0, keepdims=True) + frame.overlaps.sum(1, keepdims=True) - frame.overlaps
        share = np.divide(frame.overlaps, rest, out=np.zeros_like(rest), where=rest > _EPSILON)
        alignment[np.ix_(frame.actual, frame.predicted)] += share
    alignment /= np.maximum(actual[:, None] + predicted[None] - alignment, _EPSILON)
    pairs = [np.zeros((0, 3))]
    for frame in frames:
        values = alignment[np.ix_(frame.actual, frame.predicted)] * frame.overlaps
        rows, columns = linear_sum_assignment(values, maximize=True)
        pairs.append(np.stack([frame.actual[rows], frame.predicted[columns], frame.overlaps[rows, columns]], 1))
    first, second, reached = np.concatenate(pairs).T
    keys = first.astype(np.int64) * max(1, len(predicted)) + second.astype(np.int64)
    detection, association, location = np.zeros((3, len(_ALPHAS)))
    for place, alpha in enumerate(_ALPHAS):
        valid = reached >= alpha - _EPSILON
        matched = int(valid.sum())
        tracks, count = np.unique(keys[valid], return_counts=True)
        lengths = actual[tracks // max(1, len(predicted))] + predicted[tracks % max(1, len(predicted))]
        detection[place] = matched / (actual.sum() + predicted.sum() - matched)
        association[place] = (count * (count / (lengths - count))).sum() / max(1, matched)
        location[place] = reached[valid].sum() / matched if matched else 1.0
    return {
        "HOTA": float(np.sqrt(detection * association).mean()),
        "DetA": float(detection.mean()),
        "AssA": float(association.mean()),
        "LocA": float(location.mean()),
    }
