"""Average precision as PASCAL VOC defines it (Everingham et al., 2010)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from det_core.errors import StructureError
from det_core.evaluation.per_image import PerImage, detections_and_truth
from det_core.ops import boxes as box_ops
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray

__all__ = ["VocEvaluator", "average_precision"]

_THRESHOLDS = tuple(round(0.5 + 0.05 * step, 2) for step in range(10))
Floats = NDArray[np.float64]


class VocEvaluator(PerImage["_Image"]):
    """Average precision of boxes by the rules of PASCAL VOC.

    Best first, each detection is compared with the true box of its class that it overlaps most, and is right if their
    overlap exceeds the threshold and no better one took that box. Objects marked as difficult (the extra
    "voc/difficult", or crowds) neither count nor harm. Unlike the official tool, scores and boxes are not rounded.

    Args:
        classes: the name of each label.
        eleven_points: take the mean precision at eleven recalls, as VOC did until 2009 and published figures for VOC
            2007 do; otherwise the area under the whole curve.

    Attributes:
        notes: why a figure is not there, by its key; made by `result`.
    """

    def __init__(self, classes: Sequence[str], eleven_points: bool = True) -> None:
        super().__init__()
        self.classes, self.eleven_points = tuple(classes), eleven_points
        self.notes: dict[str, str] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no truth, or its id was there before.
            StructureError: the prediction is not of this image or these classes, or holds numbers that are not finite.
        """
        where = f"image {sample.id}"
        self.require_new(sample)
        guess, truth = detections_and_truth(prediction, sample)
        for objects, what in ((truth, "truth"), (guess, "prediction")):
            if objects.boxes.shape[1] != 4:
                raise StructureError(where, f"its {what} has rotated boxes", fix="this evaluator is for upright ones")
            labels = objects.labels
            if len(labels) and not 0 <= int(labels.min()) <= int(labels.max()) < len(self.classes):
                raise StructureError(where, f"its {what} has a label without a class", f"{labels.tolist()[:8]}")
        if not (bool(guess.boxes.isfinite().all()) and bool(guess.scores.isfinite().all())):
            raise StructureError(where, "its prediction holds numbers that are not finite")
        ignored = np.zeros(len(truth), np.bool_)
        for flags in (truth.crowd, truth.extras.get("voc/difficult")):
            if flags is not None:
                ignored |= flags.cpu().numpy().astype(np.bool_)
        overlaps = box_ops.iou(guess.boxes.cpu().double(), truth.boxes.cpu().double()).numpy()
        self._images[sample.id] = _Image(
            overlaps, guess.labels.cpu().numpy(), guess.scores.cpu().numpy(), truth.labels.cpu().numpy(), ignored
        )

    def result(self) -> dict[str, float]:
        """{"voc/AP": the mean over overlaps of 0.5 to 0.95, "voc/AP50", "voc/AP75", "voc/AP50/NAME"}, all in [0, 1].

        A class without an object to find is left out of the means, and `notes` says so.
        """
        self.notes = {}
        known: dict[str, list[float]] = {}
        for label, name in enumerate(self.classes):
            curves = self._class(label)
            if curves is None:
                self.notes[f"voc/AP50/{name}"] = f"the truth holds no object of class {name!r}"
            else:
                known[name] = curves
        if not known:
            self.notes["voc/AP"] = "the truth holds no object" if self._images else "no image was judged"
            return {}
        table = np.array(list(known.values()))
        figures = {
            "voc/AP": float(table.mean()),
            "voc/AP50": float(table[:, _THRESHOLDS.index(0.5)].mean()),
            "voc/AP75": float(table[:, _THRESHOLDS.index(0.75)].mean()),
        }
        return figures | {f"voc/AP50/{name}": values[0] for name, values in known.items()}

    def _class(self, label: int) -> list[float] | None:
        """The average precision of a class at each threshold; None if there is no object to find."""
        images = [self._images[key] for key in self.image_ids]
        wanted = sum(int((~image.ignored[image.true_labels == label]).sum()) for image in images)
        if not wanted:
            return None
        scores = np.concatenate([image.scores[image.labels == label] for image in images])
        order = np.argsort(-scores, kind="stable")
        values = []
        for threshold in _THRESHOLDS:
            right = np.concatenate([image.judged(label, threshold) for image in images])[order]
            found, wrong = np.cumsum(right == 1), np.cumsum(right == -1)
            precision = found / np.maximum(found + wrong, 1)
            values.append(average_precision(found / wanted, precision, self.eleven_points))
        return values


class _Image(NamedTuple):
    """One image: the overlaps (D, N) of detections and objects, and what is known of either."""

    overlaps: Floats
    labels: NDArray[np.int64]
    scores: NDArray[np.float32]
    true_labels: NDArray[np.int64]
    ignored: NDArray[np.bool_]

    def judged(self, label: int, threshold: float) -> NDArray[np.int64]:
        """Of each detection of a class, in their order: 1 right, -1 wrong, 0 neither."""
        own, true = self.labels == label, self.true_labels == label
        overlaps, ignored, scores = self.overlaps[own][:, true], self.ignored[true], self.scores[own]
        judged = np.full(len(overlaps), -1, np.int64)
        if not true.any():
            return judged
        nearest = overlaps.argmax(1)
        taken = np.zeros(len(ignored), np.bool_)
        for row in np.argsort(-scores, kind="stable"):
            column = nearest[row]
            if overlaps[row, column] > threshold:
                judged[row] = 0 if ignored[column] else -1 if taken[column] else 1
                taken[column] = True
        return judged


def average_precision(recall: Floats, precision: Floats, eleven_points: bool) -> float:
    """The area under a curve of growing recall, whose precision is the best from there on; or its eleven-point mean."""
    if eleven_points:
        best = [precision[recall >= least].max(initial=0.0) for least in np.arange(0.0, 1.1, 0.1)]
        return float(np.mean(best))
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float((np.diff(recall, prepend=0.0) * envelope).sum())
