"""Error types of detections, and the AP50 cost of each type (TIDE: Bolya et al., 2020).

A detection that matches no object of its class at an IoU of 0.5 has one of five error types, by the object that it
overlaps most: of `classification` (at least 0.5 with an object of another class), of `localisation` (0.1 to 0.5 with
one of its class), of `both` (0.1 to 0.5 with one of another class), a `duplicate` (of an object that a better detection
matched), or `background` (no object overlaps it by more than 0.1). An object that is neither matched nor concerned by
an error of classification or localisation is `missed`. The cost of a type is the gain in AP50 if all of its errors were
fixed: classes and boxes corrected, other false positives removed, missed objects ignored.

No torch is needed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from det_inspect.analysis.image_records import Floats, ImageRecord, overlaps

__all__ = ["KINDS", "ErrorCosts", "ImageErrors", "average_precision", "classify_errors", "error_costs"]

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
RIGHT, IGNORED = "right", "ignored"
_FOREGROUND, _BACKGROUND, _LIMIT = 0.5, 0.1, 100
_RECALLS = np.linspace(0, 1, 101)


class ImageErrors(NamedTuple):
    """Error types of the detections of one image, which are sorted by falling score, and its missed objects.

    Attributes:
        rows: int64 (D,): index of each evaluated detection in the image's detections.
        kinds: text (D,): "right", "ignored" (in a crowd), or the error type.
        meant: int64 (D,): index of the matched object, or of the object that an error concerns; -1 if none.
        missed: bool (G,): objects without a matching detection.
        lost: bool (G,): objects that count as errors of type "missed": unmatched, and concerned by no other error.
    """

    rows: NDArray[np.int64]
    kinds: NDArray[np.str_]
    meant: NDArray[np.int64]
    missed: NDArray[np.bool_]
    lost: NDArray[np.bool_]


@dataclass(frozen=True)
class ErrorCosts:
    """Numbers of errors of all images, and their costs.

    Attributes:
        ap50: COCO's AP at an IoU of 0.5, the mean over classes, in [0, 1]; None without ground-truth objects.
        costs: gain in AP50 by error type, if these errors were fixed; {} without ground-truth objects.
        counts: number of errors by error type.
    """

    ap50: float | None
    costs: Mapping[str, float]
    counts: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """{kind: {"count", "costs"}}; a cost is None if there is no object."""
        return {kind: {"count": count, "costs": self.costs.get(kind)} for kind, count in self.counts.items()}


def classify_errors(record: ImageRecord, limit: int = _LIMIT, foreground: float = _FOREGROUND) -> ImageErrors:
    """Match the detections of an image as COCO does, and classify the errors of the others.

    Args:
        record: ground truth and detections of the image.
        limit: maximum number of detections per class, the best ones; 100 as in COCO's evaluation.
        foreground: minimum IoU of a match.
    """
    rows = _best(record, limit)
    detections, objects = record.detections.take(rows), record.ground_truth
    ious = overlaps(detections, objects) if record.ious is None else record.ious[rows]
    same = detections.labels[:, None] == objects.labels
    kinds = np.full(len(rows), RIGHT, "<U14")
    meant = np.full(len(rows), -1, np.int64)
    matched = objects.crowd.copy()  # a crowd is neither matched nor missed
    open_crowds = objects.crowd.copy()
    for row in range(len(rows)):
        free = np.where(same[row] & ~matched, ious[row], -1.0)
        if len(free) and free.max() >= foreground:
            meant[row] = len(free) - 1 - free[::-1].argmax()  # of equal ones the last, as pycocotools
            matched[meant[row]] = True
        elif (ious[row][same[row] & open_crowds] >= foreground).any():
            kinds[row] = IGNORED
            if record.once is not None:
                inside = np.where(same[row] & open_crowds, ious[row], -1.0)
                place = len(inside) - 1 - inside[::-1].argmax()
                open_crowds[place] &= not record.once[place]
        else:
            kinds[row] = ""
    single = ~objects.crowd
    for row in np.flatnonzero(kinds == "").tolist():
        kinds[row], meant[row] = _error(ious[row], same[row] & single, ~same[row] & single, foreground)
    missed = ~matched
    lost = missed.copy()
    lost[meant[np.isin(kinds, KINDS[:2])]] = False
    return ImageErrors(rows, kinds, meant, missed, lost)


def _best(record: ImageRecord, limit: int) -> NDArray[np.int64]:
    """Indices of the evaluated detections, by falling score."""
    order = np.argsort(-record.detections.scores, kind="stable")
    if len(order) <= limit:
        return order
    labels = record.detections.labels[order]
    keep = np.zeros(len(order), np.bool_)
    for label in np.unique(labels):
        keep[np.flatnonzero(labels == label)[:limit]] = True
    return order[keep]


def _error(ious: Floats, same: NDArray[np.bool_], other: NDArray[np.bool_], foreground: float) -> tuple[str, int]:
    """The error type of an unmatched detection, and the index of the object that it concerns."""
    ious_same, ious_other = (np.where(which, ious, -1.0) for which in (same, other))
    best_same, best_other = ious_same.max(initial=-1.0), ious_other.max(initial=-1.0)
    if _BACKGROUND <= best_same < foreground:
        return "localisation", int(ious_same.argmax())
    if best_other >= foreground:
        return "classification", int(ious_other.argmax())
    if best_same >= foreground:
        return "duplicate", int(ious_same.argmax())
    if best_other >= _BACKGROUND:
        return "both", int(ious_other.argmax())
    return "background", -1


def error_costs(images: Sequence[ImageRecord], image_errors: Sequence[ImageErrors], num_classes: int) -> ErrorCosts:
    """AP50 cost of each error type; `image_errors` are those of `classify_errors`, image by image."""
    counts = {kind: int(sum((each.kinds == kind).sum() for each in image_errors)) for kind in KINDS[:5]}
    counts["missed"] = int(sum(each.lost.sum() for each in image_errors))
    table = _Table.of(images, image_errors, num_classes)
    ap50 = table.ap50("")
    costs = {} if ap50 is None else {kind: (table.ap50(kind) or 0.0) - ap50 for kind in KINDS}
    return ErrorCosts(ap50, costs, counts)


class _Table(NamedTuple):
    """All detections, image after image, and how many objects of each class there are."""

    labels: NDArray[np.int64]
    scores: Floats
    kinds: NDArray[np.str_]
    corrected: NDArray[np.int64]  # label of the object that a correction would match; -1 if none
    num_objects: NDArray[np.int64]
    lost: NDArray[np.int64]

    @classmethod
    def of(cls, images: Sequence[ImageRecord], image_errors: Sequence[ImageErrors], num_classes: int) -> "_Table":
        columns = [_columns(*each) for each in zip(images, image_errors, strict=True)]
        nothing = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0, "<U14"), np.zeros(0, np.int64))
        joined: list[NDArray[Any]] = [np.concatenate(parts) for parts in zip(nothing, *columns, strict=True)]
        num_objects, lost = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
        for record, errors in zip(images, image_errors, strict=True):
            num_objects += np.bincount(record.ground_truth.labels[~record.ground_truth.crowd], minlength=num_classes)
            lost += np.bincount(record.ground_truth.labels[errors.lost], minlength=num_classes)
        labels, scores, kinds, corrected = joined
        return cls(labels, scores, kinds, corrected, num_objects, lost)

    def ap50(self, fixed: str) -> float | None:
        """AP50 without the errors of type `fixed`, with "" the actual AP50; None without any object."""
        right, labels = self.kinds == RIGHT, self.labels
        counted = self.kinds != IGNORED
        if fixed in KINDS[:2]:
            hit = (self.kinds == fixed) & (self.corrected >= 0)
            right, labels = right | hit, np.where(hit, self.corrected, labels)
            counted &= (self.kinds != fixed) | hit
        elif fixed:
            counted &= self.kinds != fixed
        num_objects = self.num_objects - self.lost if fixed == "missed" else self.num_objects
        values = []
        for label in np.flatnonzero(self.num_objects):
            of_class = counted & (labels == label)
            values.append(average_precision(self.scores[of_class], right[of_class], int(num_objects[label])))
        return float(np.mean(values)) if values else None


def _columns(
    record: ImageRecord, errors: ImageErrors
) -> tuple[NDArray[np.int64], Floats, NDArray[np.str_], NDArray[np.int64]]:
    corrected = np.full(len(errors.rows), -1, np.int64)
    about = np.isin(errors.kinds, KINDS[:2])
    for row in np.flatnonzero(about):
        # Of several errors about one object only the best becomes right, and none if it is matched already.
        if errors.missed[errors.meant[row]] and not (about[:row] & (errors.meant[:row] == errors.meant[row])).any():
            corrected[row] = record.ground_truth.labels[errors.meant[row]]
    return record.detections.labels[errors.rows], record.detections.scores[errors.rows], errors.kinds, corrected


def average_precision(scores: Floats, right: NDArray[np.bool_], num_objects: int) -> float:
    """Average precision at 101 recalls, as in COCO; 1 if no objects remain."""
    if not num_objects:
        return 1.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / num_objects, _RECALLS, side="left")
    return float(np.where(places < len(hits), np.append(precision, 0.0)[places], 0.0).mean())


def pairs(images: Sequence[ImageRecord], image_errors: Sequence[ImageErrors]) -> "Iterator[tuple[int, int]]":
    """(ground-truth label, predicted label) of matches and class confusions; -1 for background, on either side."""
    for record, errors in zip(images, image_errors, strict=True):
        for row, kind, meant in zip(errors.rows, errors.kinds, errors.meant, strict=True):
            if kind in (RIGHT, "classification"):
                yield int(record.ground_truth.labels[meant]), int(record.detections.labels[row])
            elif kind == "background":
                yield -1, int(record.detections.labels[row])
        for label in record.ground_truth.labels[errors.lost]:
            yield int(label), -1
