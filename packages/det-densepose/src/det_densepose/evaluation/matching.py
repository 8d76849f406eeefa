"""COCO's matching of detections with ground truth and its averages, with what DensePose adds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["AREAS", "Curves", "ImageClass", "Match", "averages", "curves", "match", "thresholds_from"]

AREAS = {"all": (0.0, 1e10), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Least and largest area of objects in square pixels."""

_TAKES_OVER = 0.8
"""Overlap of boxes from which an unmatched detection takes over whether an object is ignored."""

_RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, eq=False)
class ImageClass:
    """All that scoring needs of the objects of one class in one image; D detections by falling score, G objects.

    Attributes:
        scores: scores of the D detections, float64 (D,).
        areas: float64 (D,): of the detections' boxes.
        box_iou: box IoU of each pair, float64 (D, G).
        similarities: name -> float64 (D, G).
        gt_areas: areas of the G objects in square pixels, float64 (G,).
        ignored: bool (G,): objects that are neither to be detected nor wrong to detect.
        crowd: bool (G,): objects that several detections may match.
    """

    scores: NDArray[np.float64]
    areas: NDArray[np.float64]
    box_iou: NDArray[np.float64]
    similarities: Mapping[str, NDArray[np.float64]]
    gt_areas: NDArray[np.float64]
    ignored: NDArray[np.bool_]
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Match:
    """The outcome of one image, class and range of areas at T thresholds.

    Attributes:
        matched: int64 (T, D): 1 + the row of the matched object, 0 where none.
        ignored: bool (T, D): detections that count neither for nor against.
        gt_ignored: whether each object is ignored, bool (G,).
    """

    matched: NDArray[np.int64]
    ignored: NDArray[np.bool_]
    gt_ignored: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Curves:
    """Precision (T, 101, K, A) and recall (T, K, A) by threshold, recall, class and areas; -1 without objects."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    thresholds: NDArray[np.float64]


def thresholds_from(least: float) -> NDArray[np.float64]:
    """`least`, and on by 0.05 up to 0.95."""
    return np.linspace(least, 0.95, round((0.95 - least) / 0.05) + 1)


def match(image: ImageClass, kind: str, areas: tuple[float, float], thresholds: NDArray[np.float64]) -> Match:
    """Match detections with objects at each threshold of a similarity, as COCO does.

    Beside COCO's rules a similarity of zero matches nothing; and a detection that nothing matches at the last threshold
    but whose box overlaps one that nothing else matches by 0.8 is ignored, at all thresholds, as that object is.
    """
    gt_ignored = image.ignored | (image.gt_areas < areas[0]) | (image.gt_areas > areas[1])
    order = np.argsort(gt_ignored, kind="stable")
    values = image.similarities[kind][:, order]
    ignored_there, crowd = gt_ignored[order], image.crowd[order]
    matched = np.zeros((len(thresholds), len(image.scores)), np.int64)
    ignored = np.zeros(matched.shape, bool)
    for row, threshold in enumerate(thresholds):
        gt_matched = np.zeros(len(order), bool)
        for detection, similarities in enumerate(values):
            best = _best(similarities, float(threshold), gt_matched & ~crowd, ignored_there)
            if best >= 0:
                gt_matched[best] = True
                matched[row, detection] = order[best] + 1
                ignored[row, detection] = ignored_there[best]
    _take_over(image.box_iou[:, order], matched, ignored, order, crowd, ignored_there)
    if gt_ignored.all():  # so too where there is no object at all, as published
        ignored[:] = True
    outside = (image.areas < areas[0]) | (image.areas > areas[1])
    ignored |= (matched == 0) & outside
    return Match(matched, ignored, gt_ignored)


def _take_over(
    near: NDArray[np.float64],
    matched: NDArray[np.int64],
    ignored: NDArray[np.bool_],
    order: NDArray[np.int64],
    crowd: NDArray[np.bool_],
    ignored_there: NDArray[np.bool_],
) -> None:
    """Detections unmatched at the last threshold whose boxes (D, G) lie on a free object are ignored as it is."""
    if not len(order):
        return
    gt_matched = np.isin(order + 1, matched[-1])
    for detection in np.flatnonzero(matched[-1] == 0):
        free = np.where(gt_matched & ~crowd, -1.0, near[detection])
        place = int(free.argmax())
        if free[place] >= _TAKES_OVER:
            ignored[:, detection] = ignored_there[place]
            if ignored_there[place]:
                gt_matched[place] = True
                matched[-1, detection] = order[place] + 1


def _best(
    similarities: NDArray[np.float64], threshold: float, gt_matched: NDArray[np.bool_], ignored: NDArray[np.bool_]
) -> int:
    """The object that a detection matches, or -1: the most similar, the last of equals, ignored ones only for want."""
    good = ~gt_matched & (similarities >= min(threshold, 1 - 1e-10)) & (similarities > 0)
    for group in (good & ~ignored, good & ignored):
        rows = np.flatnonzero(group)
        if len(rows):
            return int(rows[len(rows) - 1 - similarities[rows][::-1].argmax()])
    return -1


def curves(
    images: Sequence[Mapping[int, ImageClass]], num_classes: int, kind: str, thresholds: NDArray[np.float64]
) -> Curves:
    """Precision and recall over all images, each a mapping of classes."""
    shape = (len(thresholds), num_classes, len(AREAS))
    precision, recall = np.full((len(thresholds), len(_RECALLS), *shape[1:]), -1.0), np.full(shape, -1.0)
    for label in range(num_classes):
        class_images = [image[label] for image in images if label in image]
        if not class_images:
            continue
        scores = np.concatenate([each.scores for each in class_images])
        order = np.argsort(-scores, kind="stable")
        for column, areas in enumerate(AREAS.values()):
            matches = [match(each, kind, areas, thresholds) for each in class_images]
            total = sum(int((~each.gt_ignored).sum()) for each in matches)
            if not total:
                continue
            matched = np.concatenate([each.matched for each in matches], 1)[:, order] > 0
            counted = ~np.concatenate([each.ignored for each in matches], 1)[:, order]
            for row in range(len(thresholds)):
                true = np.cumsum(matched[row] & counted[row], dtype=np.float64)
                false = np.cumsum(~matched[row] & counted[row], dtype=np.float64)
                recall[row, label, column] = true[-1] / total if len(true) else 0
                precision[row, :, label, column] = _at_recalls(true, false, total)
    return Curves(precision, recall, thresholds)


def _at_recalls(true: NDArray[np.float64], false: NDArray[np.float64], total: int) -> NDArray[np.float64]:
    """The best precision at each recall or beyond, (101,)."""
    best = np.zeros(len(_RECALLS))
    if len(true):
        precision = true / (true + false + np.spacing(1))
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        place = np.searchsorted(true / total, _RECALLS, side="left")
        inside = place < len(envelope)
        best[inside] = envelope[place[inside]]
    return best


def averages(pr_curves: Curves) -> dict[str, float | None]:
    """AP, AP50, AP75 (and AP20, AP30, AP40 where thresholds start below), APm, APl, and AR likewise; None undefined."""
    metrics: dict[str, float | None] = {"AP": _mean(pr_curves.precision[..., 0])}
    for percent in (20, 30, 40):
        if pr_curves.thresholds[0] <= percent / 100 + 1e-9:
            metrics[f"AP{percent}"] = _mean(pr_curves.precision[_rows(pr_curves, percent), ..., 0])
    for percent in (50, 75):
        metrics[f"AP{percent}"] = _mean(pr_curves.precision[_rows(pr_curves, percent), ..., 0])
    metrics |= {f"AP{name[0]}": _mean(pr_curves.precision[..., n]) for n, name in enumerate(AREAS) if n}
    metrics["AR"] = _mean(pr_curves.recall[..., 0])
    for percent in (50, 75):
        metrics[f"AR{percent}"] = _mean(pr_curves.recall[_rows(pr_curves, percent), ..., 0])
    metrics |= {f"AR{name[0]}": _mean(pr_curves.recall[..., n]) for n, name in enumerate(AREAS) if n}
    return metrics


def _rows(pr_curves: Curves, percent: int) -> NDArray[np.bool_]:
    return np.isclose(pr_curves.thresholds, percent / 100)


def _mean(values: NDArray[np.float64]) -> float | None:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else None
