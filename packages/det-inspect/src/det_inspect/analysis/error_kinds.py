"""Error types of detections, and the AP50 cost of each type (TIDE: Bolya et al., 2020).

A detection that matches no object of its class at an IoU of 0.5 has one of five error types, by the object that
it overlaps most: of `classification` (at least 0.5 with an object of another class), of `localisation` (0.1 to 0.5 with
one of its class), of `both` (0.1 to 0.5 with one of another class), a `duplicate` (of an object that a better detection
found), or `background` (no object overlaps it by more than 0.1). An object that is neither found nor meant by an error
of classification or localisation is `missed`. What a kind costs is what AP50 would gain if all of its errors were put
right: classes and boxes corrected, the others taken away, missed objects not asked for.

No torch is needed here.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from det_inspect.analysis.image_records import Floats, ImageRecord, overlaps

__all__ = ["KINDS", "ErrorCosts", "Judged", "average_precision", "classify_errors", "error_costs"]

KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")
RIGHT, IGNORED = "right", "ignored"
_FOREGROUND, _BACKGROUND, _LIMIT = 0.5, 0.1, 100
_RECALLS = np.linspace(0, 1, 101)


class Judged(NamedTuple):
    """One image: its best detections of each class, by falling score, and its objects.

    Attributes:
        rows: int64 (D,): which of the image's detections these are.
        kinds: text (D,): "right", "ignored" (in a crowd), or the kind of error.
        meant: int64 (D,): index of the matched object, or of the object that an error concerns; -1 if none.
        missed: bool (G,): objects without a matching detection.
        lost: bool (G,): those of them that count as missed, because no error is about them.
    """

    rows: NDArray[np.int64]
    kinds: NDArray[np.str_]
    meant: NDArray[np.int64]
    missed: NDArray[np.bool_]
    lost: NDArray[np.bool_]


@dataclass(frozen=True)
class ErrorCosts:
    """The balance of all images.

    Attributes:
        ap50: the mean over classes, in [0, 1], as COCO has it; None if there is no object.
        costs: of each kind, the AP50 it costs; {} if there is no object.
        counts: of each kind, how many errors there are.
    """

    ap50: float | None
    costs: Mapping[str, float]
    counts: Mapping[str, int]

    def as_json(self) -> dict[str, Any]:
        """{kind: {"count", "costs"}}; a cost is None if there is no object."""
        return {kind: {"count": count, "costs": self.costs.get(kind)} for kind, count in self.counts.items()}


def classify_errors(seen: ImageRecord, limit: int = _LIMIT, foreground: float = _FOREGROUND) -> Judged:
    """Match the detections of an image as COCO does at the IoU `foreground`, and classify the errors of the others.

    Of each class the best `limit` detections count.
    """
    rows = _best(seen, limit)
    found, truth = seen.found.take(rows), seen.truth
    shared = overlaps(found, truth) if seen.shared is None else seen.shared[rows]
    same = found.labels[:, None] == truth.labels
    kinds = np.full(len(rows), RIGHT, "<U14")
    meant = np.full(len(rows), -1, np.int64)
    taken = truth.crowd.copy()  # a crowd is never matched
    open_crowds = truth.crowd.copy()
    for row in range(len(rows)):
        free = np.where(same[row] & ~taken, shared[row], -1.0)
        if len(free) and free.max() >= foreground:
            meant[row] = len(free) - 1 - free[::-1].argmax()  # of equal ones the last, as pycocotools
            taken[meant[row]] = True
        elif (shared[row][same[row] & open_crowds] >= foreground).any():
            kinds[row] = IGNORED
            if seen.once is not None:
                inside = np.where(same[row] & open_crowds, shared[row], -1.0)
                place = len(inside) - 1 - inside[::-1].argmax()
                open_crowds[place] &= not seen.once[place]
        else:
            kinds[row] = ""
    single = ~truth.crowd
    for row in np.flatnonzero(kinds == "").tolist():
        kinds[row], meant[row] = _error(shared[row], same[row] & single, ~same[row] & single, foreground)
    missed = ~taken
    lost = missed.copy()
    lost[meant[np.isin(kinds, KINDS[:2])]] = False
    return Judged(rows, kinds, meant, missed, lost)


def _best(seen: ImageRecord, limit: int) -> NDArray[np.int64]:
    """The detections that count, by falling score."""
    order = np.argsort(-seen.found.scores, kind="stable")
    if len(order) <= limit:
        return order
    labels = seen.found.labels[order]
    keep = np.zeros(len(order), np.bool_)
    for label in np.unique(labels):
        keep[np.flatnonzero(labels == label)[:limit]] = True
    return order[keep]


def _error(shared: Floats, same: NDArray[np.bool_], other: NDArray[np.bool_], foreground: float) -> tuple[str, int]:
    """The kind of a wrong detection, and the object it is about."""
    own, foreign = (np.where(which, shared, -1.0) for which in (same, other))
    best_own, best_foreign = own.max(initial=-1.0), foreign.max(initial=-1.0)
    if _BACKGROUND <= best_own < foreground:
        return "localisation", int(own.argmax())
    if best_foreign >= foreground:
        return "classification", int(foreign.argmax())
    if best_own >= foreground:
        return "duplicate", int(own.argmax())
    if best_foreign >= _BACKGROUND:
        return "both", int(foreign.argmax())
    return "background", -1


def error_costs(images: Sequence[ImageRecord], judged: Sequence[Judged], num_classes: int) -> ErrorCosts:
    """AP50 cost of each error type; `judged` is the result of `classify_errors` for each image."""
    counts = {kind: int(sum((each.kinds == kind).sum() for each in judged)) for kind in KINDS[:5]}
    counts["missed"] = int(sum(each.lost.sum() for each in judged))
    table = _Table.of(images, judged, num_classes)
    ap50 = table.ap50("")
    costs = {} if ap50 is None else {kind: (table.ap50(kind) or 0.0) - ap50 for kind in KINDS}
    return ErrorCosts(ap50, costs, counts)


class _Table(NamedTuple):
    """All detections, image after image, and how many objects of each class there are."""

    labels: NDArray[np.int64]
    scores: Floats
    kinds: NDArray[np.str_]
    corrected: NDArray[np.int64]  # the label of the object that an error of class or place hides, -1 if it is another's
    wanted: NDArray[np.int64]
    lost: NDArray[np.int64]

    @classmethod
    def of(cls, images: Sequence[ImageRecord], judged: Sequence[Judged], num_classes: int) -> "_Table":
        columns = [_columns(*each) for each in zip(images, judged, strict=True)]
        nothing = (np.zeros(0, np.int64), np.zeros(0), np.zeros(0, "<U14"), np.zeros(0, np.int64))
        joined: list[NDArray[Any]] = [np.concatenate(parts) for parts in zip(nothing, *columns, strict=True)]
        wanted, lost = np.zeros(num_classes, np.int64), np.zeros(num_classes, np.int64)
        for seen, own in zip(images, judged, strict=True):
            wanted += np.bincount(seen.truth.labels[~seen.truth.crowd], minlength=num_classes)
            lost += np.bincount(seen.truth.labels[own.lost], minlength=num_classes)
        labels, scores, kinds, corrected = joined
        return cls(labels, scores, kinds, corrected, wanted, lost)

    def ap50(self, mended: str) -> float | None:
        """AP50 without the errors of type `mended`, with "" the actual AP50; None without any object."""
        right, labels = self.kinds == RIGHT, self.labels
        kept = self.kinds != IGNORED
        if mended in KINDS[:2]:
            hit = (self.kinds == mended) & (self.corrected >= 0)
            right, labels = right | hit, np.where(hit, self.corrected, labels)
            kept &= (self.kinds != mended) | hit
        elif mended:
            kept &= self.kinds != mended
        wanted = self.wanted - self.lost if mended == "missed" else self.wanted
        values = []
        for label in np.flatnonzero(self.wanted):
            own = kept & (labels == label)
            values.append(average_precision(self.scores[own], right[own], int(wanted[label])))
        return float(np.mean(values)) if values else None


def _columns(seen: ImageRecord, own: Judged) -> tuple[NDArray[np.int64], Floats, NDArray[np.str_], NDArray[np.int64]]:
    corrected = np.full(len(own.rows), -1, np.int64)
    about = np.isin(own.kinds, KINDS[:2])
    for row in np.flatnonzero(about):
        # Of several errors about one object only the best becomes right, and none where it is found already.
        if own.missed[own.meant[row]] and not (about[:row] & (own.meant[:row] == own.meant[row])).any():
            corrected[row] = seen.truth.labels[own.meant[row]]
    return seen.found.labels[own.rows], seen.found.scores[own.rows], own.kinds, corrected


def average_precision(scores: Floats, right: NDArray[np.bool_], wanted: int) -> float:
    """Average precision at 101 recalls, as in COCO; 1 if no objects remain."""
    if not wanted:
        return 1.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / wanted, _RECALLS, side="left")
    return float(np.where(places < len(hits), np.append(precision, 0.0)[places], 0.0).mean())


def pairs(images: Sequence[ImageRecord], judged: Sequence[Judged]) -> "Iterator[tuple[int, int]]":
    """(true label, found label) of detections on an object, of missed ones (found -1) and of background (true -1)."""
    for seen, own in zip(images, judged, strict=True):
        for row, kind, meant in zip(own.rows, own.kinds, own.meant, strict=True):
            if kind in (RIGHT, "classification"):
                yield int(seen.truth.labels[meant]), int(seen.found.labels[row])
            elif kind == "background":
                yield -1, int(seen.found.labels[row])
        for label in seen.truth.labels[own.lost]:
            yield int(label), -1
