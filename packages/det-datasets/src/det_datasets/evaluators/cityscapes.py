"""Average precision of masks by Cityscapes' own rules (Cordts et al., 2016)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from det_core.errors import DataError
from det_core.evaluation.coco_results import encode_masks
from det_core.evaluation.per_image import PerImage, detections_and_truth
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

__all__ = ["CityscapesEvaluator"]

_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
_LEAST_PIXELS = 100
Floats = NDArray[np.float64]


class CityscapesEvaluator(PerImage["_Image"]):
    """Average precision of masks as Cityscapes has it.

    A detection finds an object of its class if they overlap by more than a threshold, 0.5 to 0.95; of several that do,
    the best is right. One that finds nothing is forgiven if more of it than the threshold lies on crowds of its class,
    on objects of its class under 100 pixels and on what nobody is asked for ("cityscapes/void").

    Args:
        classes: the name of each label.

    Attributes:
        notes: why a figure is not there, by its key; made by `result`.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.notes: dict[str, str] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no truth or its id was there before, or the truth or the prediction has no masks.
            StructureError: the prediction is not of this image.
        """
        self.require_new(sample)
        guess, truth = detections_and_truth(prediction, sample)
        for objects, what in ((truth, "truth"), (guess, "prediction")):
            if objects.masks is None and len(objects):
                raise DataError(f"image {sample.id}", f"its {what} has no masks to compare")
        true, found = (
            [] if each.masks is None else _bytes(encode_masks(each.masks, each.boxes, sample.size))
            for each in (truth, guess)
        )
        void = truth.image_extras.get("cityscapes/void")
        hidden = [] if void is None else _bytes(encode_masks(void[None].cpu(), truth.boxes[:0], sample.size))
        areas = np.array([coco_mask.area(rle) for rle in found], np.float64)
        crowd = np.zeros(len(truth), np.bool_) if truth.crowd is None else truth.crowd.cpu().numpy().copy()
        self._images[sample.id] = _Image(
            labels=guess.labels.cpu().numpy().copy(),
            scores=guess.scores.detach().cpu().numpy().astype(np.float64),
            areas=areas,
            true_labels=truth.labels.cpu().numpy().copy(),
            true_areas=np.array([coco_mask.area(rle) for rle in true], np.float64),
            crowd=crowd,
            shared=_shared(found, true, areas),
            void=_shared(found, hidden, areas).sum(1),
        )

    def result(self) -> dict[str, float]:
        """{"segm/AP": the mean over thresholds and classes, "segm/AP50", "segm/AP/NAME"}, all in [0, 1].

        A class without an object to find is left out, and `notes` says so.
        """
        self.notes = {}
        table: dict[str, Floats] = {}
        for label, name in enumerate(self.classes):
            values = self._class(label)
            if values is None:
                self.notes[f"segm/AP/{name}"] = f"the truth holds no object of class {name!r}"
            else:
                table[name] = values
        if not table:
            self.notes["segm/AP"] = "the truth holds no object" if self._images else "no image was judged"
            return {}
        whole = np.array(list(table.values()))
        figures = {"segm/AP": float(whole.mean()), "segm/AP50": float(whole[:, 0].mean())}
        return figures | {f"segm/AP/{name}": float(values.mean()) for name, values in table.items()}

    def _class(self, label: int) -> Floats | None:
        """The average precision of a class at each threshold; None if there is no object to find."""
        images = [self._images[image_id].of_class(label) for image_id in self.image_ids]
        if not any(image.wanted.any() for image in images):
            return None
        return np.array([_average_precision(images, threshold) for threshold in _THRESHOLDS])


class _Image(NamedTuple):
    """One image: D detections and G objects, areas and what they share in pixels."""

    labels: NDArray[np.int64]
    scores: Floats
    areas: Floats
    true_labels: NDArray[np.int64]
    true_areas: Floats
    crowd: NDArray[np.bool_]
    shared: Floats  # (D, G)
    void: Floats  # (D,): pixels of each detection that nobody is asked for

    def of_class(self, label: int) -> "_Image":
        """What is of one class; detections without a pixel do not count."""
        own, true = (self.labels == label) & (self.areas > 0), self.true_labels == label
        guess = (self.labels[own], self.scores[own], self.areas[own])
        truth = (self.true_labels[true], self.true_areas[true], self.crowd[true])
        return _Image(*guess, *truth, self.shared[own][:, true], self.void[own])

    @property
    def wanted(self) -> NDArray[np.bool_]:
        """The objects to find."""
        return ~self.crowd & (self.true_areas >= _LEAST_PIXELS)

    def judged(self, threshold: float) -> tuple[list[float], list[float], int]:
        """The scores of right and of wrong detections, and how many objects are not found."""
        union = self.areas[:, None] + self.true_areas - self.shared
        found = self.shared / np.maximum(union, 1) > threshold
        right: list[float] = []
        wrong: list[float] = []
        for column in np.flatnonzero(self.wanted):
            best = sorted(self.scores[found[:, column]].tolist(), reverse=True)
            right += best[:1]
            wrong += best[1:]
        forgiven = self.void + self.shared[:, self.crowd].sum(1)
        forgiven = forgiven + self.shared[:, self.true_areas < _LEAST_PIXELS].sum(1)
        lost = ~found.any(1) & (forgiven / np.maximum(self.areas, 1) <= threshold)
        return right, wrong + self.scores[lost].tolist(), int(self.wanted.sum()) - len(right)


def _average_precision(images: Sequence[_Image], threshold: float) -> float:
    """The area under the curve of precision, each point of which stands for half a step to either side."""
    judged = [image.judged(threshold) for image in images]
    right = np.array([score for own, _, _ in judged for score in own])
    wrong = np.array([score for _, own, _ in judged for score in own])
    missed = sum(count for _, _, count in judged)
    levels = np.unique(np.concatenate((right, wrong)))
    hits = np.array([(right >= level).sum() for level in levels], np.float64)
    alarms = np.array([(wrong >= level).sum() for level in levels], np.float64)
    # Growing scores: the last point, of no detection at all, has the precision 1.
    precision = np.append(hits / np.maximum(hits + alarms, 1), 1.0)
    recall = np.append(hits / (len(right) + missed), 0.0)
    around = np.concatenate((recall[:1], recall, [0.0]))
    return float((precision * (around[:-2] - around[2:]) / 2).sum())


def _bytes(rles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"size": rle["size"], "counts": rle["counts"].encode()} for rle in rles]


def _shared(found: Sequence[Any], others: Sequence[Any], areas: Floats) -> Floats:
    """The pixels that each detection shares with each other mask, (D, G)."""
    if not found or not others:
        return np.zeros((len(found), len(others)))
    # Over a crowd pycocotools gives the share of the detection that lies in it.
    shares: Floats = coco_mask.iou(list(found), list(others), [1] * len(others))
    return np.rint(shares * areas[:, None])
