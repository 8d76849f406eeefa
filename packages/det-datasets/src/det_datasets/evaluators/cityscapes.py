"""Mask AP of Cityscapes (Cordts et al., 2016)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from det_core.errors import DataError
from det_core.evaluation.coco_results import encode_masks
from det_core.evaluation.per_image import PerImage, detections_and_targets
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

__all__ = ["CityscapesEvaluator"]

_THRESHOLDS = np.arange(0.5, 1.0, 0.05)
_MIN_PIXELS = 100
Floats = NDArray[np.float64]


class CityscapesEvaluator(PerImage["_Image"]):
    """Mask AP as defined by Cityscapes.

    A detection matches an object of its class if their IoU exceeds a threshold, 0.5 to 0.95; of several matches the
    best is the true positive. An unmatched one is ignored if more of it than the threshold lies on crowds of its class,
    on objects of its class under 100 pixels and on unlabelled pixels ("cityscapes/void").

    Args:
        classes: names of the classes; the label is the index.

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)
        self.notes: dict[str, str] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no ground truth, its image was added before, or there are no masks to compare.
            StructureError: the prediction is not of this image.
        """
        self.require_new(sample)
        detections, targets = detections_and_targets(prediction, sample)
        for objects, what in ((targets, "ground truth"), (detections, "prediction")):
            if objects.masks is None and len(objects):
                raise DataError(f"image {sample.id}", f"its {what} has no masks to compare")
        target_rles, detection_rles = (
            [] if each.masks is None else _bytes(encode_masks(each.masks, each.boxes, sample.size))
            for each in (targets, detections)
        )
        void = targets.image_extras.get("cityscapes/void")
        hidden = [] if void is None else _bytes(encode_masks(void[None].cpu(), targets.boxes[:0], sample.size))
        areas = np.array([coco_mask.area(rle) for rle in detection_rles], np.float64)
        crowd = np.zeros(len(targets), np.bool_) if targets.crowd is None else targets.crowd.cpu().numpy().copy()
        self._images[sample.id] = _Image(
            labels=detections.labels.cpu().numpy().copy(),
            scores=detections.scores.detach().cpu().numpy().astype(np.float64),
            areas=areas,
            true_labels=targets.labels.cpu().numpy().copy(),
            true_areas=np.array([coco_mask.area(rle) for rle in target_rles], np.float64),
            crowd=crowd,
            shared=_shared(detection_rles, target_rles, areas),
            void=_shared(detection_rles, hidden, areas).sum(1),
        )

    def result(self) -> dict[str, float]:
        """{"segm/AP": the mean over thresholds and classes, "segm/AP50", "segm/AP/NAME"}, all in [0, 1].

        Classes without objects to detect are left out, with an entry in `notes`.
        """
        self.notes = {}
        table: dict[str, Floats] = {}
        for label, name in enumerate(self.classes):
            values = self._class(label)
            if values is None:
                self.notes[f"segm/AP/{name}"] = f"the ground truth has no object of class {name!r}"
            else:
                table[name] = values
        if not table:
            self.notes["segm/AP"] = "the ground truth has no object" if self._images else "no image was evaluated"
            return {}
        whole = np.array(list(table.values()))
        metrics = {"segm/AP": float(whole.mean()), "segm/AP50": float(whole[:, 0].mean())}
        return metrics | {f"segm/AP/{name}": float(values.mean()) for name, values in table.items()}

    def _class(self, label: int) -> Floats | None:
        """AP of a class at each threshold; None without objects to detect."""
        images = [self._images[image_id].of_class(label) for image_id in self.image_ids]
        if not any(image.counted.any() for image in images):
            return None
        return np.array([_average_precision(images, threshold) for threshold in _THRESHOLDS])


class _Image(NamedTuple):
    """One image: D detections and G objects, with areas and intersections in pixels."""

    labels: NDArray[np.int64]
    scores: Floats
    areas: Floats
    true_labels: NDArray[np.int64]
    true_areas: Floats
    crowd: NDArray[np.bool_]
    shared: Floats  # (D, G)
    void: Floats  # (D,): unlabelled pixels of each detection

    def of_class(self, label: int) -> "_Image":
        """The entries of one class; detections without pixels are dropped."""
        selected, true = (self.labels == label) & (self.areas > 0), self.true_labels == label
        detections = (self.labels[selected], self.scores[selected], self.areas[selected])
        objects = (self.true_labels[true], self.true_areas[true], self.crowd[true])
        return _Image(*detections, *objects, self.shared[selected][:, true], self.void[selected])

    @property
    def counted(self) -> NDArray[np.bool_]:
        """Mask of the objects to detect."""
        return ~self.crowd & (self.true_areas >= _MIN_PIXELS)

    def matched(self, threshold: float) -> tuple[list[float], list[float], int]:
        """Scores of true and of false positives, and the number of false negatives."""
        union = self.areas[:, None] + self.true_areas - self.shared
        matches = self.shared / np.maximum(union, 1) > threshold
        right: list[float] = []
        wrong: list[float] = []
        for column in np.flatnonzero(self.counted):
            best = sorted(self.scores[matches[:, column]].tolist(), reverse=True)
            right += best[:1]
            wrong += best[1:]
        ignored = self.void + self.shared[:, self.crowd].sum(1)
        ignored = ignored + self.shared[:, self.true_areas < _MIN_PIXELS].sum(1)
        unmatched = ~matches.any(1) & (ignored / np.maximum(self.areas, 1) <= threshold)
        return right, wrong + self.scores[unmatched].tolist(), int(self.counted.sum()) - len(right)


def _average_precision(images: Sequence[_Image], threshold: float) -> float:
    """Area under the precision-recall curve, each point of which stands for half a step to either side."""
    matched = [image.matched(threshold) for image in images]
    right = np.array([score for scores, _, _ in matched for score in scores])
    wrong = np.array([score for _, scores, _ in matched for score in scores])
    missed = sum(count for _, _, count in matched)
    levels = np.unique(np.concatenate((right, wrong)))
    hits = np.array([(right >= level).sum() for level in levels], np.float64)
    alarms = np.array([(wrong >= level).sum() for level in levels], np.float64)
    # By increasing score: the last point, without detections, has precision 1.
    precision = np.append(hits / np.maximum(hits + alarms, 1), 1.0)
    recall = np.append(hits / (len(right) + missed), 0.0)
    around = np.concatenate((recall[:1], recall, [0.0]))
    return float((precision * (around[:-2] - around[2:]) / 2).sum())


def _bytes(rles: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"size": rle["size"], "counts": rle["counts"].encode()} for rle in rles]


def _shared(detections: Sequence[Any], others: Sequence[Any], areas: Floats) -> Floats:
    """Intersection of each detection with each other mask in pixels, (D, G)."""
    if not detections or not others:
        return np.zeros((len(detections), len(others)))
    # For crowds pycocotools gives the fraction of the detection inside.
    shares: Floats = coco_mask.iou(list(detections), list(others), [1] * len(others))
    return np.rint(shares * areas[:, None])
