"""Matched and wrong detections of a model, and missed objects, at an IoU; scores are applied afterwards."""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from det_inspect.analysis.error_kinds import IGNORED, KINDS, RIGHT, classify_errors
from det_inspect.analysis.image_records import Floats, ImageRecord, Objects
from det_inspect.view.picture_set import PictureSet
from det_inspect.view.predictions import Detection, Predictions

__all__ = ["ALL_KINDS", "Assessment", "Table"]

ALL_KINDS = (RIGHT, *KINDS, IGNORED)
_MISSED = ALL_KINDS.index("missed")
_MEET = (0, ALL_KINDS.index("classification"))
_IOUS = 4  # tables that are stored


class Table(NamedTuple):
    """Detections of all predicted pictures as columns.

    A detection keeps its kind at any score threshold, because better detections are matched before it.

    Attributes:
        picture: index of the picture, int64 (D,).
        label: label of the detection, int64 (D,).
        score: score of the detection, float64 (D,).
        kind: int64 (D,): index in `ALL_KINDS`.
        object: int64 (D,): row of the matched or concerned object in the set, -1 without.
        predicted: bool (P,): pictures that have been predicted.
    """

    picture: NDArray[np.int64]
    label: NDArray[np.int64]
    score: Floats
    kind: NDArray[np.int64]
    object: NDArray[np.int64]
    predicted: NDArray[np.bool_]

    def missed(self, pictures: PictureSet, crowd: NDArray[np.bool_], score: float) -> NDArray[np.bool_]:
        """Objects of predicted pictures, bool (N,), without a detection on them, right or of another class."""
        meeting = np.isin(self.kind, _MEET) & (self.score >= score) & (self.object >= 0)
        missed = self.predicted[pictures.picture] & ~crowd
        missed[self.object[meeting]] = False
        return missed

    def wrong(self, score: float) -> NDArray[np.bool_]:
        """Detections above a score that are errors, bool (D,)."""
        return (self.kind > 0) & (self.kind < _MISSED) & (self.score >= score)


class Assessment:
    """The kinds of a model's detections, computed once for each picture and IoU.

    Args:
        pictures: pictures with their ground truth.
        predictions: the detections, which may grow.
    """

    def __init__(self, pictures: PictureSet, predictions: Predictions) -> None:
        self._set, self.predictions = pictures, predictions
        self.crowd = np.array([each.get("iscrowd") == 1 for each in pictures.records], np.bool_)
        self._lock = threading.Lock()
        self._columns: OrderedDict[float, dict[int, tuple[Any, ...]]] = OrderedDict()
        self._tables: dict[float, tuple[int, Table]] = {}

    def table(self, iou: float) -> Table:
        """All detections so far, matched at an IoU."""
        iou = round(iou, 2)
        with self._lock:
            version = self.predictions.version
            if iou in self._tables and self._tables[iou][0] == version:
                return self._tables[iou][1]
            columns = self._columns.setdefault(iou, {})
            self._columns.move_to_end(iou)
            if len(self._columns) > _IOUS:
                oldest, _ = self._columns.popitem(last=False)
                self._tables.pop(oldest, None)
            by_picture = dict(self.predictions.by_picture)
            for picture, detections in by_picture.items():
                if picture not in columns:
                    columns[picture] = self._assess(picture, detections, iou)
            table = self._joined(columns)
            self._tables[iou] = version, table
            return table

    def of_picture(self, picture: int, iou: float) -> tuple[Sequence[Detection], NDArray[np.int64], NDArray[np.int64]]:
        """Detections of a picture, with the kind and the object of each; empty if it is not predicted."""
        detections = self.predictions.by_picture.get(picture, ())
        columns = self._of_picture(picture, iou)
        return detections, columns[3], columns[4]

    def counts(self, picture: int, rows: NDArray[np.int64], iou: float, score: float) -> tuple[int, int]:
        """Number of wrong detections and of missed objects of a picture whose objects are `rows`."""
        if picture not in self.predictions.by_picture:
            return 0, 0
        _, _, scores, kinds, objects = self._of_picture(picture, iou)
        passing = scores >= score
        wrong = passing & (kinds > 0) & (kinds < _MISSED)
        met = set(objects[passing & np.isin(kinds, _MEET)].tolist())
        return int(wrong.sum()), sum(int(row) not in met for row in rows if not self.crowd[row])

    def _of_picture(self, picture: int, iou: float) -> tuple[Any, ...]:
        """The columns of one picture, without waiting for those of others."""
        stored = self._columns.get(round(iou, 2), {}).get(picture)
        detections = self.predictions.by_picture.get(picture, ())
        return self._assess(picture, detections, round(iou, 2)) if stored is None else stored

    def _assess(self, picture: int, detections: Sequence[Detection], iou: float) -> tuple[Any, ...]:
        rows = self._set.objects_of(picture)
        labels = np.array([each.label for each in detections], np.int64)
        scores = np.array([each.score for each in detections], np.float64)
        kinds = np.full(len(labels), ALL_KINDS.index(IGNORED))
        meant = np.full(len(labels), -1, np.int64)
        if len(labels):
            boxes = [self._set.records[row]["bbox"] for row in rows]
            predicted = [each.record["bbox"] for each in detections]
            shared = _rotated_overlaps(predicted, boxes) if any(len(box) == 5 for box in (*boxes, *predicted)) else None
            objects = Objects(_corners(boxes), self._set.label[rows], np.ones(len(rows)), self.crowd[rows])
            detected = Objects(_corners(predicted), labels, scores, np.zeros(len(labels), np.bool_))
            result = classify_errors(ImageRecord(picture, (0, 0), objects, detected, "", shared), foreground=iou)
            kinds[result.rows] = [ALL_KINDS.index(str(kind)) for kind in result.kinds]
            meant[result.rows] = np.append(rows, -1)[result.meant]
        return np.full(len(labels), picture, np.int64), labels, scores, kinds, meant

    def _joined(self, columns: dict[int, tuple[Any, ...]]) -> Table:
        nothing = (*(np.zeros(0, np.int64),) * 2, np.zeros(0), *(np.zeros(0, np.int64),) * 2)
        parts: list[Any] = [np.concatenate(each) for each in zip(nothing, *columns.values(), strict=True)]
        picture, label, score, kind, concerned = parts
        predicted = np.zeros(len(self._set.pictures), np.bool_)
        predicted[list(columns)] = True
        return Table(picture, label, score, kind, concerned, predicted)


def _corners(boxes: Sequence[Sequence[float]]) -> Floats:
    """x0, y0, x1, y1 of boxes; of rotated ones those around their centers, which overlaps do not use."""
    corners = np.array([box[:4] for box in boxes], np.float64).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


def _rotated_overlaps(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> Floats:
    """IoU (A, B) of boxes, some of which are rotated."""
    import torch
    from det_core.ops import rotated

    first, second = (torch.tensor([_with_angle(box) for box in boxes]).reshape(-1, 5) for boxes in (a, b))
    return np.asarray(rotated.iou(first, second).numpy(), np.float64)


def _with_angle(box: Sequence[float]) -> list[float]:
    if len(box) == 5:
        return [float(value) for value in box]
    x, y, width, height = box
    return [x + width / 2, y + height / 2, float(width), float(height), 0.0]
