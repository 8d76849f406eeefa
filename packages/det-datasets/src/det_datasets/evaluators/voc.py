"""Average precision of PASCAL VOC (Everingham et al., 2010)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from det_core.errors import StructureError
from det_core.evaluation.per_image import PerImage, detections_and_targets
from det_core.ops import boxes as box_ops
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray

__all__ = ["VocEvaluator", "average_precision"]

_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
Floats = NDArray[np.float64]


class VocEvaluator(PerImage["_Image"]):
    """Box AP as defined by PASCAL VOC.

    By descending score, each detection is compared with the ground-truth box of its class of highest IoU; it is a true
    positive if that IoU exceeds the threshold and no better detection has matched that box. Difficult objects (the
    extra "voc/difficult", or crowds) are ignored. Unlike in the official tool, scores and boxes are not rounded.

    Args:
        classes: names of the classes; the label is the index.
        eleven_points: whether AP is the mean precision at eleven recalls, as VOC did until 2009 and figures for VOC
            2007 do; otherwise it is the area under the whole curve.

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
    """

    def __init__(self, classes: Sequence[str], eleven_points: bool = True) -> None:
        super().__init__()
        self.classes, self.eleven_points = tuple(classes), eleven_points
        self.notes: dict[str, str] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no ground truth, or its image was added before.
            StructureError: the prediction is not of this image or these classes, or has non-finite values.
        """
        where = f"image {sample.id}"
        self.require_new(sample)
        detections, targets = detections_and_targets(prediction, sample)
        for objects, what in ((targets, "ground truth"), (detections, "prediction")):
            if objects.boxes.shape[1] != 4:
                raise StructureError(where, f"its {what} has rotated boxes", fix="this evaluator is for upright ones")
            labels = objects.labels
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
                raise StructureError(where, f"its {what} has a label without a class", f"{labels.tolist()[:8]}")
        if not (bool(detections.boxes.isfinite().all()) and bool(detections.scores.isfinite().all())):
            raise StructureError(where, "its prediction has non-finite values")
        ignored = np.zeros(len(targets), np.bool_)
        for flags in (targets.crowd, targets.extras.get("voc/difficult")):
            if flags is not None:
                ignored |= flags.cpu().numpy().astype(np.bool_)
        overlaps = box_ops.iou(detections.boxes.cpu().double(), targets.boxes.cpu().double()).numpy()
        self._images[sample.id] = _Image(
            overlaps,
            detections.labels.cpu().numpy(),
            detections.scores.cpu().numpy(),
            targets.labels.cpu().numpy(),
            ignored,
        )

    def result(self) -> dict[str, float]:
        """{"voc/AP": the mean over IoUs of 0.5 to 0.95, "voc/AP50", "voc/AP75", "voc/AP50/NAME"}, all in [0, 1].

        Classes without objects to detect are left out of the means, with an entry in `notes`.
        """
        self.notes = {}
        precisions: dict[str, list[float]] = {}
        for label, name in enumerate(self.classes):
            curves = self._class(label)
            if curves is None:
                self.notes[f"voc/AP50/{name}"] = f"the ground truth has no object of class {name!r}"
            else:
                precisions[name] = curves
        if not precisions:
            self.notes["voc/AP"] = "the ground truth has no object" if self._images else "no image was evaluated"
            return {}
        table = np.array(list(precisions.values()))
        metrics = {
            "voc/AP": float(table.mean()),
            "voc/AP50": float(table[:, _THRESHOLDS.index(0.5)].mean()),
            "voc/AP75": float(table[:, _THRESHOLDS.index(0.75)].mean()),
        }
        return metrics | {f"voc/AP50/{name}": values[0] for name, values in precisions.items()}

    def _class(self, label: int) -> list[float] | None:
        """AP of a class at each threshold; None without objects to detect."""
        images = [self._images[key] for key in self.image_ids]
        count = sum(int((~image.ignored[image.true_labels == label]).sum()) for image in images)
        if not count:
            return None
        scores = np.concatenate([image.scores[image.labels == label] for image in images])
        order = np.argsort(-scores, kind="stable")
        values = []
        for threshold in _THRESHOLDS:
            right = np.concatenate([image.matched(label, threshold) for image in images])[order]
            hits, false_alarms = np.cumsum(right == 1), np.cumsum(right == -1)
            precision = hits / np.maximum(hits + false_alarms, 1)
            values.append(average_precision(hits / count, precision, self.eleven_points))
        return values


class _Image(NamedTuple):
    """One image: IoUs (D, N) of detections and objects, and the attributes of both."""

    overlaps: Floats
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    true_labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]

    def matched(self, label: int, threshold: float) -> NDArray[np.int64]:
        """Result of each detection of a class, in order: 1 true positive, -1 false positive, 0 ignored."""
        selected, true = self.labels == label, self.true_labels == label
        overlaps, ignored, scores = self.overlaps[selected][:, true], self.ignored[true], self.scores[selected]
        results = np.full(len(overlaps), -1, np.int64)
        if not true.any():
            return results
        nearest = overlaps.argmax(1)
        is_matched = np.zeros(len(ignored), np.bool_)
        for row in np.argsort(-scores, kind="stable"):
            column = nearest[row]
            if overlaps[row, column] > threshold:
                results[row] = 0 if ignored[column] else -1 if is_matched[column] else 1
                is_matched[column] = True
        return results


def average_precision(recall: Floats, precision: Floats, eleven_points: bool) -> float:
    """Area under a curve of increasing recall and interpolated precision; or its eleven-point mean."""
    if eleven_points:
        best = [precision[recall >= minimum].max(initial=0.0) for minimum in np.arange(0.0, 1.1, 0.1)]
        return float(np.mean(best))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
