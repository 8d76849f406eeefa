"""Proposal recall (AR)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation.per_image import PerImage
from det_core.ops import boxes as box_ops
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray

__all__ = ["ProposalRecall"]

_THRESHOLDS = np.arange(0.5, 0.95 + 1e-5, 0.05)
_SIZES = {"": (0.0, 1e10), "s": (0.0, 32.0**2), "m": (32.0**2, 96.0**2), "l": (96.0**2, 1e10)}
_NAMES = {"": "", "s": "small ", "m": "medium ", "l": "large "}


class ProposalRecall(PerImage["_Image"]):
    """Class-agnostic recall of the best proposals: the mean over IoU thresholds of 0.5 to 0.95.

    Objects and proposals are matched one to one, by descending IoU. Crowds are ignored. Areas are as annotated: up to
    32 x 32 pixels, up to 96 x 96, and above.

    Args:
        classes: names of the classes; the label is the index.
        limits: maximum numbers of proposals per image, by score.

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
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
            DataError: the sample has no ground truth, or its image was added before.
            StructureError: the prediction has no proposals, or there are rotated boxes.
        """
        self.require_new(sample)
        where, targets, proposals = f"image {sample.id}", sample.targets, prediction.proposals
        if targets is None:
            raise DataError(where, "has no annotations to evaluate on", fix="evaluate on a dataset that has them")
        if proposals is None:
            raise StructureError(
                where, "its prediction has no proposals", fix="this evaluator is for proposal networks"
            )
        if targets.boxes.shape[1] != 4 or proposals.boxes.shape[1] != 4:
            raise StructureError(where, "has rotated boxes", fix="this evaluator is for upright ones")
        targets = targets.without_crowd()
        areas = box_ops.area(targets.boxes) if targets.areas is None else targets.areas
        order = torch.argsort(proposals.logits, descending=True, stable=True)[: max(self.limits)]
        overlaps = box_ops.iou(targets.boxes.cpu().float(), proposals.boxes[order].detach().cpu().float()).numpy()
        pixels = areas.cpu().double().numpy()
        covered = {
            (limit, size): _matched_ious(overlaps[_of_size(pixels, size)][:, :limit])
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
                    missing = f"the ground truth has no {_NAMES[size]}object"
                    self.notes[name] = missing if self._images else "no image was evaluated"
        return figures


class _Image(NamedTuple):
    """For each limit and area, the IoU of each object with its matched proposal."""

    covered: dict[tuple[int, str], NDArray[np.float32]]


def _of_size(areas: NDArray[np.float64], size: str) -> NDArray[np.bool_]:
    least, most = _SIZES[size]
    return np.asarray((areas >= least) & (areas <= most))


def _matched_ious(overlaps: NDArray[np.float32]) -> NDArray[np.float32]:
    """The IoU of each object (G,) with its proposal; from (G, P), largest first, one to one, 0 where none is left."""
    left = overlaps.copy()
    best = np.zeros(len(left), np.float32)
    for place in range(min(left.shape)):
        row, column = np.unravel_index(left.argmax(), left.shape)
        best[place] = left[row, column]
        left[row], left[:, column] = -1.0, -1.0
    return best
