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


def rescale(prediction: Prediction, input_size: Size, original_size: Size) -> Prediction:
    """Rescale a prediction to the pixels of the stored image; boxes are clipped to it, and removed if no area is left.

    The model's input must be the stored image resized, without crop or flip. Extras of
    detections that are tv_tensors are resized by their own kernels; all others stay as they are.

    Args:
        prediction: prediction in pixels of the model's input.
        input_size: (height, width) in pixels of the model's input, without padding.
        original_size: (height, width) in pixels of the stored image.
    """
    if input_size != original_size:
        prediction = _rescaled(prediction, input_size, original_size)
    for name in ("detections", "proposals"):
        objects = getattr(prediction, name)
        if objects is not None and (remaining := nonempty(objects)) is not objects:
            prediction = replace(prediction, **{name: remaining})
    return prediction


def _rescaled(prediction: Prediction, input_size: Size, original_size: Size) -> Prediction:
    detections, proposals = prediction.detections, prediction.proposals
    semantic, panoptic = prediction.semantic, prediction.panoptic
    if detections is not None:
        detections = _detections(detections, input_size, original_size)
    if proposals is not None:
        proposals = Proposals(boxes=_boxes(proposals.boxes, input_size, original_size), logits=proposals.logits)
    if semantic is not None:
        logits = F.interpolate(semantic.logits[None], original_size, mode="bilinear", align_corners=False)[0]
        semantic = SemanticMap(logits=logits)
    if panoptic is not None:
        panoptic = replace(panoptic, ids=_nearest(panoptic.ids[None], original_size)[0])
    return replace(prediction, detections=detections, semantic=semantic, panoptic=panoptic, proposals=proposals)


def _detections(detections: Detections, input_size: Size, original_size: Size) -> Detections:
    masks, keypoints = detections.masks, detections.keypoints
    if isinstance(masks, MaskGrids):
        masks = replace(masks, windows=_scaled(masks.windows, input_size, original_size))
    elif masks is not None and masks.dtype == torch.bool:  # masks within their boxes follow those
        masks = _nearest(masks, original_size)
    if keypoints is not None:
        keypoints = keypoints * keypoints.new_tensor([*_scale(input_size, original_size), 1.0])
    boxes = _boxes(detections.boxes, input_size, original_size)
    extras = {key: _extra(value, original_size) for key, value in detections.extras.items()}
    return replace(detections, boxes=boxes, masks=masks, keypoints=keypoints, extras=extras, size=original_size)


def _extra(value: Tensor, original_size: Size) -> Tensor:
    """An extra with geometry is a tv_tensor, and brings its own kernel for this; a plain one stays as it is."""
    if not isinstance(value, tv_tensors.TVTensor):
        return value
    resized: Tensor = functional.resize(value, list(original_size), antialias=True)
    return resized


def _boxes(boxes: Tensor, input_size: Size, original_size: Size) -> Tensor:
    if boxes.shape[1] == 5:
        return rotated.clip(rotated.scale(boxes, *_scale(input_size, original_size)), original_size)
    return box_ops.clip(_scaled(boxes, input_size, original_size), original_size)


def _scaled(boxes: Tensor, input_size: Size, original_size: Size) -> Tensor:
    return boxes * boxes.new_tensor(_scale(input_size, original_size) * 2)


def _scale(input_size: Size, original_size: Size) -> tuple[float, float]:
    return original_size[1] / input_size[1], original_size[0] / input_size[0]


def _nearest(maps: Tensor, size: Size) -> Tensor:
    """Whole-number or bool maps (N, H, W) at another size: each pixel takes the value at its centre."""
    rows = (_centers(size[0], maps) * maps.shape[1]).long()
    columns = (_centers(size[1], maps) * maps.shape[2]).long()
    return maps[:, rows[:, None], columns]


def _centers(length: int, like: Tensor) -> Tensor:
    """The centres of `length` equal parts of [0, 1]."""
    return (torch.arange(length, device=like.device) + 0.5) / length
