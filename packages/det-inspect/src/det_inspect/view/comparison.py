"""Predictions beside ground truth: filters by kind of error, order by errors, and one picture with its detections."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_inspect.view.assessment import ALL_KINDS, Assessment, Table
from det_inspect.view.picture_set import PictureSet
from det_inspect.view.predictions import Predictions
from det_inspect.view.shapes import shape_of

__all__ = ["BACKGROUND", "Comparison", "Thresholds", "is_pair", "pairs_of"]

_MOST = 1000
BACKGROUND = -1


@dataclass(frozen=True)
class Thresholds:
    """What counts as a detection, and which of them are listed.

    Attributes:
        score: minimum score of shown detections, in [0, 1].
        iou: minimum IoU of a match.
        model: position of the predictions that filters and orders use.
        kind: one of `ALL_KINDS`; "" for any.
        true: label of the object, -1 for background: a row of the confusion matrix; None for any.
        predicted: label of the detection, -1 for missed objects: a column of it; None for any.
    """

    score: float = 0.5
    iou: float = 0.5
    model: int = 0
    kind: str = ""
    true: int | None = None
    predicted: int | None = None


class Comparison:
    """All predictions of a session.

    Args:
        pictures: pictures with their ground truth.
        predictions: predictions of each model, in the order of the page.
    """

    def __init__(self, pictures: PictureSet, predictions: Sequence[Predictions]) -> None:
        self._set = pictures
        self.assessments = [Assessment(pictures, each) for each in predictions]

    def about(self) -> list[dict[str, Any]]:
        """Name, state and notes of each model, the number of its predicted pictures, and whether writers can draw."""
        return [
            {
                "name": each.name,
                "state": each.state,
                "notes": each.notes,
                "pictures": len(each.by_picture),
                "drawable": each.drawable,
            }
            for each in (assessment.predictions for assessment in self.assessments)
        ]

    def mask(self, thresholds: Thresholds, label: int | None) -> NDArray[np.bool_] | None:
        """Pictures with an error, or a pair of classes, that is asked for; None if none is."""
        cell = thresholds.true is not None or thresholds.predicted is not None
        if not self.assessments or not (thresholds.kind or cell):
            return None
        table = self.table(thresholds)
        missed = table.missed(self._set, self.crowd(thresholds), thresholds.score)
        rows = table.score >= thresholds.score
        if thresholds.kind:
            rows &= table.kind == ALL_KINDS.index(thresholds.kind)
            missed &= thresholds.kind == "missed"
        if label is not None and thresholds.kind:
            rows &= table.label == label
            missed &= self._set.label == label
        if cell:
            true, predicted = pairs_of(table, self._set)
            rows &= _is(true, thresholds.true) & _is(predicted, thresholds.predicted) & is_pair(table)
            missed &= _is(self._set.label, thresholds.true) & (thresholds.predicted in (None, BACKGROUND))
        listed = np.zeros(len(self._set.pictures), np.bool_)
        listed[table.picture[rows]] = True
        listed[self._set.picture[missed]] = True
        return listed

    def errors(self, thresholds: Thresholds) -> NDArray[np.float64]:
        """How bad each picture is, float64 (P,): missed objects, and wrong detections by their scores."""
        table = self.table(thresholds)
        missed = table.missed(self._set, self.crowd(thresholds), thresholds.score)
        wrong, count = table.wrong(thresholds.score), len(self._set.pictures)
        costs = np.bincount(table.picture[wrong], table.score[wrong].clip(0, 1), minlength=count)
        return np.asarray(costs + np.bincount(self._set.picture[missed], minlength=count), np.float64)

    def differences(self, thresholds: Thresholds) -> NDArray[np.float64]:
        """How much worse the first model is than the second in each picture, float64 (P,); negative if it is better."""
        first, second = (self.errors(_of(thresholds, model)) for model in (0, min(1, len(self.assessments) - 1)))
        return first - second

    def counts(self, picture: int, thresholds: Thresholds) -> list[tuple[int, int]]:
        """For each model the number of wrong detections and of missed objects of one picture."""
        rows = self._set.objects_of(picture)
        return [each.counts(picture, rows, thresholds.iou, thresholds.score) for each in self.assessments]

    def kinds(self, thresholds: Thresholds) -> dict[str, int]:
        """How many detections there are of each kind, and missed objects."""
        table = self.table(thresholds)
        numbers = np.bincount(table.kind[table.score >= thresholds.score], minlength=len(ALL_KINDS)).tolist()
        counts = dict(zip(ALL_KINDS, numbers, strict=True))
        counts["missed"] = int(table.missed(self._set, self.crowd(thresholds), thresholds.score).sum())
        return {kind: count for kind, count in counts.items() if count}

    def details(self, picture: int, iou: float) -> list[dict[str, Any]]:
        """Detections of each model in one picture, with kinds and objects; the page applies the score."""
        size = self._set.pictures[picture].size
        panels = []
        for assessment in self.assessments:
            detections, kinds, objects = assessment.of_picture(picture, iou)
            listed = [
                {
                    "row": row,
                    "label": each.label,
                    "score": round(each.score, 4),
                    "kind": ALL_KINDS[int(kinds[row])],
                    "object": int(objects[row]),
                    **shape_of(each.record, size),
                }
                for row, each in enumerate(detections[:_MOST])
            ]
            predicted = picture in assessment.predictions.by_picture
            panels.append({"name": assessment.predictions.name, "predicted": predicted, "detections": listed})
        return panels

    def table(self, thresholds: Thresholds) -> Table:
        """Detections of the chosen model."""
        return self.assessments[self._model(thresholds)].table(thresholds.iou)

    def _model(self, thresholds: Thresholds) -> int:
        return min(thresholds.model, len(self.assessments) - 1)

    def crowd(self, thresholds: Thresholds) -> NDArray[np.bool_]:
        """Objects that are crowds, bool (N,)."""
        return self.assessments[self._model(thresholds)].crowd


def pairs_of(table: Table, pictures: PictureSet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Label of the object and of the detection, int64 (D,) each; -1 is the background."""
    return np.append(pictures.label, BACKGROUND)[table.object], table.label


def is_pair(table: Table) -> NDArray[np.bool_]:
    """Detections that the confusion matrix counts: right, of another class, or of the background."""
    return np.isin(table.kind, [ALL_KINDS.index(kind) for kind in ("right", "classification", "background")])


def _is(labels: NDArray[np.int64], label: int | None) -> NDArray[np.bool_]:
    return np.ones(len(labels), np.bool_) if label is None else labels == label


def _of(thresholds: Thresholds, model: int) -> Thresholds:
    return Thresholds(thresholds.score, thresholds.iou, model)
