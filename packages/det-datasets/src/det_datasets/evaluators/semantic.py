"""Mean IoU of semantic segmentation."""

from collections.abc import Sequence

import numpy as np
import torch
from det_core.errors import DataError, StructureError
from det_core.evaluation.per_image import PerImage
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray

__all__ = ["MeanIoU"]

_UNKNOWN = 255
# Of one image: the occurring values of ground-truth class x number of classes + predicted class, and pixel counts.
_Confusion = tuple[NDArray[np.int64], NDArray[np.int64]]


class MeanIoU(PerImage[_Confusion]):
    """IoU of the pixels of each class over all images; unlabelled pixels are ignored.

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
            DataError: the sample has no semantic map, or its image was added before.
            StructureError: the prediction has none, or one of another size or number of classes.
        """
        where, count = f"image {sample.id}", len(self.classes)
        self.require_new(sample)
        if sample.targets is None or sample.targets.semantic is None:
            raise DataError(where, "has no semantic map to evaluate on", fix="evaluate on a dataset that has one")
        if prediction.semantic is None:
            raise StructureError(where, "its prediction has no semantic map", fix="use a model that segments")
        logits, ground_truth = prediction.semantic.logits, sample.targets.semantic
        if logits.shape != (count, *sample.size):
            found = f"{tuple(logits.shape)} instead of {(count, *sample.size)}"
            raise StructureError(where, "its semantic map has another shape", found)
        labelled = ground_truth != _UNKNOWN
        pairs = (ground_truth[labelled] * count + logits.argmax(0).to(ground_truth.device)[labelled]).cpu()
        cells, pixels = torch.unique(pairs, return_counts=True)
        self._images[sample.id] = cells.numpy(), pixels.numpy()

    def result(self) -> dict[str, float]:
        """{"semantic/mIoU", "semantic/fwIoU", "semantic/mACC", "semantic/pACC", "semantic/IoU/NAME"}, all in [0, 1].

        fwIoU weights classes by their pixels; mACC is the mean recall of classes, pACC the fraction of correct pixels.
        Classes without ground-truth pixels are left out of the means, with an entry in `notes`.
        """
        self.notes = {}
        count = len(self.classes)
        confusion = np.zeros(count * count, np.int64)
        for cells, pixels in self._images.values():
            confusion[cells] += pixels
        table = confusion.reshape(count, count)
        right, true, called = np.diag(table), table.sum(1), table.sum(0)
        there = true > 0
        if not there.any():
            self.notes = {"semantic/mIoU": "no labelled pixel was evaluated"}
            return {}
        overlap = right[there] / (true + called - right)[there]
        metrics = {
            "semantic/mIoU": float(overlap.mean()),
            "semantic/fwIoU": float((overlap * true[there]).sum() / true.sum()),
            "semantic/mACC": float((right[there] / true[there]).mean()),
            "semantic/pACC": float(right.sum() / true.sum()),
        }
        values = iter(overlap.tolist())
        for name, present in zip(self.classes, there, strict=True):
            if present:
                metrics[f"semantic/IoU/{name}"] = next(values)
            else:
                self.notes[f"semantic/IoU/{name}"] = f"the ground truth has no pixel of class {name!r}"
        return metrics
