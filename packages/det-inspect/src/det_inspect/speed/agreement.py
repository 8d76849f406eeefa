"""Agreement between the predictions of two runtimes."""

from collections.abc import Sequence
from dataclasses import dataclass

from det_core.ops.geometry import geometry
from det_core.structures import Detections
from torch import Tensor

__all__ = ["Agreement", "Predicted", "agreement_of"]

_OVERLAP = 0.5

Predicted = Detections | Tensor
"""The detections of an image, or the class of each of its pixels, int64 (H, W)."""


@dataclass(frozen=True)
class Agreement:
    """Comparison of the predictions of two runtimes on the same images.

    Attributes:
        matched: share of the detections of both that have a match, which has the same label and an IoU of at least 0.5;
            1 where both have none. Of semantic maps, the share of pixels with the same class.
        boxes: largest difference of a coordinate of a match, in pixels.
        scores: largest difference of the scores of a match.
    """

    matched: float
    boxes: float = 0.0
    scores: float = 0.0


def agreement_of(expected: Sequence[Predicted], predicted: Sequence[Predicted]) -> Agreement:
    """The agreement over all images; each detection, the best first, takes the free match with the largest overlap."""
    matches, most, boxes, scores = 0, 0, 0.0, 0.0
    for one, other in zip(expected, predicted, strict=True):
        if isinstance(one, Tensor) or isinstance(other, Tensor):
            if isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape:
                matches += 2 * int(one.eq(other).sum())
            most += 2 * (one.numel() if isinstance(one, Tensor) else len(one))
            continue
        most += len(one) + len(other)
        overlaps = geometry(one.boxes.shape[1]).iou(one.boxes, other.boxes)
        overlaps = overlaps * (one.labels[:, None] == other.labels[None])
        for row in one.scores.argsort(descending=True).tolist() if len(other) else ():
            overlap, column = overlaps[row].max(0)
            if overlap < _OVERLAP:
                continue
            matches += 2
            boxes = max(boxes, float((one.boxes[row] - other.boxes[column]).abs().max()))
            scores = max(scores, float((one.scores[row] - other.scores[column]).abs()))
            overlaps[:, column] = 0
    return Agreement(matches / most if most else 1.0, boxes, scores)
