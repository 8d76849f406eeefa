"""Confusion matrix, precision-recall curves and totals of models."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_inspect.analysis.error_kinds import IGNORED, average_precision
from det_inspect.view.assessment import ALL_KINDS, Table
from det_inspect.view.comparison import BACKGROUND, Comparison, Thresholds, is_pair, pairs_of
from det_inspect.view.picture_set import PictureSet

__all__ = ["confusion", "curves", "totals"]

_CLASSES, _CURVES, _POINTS = 30, 10, 200
_IGNORED = ALL_KINDS.index(IGNORED)


def confusion(comparison: Comparison, pictures: PictureSet, thresholds: Thresholds) -> dict[str, Any]:
    """Confusion matrix of the most frequent classes, with a last row and column of the background, -1.

    Returns:
        {"labels": [L], "counts": [L][L]}: objects in rows, detections in columns; missed objects in the last column,
        detections of the background in the last row.
    """
    table, crowd = comparison.table(thresholds), comparison.crowd(thresholds)
    counted = np.bincount(pictures.label[table.predicted[pictures.picture]], minlength=len(pictures.classes))
    labels = np.argsort(-counted, kind="stable")[:_CLASSES].tolist()
    true, predicted = pairs_of(table, pictures)
    rows = is_pair(table) & (table.score >= thresholds.score)
    missed = table.missed(pictures, crowd, thresholds.score)
    count = len(pictures.classes) + 1  # the background, -1, is the last
    matrix = np.zeros((count, count), np.int64)
    np.add.at(matrix, (true[rows], predicted[rows]), 1)
    matrix[:, BACKGROUND] += np.bincount(pictures.label[missed], minlength=count)
    ordered = [*labels, BACKGROUND]
    return {"labels": ordered, "counts": matrix[np.ix_(ordered, ordered)].tolist()}


def curves(comparison: Comparison, pictures: PictureSet, thresholds: Thresholds) -> list[dict[str, Any]]:
    """Precision-recall curves of the most frequent classes at the IoU.

    Returns:
        For each {"label", "objects", "ap", "points": [[recall, precision, score], ...]}; precision is the best one at
        this recall or a higher one, as in COCO's AP.
    """
    table, counts = comparison.table(thresholds), _objects(comparison, pictures, thresholds)
    result = []
    for label in np.argsort(-counts, kind="stable")[:_CURVES].tolist():
        rows = (table.label == label) & (table.kind != _IGNORED)
        scores, right = table.score[rows], table.kind[rows] == 0
        objects = int(counts[label])
        if not objects:
            continue
        points = _points(scores, right, objects)
        ap = round(average_precision(scores, right, objects), 4)
        result.append({"label": label, "objects": objects, "ap": ap, "points": points})
    return result


def totals(comparison: Comparison, pictures: PictureSet, thresholds: Thresholds) -> list[dict[str, Any]]:
    """For each model mean AP over classes at the IoU, the score threshold with the best F1, and counts of kinds."""
    result = []
    for model, assessment in enumerate(comparison.assessments):
        single = Thresholds(thresholds.score, thresholds.iou, model)
        table, counts = comparison.table(single), _objects(comparison, pictures, single)
        rows = table.kind != _IGNORED
        values = [
            average_precision(table.score[mask], table.kind[mask] == 0, int(counts[label]))
            for label in np.flatnonzero(counts)
            if len(mask := rows & (table.label == label))
        ]
        result.append(
            {
                "name": assessment.predictions.name,
                "ap": round(float(np.mean(values)), 4) if values else None,
                "best_score": _best_score(table, rows, int(counts.sum())),
                "kinds": comparison.kinds(single),
            }
        )
    return result


def _objects(comparison: Comparison, pictures: PictureSet, thresholds: Thresholds) -> NDArray[np.int64]:
    """How many objects, crowds aside, the predicted pictures have of each class."""
    table, crowd = comparison.table(thresholds), comparison.crowd(thresholds)
    rows = table.predicted[pictures.picture] & ~crowd
    return np.bincount(pictures.label[rows], minlength=len(pictures.classes))


def _points(scores: NDArray[np.float64], right: NDArray[np.bool_], objects: int) -> list[list[float]]:
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    recall, precision = hits / objects, hits / np.arange(1, len(hits) + 1)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    points: list[list[float]] = np.stack([recall, envelope, scores[order]], 1).round(4).tolist()
    points = [[0.0, *points[0][1:]], *points] if points else []
    return points[:: max(1, len(points) // _POINTS)] + points[-1:]


def _best_score(table: Table, rows: NDArray[np.bool_], objects: int) -> float | None:
    scores, right = table.score[rows], table.kind[rows] == 0
    if not len(scores):
        return None
    order = np.argsort(-scores, kind="stable")
    balance = 2 * np.cumsum(right[order]) / (np.arange(1, len(order) + 1) + objects)
    return round(float(scores[order][balance.argmax()]), 4)
