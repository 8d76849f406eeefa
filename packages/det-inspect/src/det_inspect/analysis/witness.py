"""Keeps the boxes of each image while a model is evaluated. No torch is needed here."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from det_core.evaluation.per_image import PerImage

from det_inspect.analysis.diagnosis import Diagnosis, diagnose
from det_inspect.analysis.evidence import Objects, Seen

if TYPE_CHECKING:
    from det_core.structures import Detections, Prediction, Sample, Targets
    from torch import Tensor

__all__ = ["Witness"]


class Witness(PerImage[Seen]):
    """An evaluator without figures of its own: it keeps the boxes of each image, and `diagnosis` looks at them.

    Images without truth, without detections or with rotated boxes are left out.

    Args:
        classes: the name of each label.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        self.classes = tuple(classes)

    def update(self, prediction: "Prediction", sample: "Sample") -> None:
        """Add one image."""
        truth, found = sample.targets, prediction.detections
        if truth is not None and found is not None and truth.boxes.shape[1] == found.boxes.shape[1] == 4:
            file = "" if sample.path is None else str(sample.path)
            self._images[sample.id] = Seen(sample.id, sample.size, _objects(truth), _objects(found), file)

    def result(self) -> dict[str, float]:
        """Nothing."""
        return {}

    def diagnosis(self) -> Diagnosis | None:
        """What is to be said of the images added so far; None if there is none."""
        images = [self._images[image_id] for image_id in self.image_ids]
        return diagnose(images, self.classes) if images else None


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
