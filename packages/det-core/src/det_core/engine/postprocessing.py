"""Rescales predictions from the size of the model's input to that of the stored image."""

from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from det_core.ops import boxes as box_ops
from det_core.ops import rotated
from det_core.ops.geometry import nonempty
from det_core.structures import Detections, MaskGrids, Prediction, Proposals, SemanticMap, Size

__all__ = ["rescale"]


def rescale(prediction: Prediction, seen: Size, stored: Size) -> Prediction:
    """Carry a prediction into the pixels of the stored image; boxes are clipped to it, and dropped if nothing is left.

    The model's input must be the stored image resized, without crop or flip. Extras of
    detections that are tv_tensors are resized by their own kernels; all others stay as they are.

    Args:
        prediction: in the pixels of the image that the model saw.
        seen: (height, width) of that image.
        stored: (height, width) of the stored image.
    """
    if seen != stored:
        prediction = _carried(prediction, seen, stored)
    for name in ("detections", "proposals"):
        given = getattr(prediction, name)
        if given is not None and (kept := nonempty(given)) is not given:
            prediction = replace(prediction, **{name: kept})
    return prediction


def _carried(prediction: Prediction, seen: Size, stored: Size) -> Prediction:
    detections, semantic, panoptic, proposals = (
        prediction.detections,
        prediction.semantic,
        prediction.panoptic,
        prediction.proposals,
    )
    if detections is not None:
        detections = _detections(detections, seen, stored)
    if proposals is not None:
        proposals = Proposals(boxes=_boxes(proposals.boxes, seen, stored), logits=proposals.logits)
    if semantic is not None:
        logits = F.interpolate(semantic.logits[None], stored, mode="bilinear", align_corners=False)[0]
        semantic = SemanticMap(logits=logits)
    if panoptic is not None:
        panoptic = replace(panoptic, ids=_nearest(panoptic.ids[None], stored)[0])
    return replace(prediction, detections=detections, semantic=semantic, panoptic=panoptic, proposals=proposals)


def _detections(detections: Detections, seen: Size, stored: Size) -> Detections:
    masks, keypoints = detections.masks, detections.keypoints
    if isinstance(masks, MaskGrids):
        masks = replace(masks, windows=_scaled(masks.windows, seen, stored))
    elif masks is not None and masks.dtype == torch.bool:  # masks within their boxes follow those
        masks = _nearest(masks, stored)
    if keypoints is not None:
        keypoints = keypoints * keypoints.new_tensor([stored[1] / seen[1], stored[0] / seen[0], 1.0])
    boxes = _boxes(detections.boxes, seen, stored)
    extras = {key: _extra(value, stored) for key, value in detections.extras.items()}
    return replace(detections, boxes=boxes, masks=masks, keypoints=keypoints, extras=extras, size=stored)


def _extra(value: Tensor, stored: Size) -> Tensor:
    """An extra with geometry is a tv_tensor, and brings its own kernel for this; a plain one stays as it is."""
    if not isinstance(value, tv_tensors.TVTensor):
        return value
    resized: Tensor = functional.resize(value, list(stored), antialias=True)
    return resized


def _boxes(boxes: Tensor, seen: Size, stored: Size) -> Tensor:
    if boxes.shape[1] == 5:
        return rotated.clip(rotated.scale(boxes, stored[1] / seen[1], stored[0] / seen[0]), stored)
    return box_ops.clip(_scaled(boxes, seen, stored), stored)


def _scaled(boxes: Tensor, seen: Size, stored: Size) -> Tensor:
    across, down = stored[1] / seen[1], stored[0] / seen[0]
    return boxes * boxes.new_tensor([across, down, across, down])


def _nearest(maps: Tensor, size: Size) -> Tensor:
    """Whole-number or bool maps (N, H, W) at another size: each pixel takes the value at its centre."""
    rows = (_centres(size[0], maps) * maps.shape[1]).long()
    columns = (_centres(size[1], maps) * maps.shape[2]).long()
    return maps[:, rows[:, None], columns]


def _centres(length: int, like: Tensor) -> Tensor:
    """The centres of `length` equal parts of [0, 1]."""
    return (torch.arange(length, device=like.device) + 0.5) / length
