"""How well the outlines of masks are found (Cheng et al., "Boundary IoU: improving object-centric image segmentation
evaluation", 2021)."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from det_core.errors import ConfigError
from det_core.evaluation import CocoEvaluator
from det_core.evaluation.coco_results import decode_masks
from det_core.evaluation.curves import curves
from det_core.evaluation.figures import mean
from det_core.structures import Prediction, Sample
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torch.nn import functional as F

__all__ = ["BoundaryEvaluator", "boundaries"]

_OVERLAPS = {"AP50": 0, "AP75": 5, "AP90": 8}
_FOUND = 0.5


class BoundaryEvaluator:
    """Compares what of true and predicted masks lies near their own outlines.

    The inside of a large mask is easily right, and hides in its overlap what the outline lacks. Here an overlap is that
    of the whole masks or that of their boundaries, whichever is less.

    Args:
        classes: the name of each label.
        width: of the boundary, as a share of the image's diagonal; at least one pixel.
        max_detections: how many detections of an image count, per class, the best first.

    Attributes:
        notes: why a figure is not there, by its key; made by `result`.
    """

    def __init__(self, classes: Sequence[str], width: float = 0.02, max_detections: int = 100) -> None:
        if not 0 < width <= 1:
            raise ConfigError("BoundaryEvaluator.width", "must be above 0 and up to 1", f"got {width}")
        self.classes, self.width, self.limit = tuple(classes), width, max_detections
        self.notes: dict[str, str] = {}
        self._masks = CocoEvaluator(classes, ["segm"], max_detections)

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image; errors are those of `det_core.evaluation.CocoEvaluator`, as for masks."""
        self._masks.update(prediction, sample)

    def state(self) -> Any:
        """The images added so far."""
        return self._masks.state()

    def merge(self, states: Sequence[Any]) -> None:
        """Take the images of all processes."""
        self._masks.merge(states)

    def result(self) -> dict[str, float]:
        """{"boundary/AP", "boundary/AP50", "boundary/AP75", "boundary/AP90", "boundary/IoU", "boundary/mask_AP90"}.

        All in [0, 1]. IoU is the mean overlap of boundaries over the objects that are found: those that overlap a
        detection, each another, by half. mask_AP90 is that of whole masks. What cannot be told is left out, and `notes`
        says so.
        """
        self.notes = {}
        overlaps = _Overlaps(self.width)
        truth, found = self._masks.tables("segm")
        near = curves(truth, found, "segm", [self.limit], overlaps=overlaps).precision[:, :, :, 0, -1]
        whole = curves(truth, found, "segm", [self.limit]).precision[:, :, :, 0, -1]
        values = {"AP": mean(near), **{name: mean(near[place]) for name, place in _OVERLAPS.items()}}
        values["IoU"] = float(np.mean(overlaps.of_found)) if overlaps.of_found else None
        values["mask_AP90"] = mean(whole[_OVERLAPS["AP90"]])
        for name, value in values.items():
            if value is None:
                self.notes[f"boundary/{name}"] = "no object was found" if name == "IoU" else "no object was there"
        return {f"boundary/{name}": value for name, value in values.items() if value is not None}


class _Overlaps:
    """What stands in for pycocotools' overlaps; it keeps those of the boundaries of objects that are found."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.of_found: list[float] = []

    def __call__(self, judge: Any, image_id: Any, category_id: Any) -> "NDArray[np.float64] | list[Any]":
        """Overlaps (D, G) of the best detections of one image and class with its objects; [] without either."""
        objects, found = judge._gts[image_id, category_id], judge._dts[image_id, category_id]
        if not objects or not found:
            return []
        found = sorted(found, key=lambda record: -record["score"])[: judge.params.maxDets[-1]]
        crowd = [int(record["iscrowd"]) for record in objects]
        whole = coco_mask.iou(*([each["segmentation"] for each in some] for some in (found, objects)), crowd)
        near = coco_mask.iou(*(self._boundaries(some) for some in (found, objects)), crowd)
        self._keep(whole, near, np.array(crowd, bool))
        least: NDArray[np.float64] = np.minimum(whole, near)
        return least

    def _boundaries(self, records: Sequence[Mapping[str, Any]]) -> Any:
        """What is near the outline of each mask, as RLE."""
        rles = [each["segmentation"] for each in records]
        height, width = rles[0]["size"]
        near = boundaries(decode_masks(rles, (height, width)), max(1, round(self.width * math.hypot(height, width))))
        return coco_mask.encode(np.asfortranarray(near.permute(1, 2, 0).to(torch.uint8).numpy()))

    def _keep(self, whole: NDArray[np.float64], near: NDArray[np.float64], crowd: NDArray[np.bool_]) -> None:
        left = np.where(crowd, -1.0, whole)
        for row in range(len(left)):
            column = int(left[row].argmax())
            if left[row, column] >= _FOUND:
                self.of_found.append(float(near[row, column]))
                left[:, column] = -1


def boundaries(masks: Tensor, distance: int) -> Tensor:
    """The pixels of each mask, bool (N, H, W), within `distance` of one that is not in it or of the image's edge."""
    if not masks.numel():
        return masks
    outside = F.pad((~masks[:, None]).float(), [distance] * 4, value=1.0)
    side = 2 * distance + 1
    # A square's maximum is that of a row and of a column.
    reached = F.max_pool2d(F.max_pool2d(outside, (1, side), stride=1), (side, 1), stride=1)
    return masks & (reached[:, 0] > 0)
