"""How well the class of each pixel is told."""

from collections.abc import Sequence

import numpy as np
import torch
from det_core.errors import DataError, StructureError
from det_core.evaluation.per_image import PerImage
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray

__all__ = ["MeanIoU"]

_UNKNOWN = 255
# Of one image: the pairs (true class x number of classes + predicted class) that occur, and in how many pixels.
_Confusion = tuple[NDArray[np.int64], NDArray[np.int64]]


class MeanIoU(PerImage[_Confusion]):
    """Overlaps of true and predicted pixels of each class, over all images; pixels of unknown class do not count.

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
            DataError: the sample has no classes of pixels, or was there before.
            StructureError: the prediction has none, or is of another size or number of classes.
        """
        where, count = f"image {sample.id}", len(self.classes)
        self.require_new(sample)
        if sample.targets is None or sample.targets.semantic is None:
            raise DataError(where, "has no classes of pixels to judge by", fix="evaluate on a dataset that has them")
        if prediction.semantic is None:
            raise StructureError(where, "its prediction has no semantic map", fix="use a model that segments")
        logits, truth = prediction.semantic.logits, sample.targets.semantic
        if logits.shape != (count, *sample.size):
            found = f"{tuple(logits.shape)} instead of {(count, *sample.size)}"
            raise StructureError(where, "its semantic map has another shape", found)
        known = truth != _UNKNOWN
        pairs = (truth[known] * count + logits.argmax(0).to(truth.device)[known]).cpu()
        cells, pixels = torch.unique(pairs, return_counts=True)
        self._images[sample.id] = cells.numpy(), pixels.numpy()

    def result(self) -> dict[str, float]:
        """{"semantic/mIoU", "semantic/fwIoU", "semantic/mACC", "semantic/pACC", "semantic/IoU/NAME"}, all in [0, 1].

        fwIoU weights classes by their pixels; mACC is the mean share of a class that is found, pACC that of all pixels.
        A class without a true pixel is left out of the means, and `notes` says so.
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
            self.notes = {"semantic/mIoU": "no pixel of a known class was judged"}
            return {}
        overlap = right[there] / (true + called - right)[there]
        figures = {
            "semantic/mIoU": float(overlap.mean()),
            "semantic/fwIoU": float((overlap * true[there]).sum() / true.sum()),
            "semantic/mACC": float((right[there] / true[there]).mean()),
            "semantic/pACC": float(right.sum() / true.sum()),
        }
        values = iter(overlap.tolist())
        for name, known in zip(self.classes, there, strict=True):
            if known:
                figures[f"semantic/IoU/{name}"] = next(values)
            else:
                self.notes[f"semantic/IoU/{name}"] = f"the truth holds no pixel of class {name!r}"
        return figures
