"""Records ground truth and detections of each image during an evaluation; imports no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from det_core.evaluation.per_image import PerImage

from det_inspect.analysis.error_analysis import ErrorAnalysis, analyze_errors
from det_inspect.analysis.image_records import ImageRecord, Objects

if TYPE_CHECKING:
    from det_core.structures import Detections, Prediction, Sample, Targets
    from torch import Tensor

__all__ = ["DetectionRecorder"]


class DetectionRecorder(PerImage[ImageRecord]):
    """An evaluator without metrics, which records the boxes of each image; `error_analysis` analyzes them.

    Images without ground truth, without detections or with rotated boxes are skipped.

    Args:
        classes: names of the classes; the label is the index.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)

    def update(self, prediction: "Prediction", sample: "Sample") -> None:
        """Add one image."""
        targets, detections = sample.targets, prediction.detections
        if targets is None or detections is None:
            return
        if targets.boxes.shape[1] == detections.boxes.shape[1] == 4:
            file = "" if sample.path is None else str(sample.path)
            self._images[sample.id] = ImageRecord(sample.id, sample.size, _objects(targets), _objects(detections), file)

    def result(self) -> dict[str, float]:
        """No metrics."""
        return {}

    def error_analysis(self) -> ErrorAnalysis | None:
        """The error analysis of the recorded images; None if there is none."""
        images = [self._images[image_id] for image_id in self.image_ids]
        return analyze_errors(images, self.classes) if images else None


def _objects(source: "Targets | Detections") -> Objects:
    crowd, scores = getattr(source, "crowd", None), getattr(source, "scores", None)
    count = len(source)
    return Objects(
        boxes=_array(source.boxes).astype(np.float64),
        labels=_array(source.labels),
        scores=np.ones(count) if scores is None else _array(scores).astype(np.float64),
        crowd=np.zeros(count, np.bool_) if crowd is None else _array(crowd),
    )


def _array(tensor: "Tensor") -> np.ndarray[Any, Any]:
    # A copy, so that neither the image's memory nor a graph is kept alive.
    return tensor.detach().cpu().numpy().copy()
