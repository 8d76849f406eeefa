"""How many objects proposals cover."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation.per_image import PerImage
from det_core.ops import boxes as box_ops
from det_core.structures import Prediction, Sample

__all__ = ["ProposalRecall"]

_THRESHOLDS = np.arange(0.5, 0.95 + 1e-5, 0.05)
_SIZES = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
_NAMES = {"": "", "s": "small ", "m": "medium ", "l": "large "}


class ProposalRecall(PerImage["_Image"]):
    """The share of objects that the best proposals cover, whatever their class: the mean over overlaps of 0.5 to 0.95.

    Objects and proposals are paired one to one, those that overlap most first. Crowds do not count. Sizes are the areas
    as annotated, up to 32 x 32, up to 96 x 96, and above.

    Args:
        classes: the name of each label.
        limits: how many proposals of an image count, the best first.

    Attributes:
        notes: why a figure is not there, by its key; made by `result`.
    """

    def __init__(self, classes: Sequence[str], limits: Sequence[int] = (100, 1000)) -> None:
        super().__init__()
        if not limits or min(limits) < 1:
            raise ConfigError("limits", "must be at least one number from 1 on", f"got {list(limits)}")
        self.classes, self.limits = tuple(classes), tuple(limits)
        self.notes: dict[str, str] = {}

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image.

        Raises:
            DataError: the sample has no truth, or was there before.
            StructureError: the prediction has no proposals, or either side has rotated boxes.
        """
        self.require_new(sample)
        where, truth, found = f"image {sample.id}", sample.targets, prediction.proposals
        if truth is None:
            raise DataError(where, "has no annotations to judge by", fix="evaluate on a dataset that has them")
        if found is None:
            raise StructureError(
                where, "its prediction has no proposals", fix="this evaluator is for proposal networks"
            )
        if truth.boxes.shape[1] != 4 or found.boxes.shape[1] != 4:
            raise StructureError(where, "has rotated boxes", fix="this evaluator is for upright ones")
        truth = truth.without_crowd()
        areas = box_ops.area(truth.boxes) if truth.areas is None else truth.areas
        order = torch.argsort(found.logits, descending=True, stable=True)[: max(self.limits)]
        overlaps = box_ops.iou(truth.boxes.cpu().float(), found.boxes[order].detach().cpu().float()).numpy()
        pixels = areas.cpu().double().numpy()
        covered = {
            (limit, size): _covered(overlaps[_of_size(pixels, size)][:, :limit])
            for limit in self.limits
            for size in _SIZES
        }
        self._images[sample.id] = _Image(covered)

    def result(self) -> dict[str, float]:
        """{"proposals/AR@100", "proposals/ARs@100", "ARm@100", "ARl@100"} and so for each limit, all in [0, 1]."""
        self.notes = {}
        figures: dict[str, float] = {}
        for limit in self.limits:
            for size in _SIZES:
                name = f"proposals/AR{size}@{limit}"
                best = np.concatenate([np.zeros(0), *(each.covered[limit, size] for each in self._images.values())])
                if len(best):
                    figures[name] = float((best[:, None] >= _THRESHOLDS).mean())
                else:
                    missing = f"the truth holds no {_NAMES[size]}object"
                    self.notes[name] = missing if self._images else "no image was judged"
        return figures


class _Image(NamedTuple):
    """Of each limit and size, the overlap of each object with the proposal that it is paired with."""

    covered: dict[tuple[int, str], NDArray[np.float32]]


def _of_size(areas: NDArray[np.float64], size: str) -> NDArray[np.bool_]:
    least, most = _SIZES[size]
    return np.asarray((areas >= least) & (areas <= most))


def _covered(overlaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The overlap of each object (G,) with its proposal; (G, P), greatest first, one to one, 0 where none is left."""
    left = overlaps.copy()
    best = np.zeros(len(left), np.float32)
    for place in range(min(left.shape)):
        row, column = np.unravel_index(left.argmax(), left.shape)
        best[place] = left[row, column]
        left[row], left[:, column] = -1.0, -1.0
    return best
