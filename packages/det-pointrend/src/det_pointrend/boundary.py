"""Boundary IoU and boundary AP of masks (Cheng et al., "Boundary IoU: improving object-centric image segmentation
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
_MATCHED = 0.5


class BoundaryEvaluator:
    """Boundary IoU and AP of masks.

    The IoU of large masks is dominated by their interiors, whatever the quality of the boundary. Here the IoU of two
    masks is the minimum of mask IoU and boundary IoU.

    Args:
        classes: names of the classes; the label is the index.
        width: boundary width as a fraction of the image diagonal, in (0, 1]; at least one pixel.
        max_detections: maximum number of detections per image and class, by score.

    Attributes:
        notes: reason for each missing metric, by its key; set by `result`.
    """

    def __init__(self, classes: Sequence[str], width: float = 0.02, max_detections: int = 100) -> None:
        if not 0 < width <= 1:
            raise ConfigError("BoundaryEvaluator.width", "must be above 0 and up to 1", f"got {width}")
        self.classes, self.width, self.limit = tuple(classes), width, max_detections
        self.notes: dict[str, str] = {}
        self._masks = CocoEvaluator(classes, ["segm"], max_detections)

    def update(self, prediction: Prediction, sample: Sample) -> None:
        """Add one image; raises like `det_core.evaluation.CocoEvaluator` for masks."""
        self._masks.update(prediction, sample)

    def state(self) -> Any:
        """The images added so far."""
        return self._masks.state()

    def merge(self, states: Sequence[Any]) -> None:
        """Take the images of all processes."""
        self._masks.merge(states)

    def result(self) -> dict[str, float]:
        """{"boundary/AP", "boundary/AP50", "boundary/AP75", "boundary/AP90", "boundary/IoU", "boundary/mask_AP90"}.

        All in [0, 1]. IoU is the mean boundary IoU over matched objects: those with a mask IoU of at least 0.5 to a
        detection, one to one. mask_AP90 is the AP90 of mask IoU. Undefined values are left out, with an entry in
        `notes`.
        """
        self.notes = {}
        overlaps = _Overlaps(self.width)
        ground_truth, detections = self._masks.tables("segm")
        near = curves(ground_truth, detections, "segm", [self.limit], overlaps=overlaps).precision[:, :, :, 0, -1]
        whole = curves(ground_truth, detections, "segm", [self.limit]).precision[:, :, :, 0, -1]
        values = {"AP": mean(near), **{name: mean(near[place]) for name, place in _OVERLAPS.items()}}
        values["IoU"] = float(np.mean(overlaps.of_matched)) if overlaps.of_matched else None
        values["mask_AP90"] = mean(whole[_OVERLAPS["AP90"]])
        for name, value in values.items():
            if value is None:
                self.notes[f"boundary/{name}"] = "no object was matched" if name == "IoU" else "there are no objects"
        return {f"boundary/{name}": value for name, value in values.items() if value is not None}


class _Overlaps:
    """Replacement of pycocotools' IoU computation; it keeps the boundary IoUs of matched objects."""

    def __init__(self, width: float) -> None:
        self.width = width
        self.of_matched: list[float] = []

    def __call__(self, evaluation: Any, image_id: Any, category_id: Any) -> "NDArray[np.float64] | list[Any]":
        """IoU (D, G) of the best detections of one image and class with its objects; [] without either."""
        objects, detections = evaluation._gts[image_id, category_id], evaluation._dts[image_id, category_id]
        if not objects or not detections:
            return []
        detections = sorted(detections, key=lambda record: -record["score"])[: evaluation.params.maxDets[-1]]
        crowd = [int(record["iscrowd"]) for record in objects]
        whole = coco_mask.iou(*([each["segmentation"] for each in some] for some in (detections, objects)), crowd)
        near = coco_mask.iou(*(self._boundaries(some) for some in (detections, objects)), crowd)
        self._keep(whole, near, np.array(crowd, bool))
        smaller: NDArray[np.float64] = np.minimum(whole, near)
        return smaller

    def _boundaries(self, records: Sequence[Mapping[str, Any]]) -> Any:
        """The boundary pixels of each mask, as RLE."""
        rles = [each["segmentation"] for each in records]
        height, width = rles[0]["size"]
        near = boundaries(decode_masks(rles, (height, width)), max(1, round(self.width * math.hypot(height, width))))
        return coco_mask.encode(np.asfortranarray(near.permute(1, 2, 0).to(torch.uint8).numpy()))

    def _keep(self, whole: NDArray[np.float64], near: NDArray[np.float64], crowd: NDArray[np.bool_]) -> None:
        left = np.where(crowd, -1.0, whole)
        for row in range(len(left)):
            column = int(left[row].argmax())
            if left[row, column] >= _MATCHED:
                self.of_matched.append(float(near[row, column]))
                left[:, column] = -1


def boundaries(masks: Tensor, distance: int) -> Tensor:
    """The pixels of each mask, bool (N, H, W), within `distance` of a background pixel or of the image border."""
    if not masks.numel():
        return masks
    outside = F.pad((~masks[:, None]).float(), [distance] * 4, value=1.0)
    side = 2 * distance + 1
    # The maximum over a square is separable.
    reached = F.max_pool2d(F.max_pool2d(outside, (1, side), stride=1), (side, 1), stride=1)
    return masks & (reached[:, 0] > 0)
