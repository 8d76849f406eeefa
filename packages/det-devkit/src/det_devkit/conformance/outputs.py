"""Requirements on losses, proposals and detections."""

from collections.abc import Mapping
from typing import Any

import torch
from det_core.structures import Detections, MaskGrids, Prediction, Proposals, Size
from torch import Tensor

from det_devkit.conformance.report import Failed
from det_devkit.conformance.tensors import flat, not_finite

__all__ = ["require_detections", "require_each", "require_losses", "require_prediction", "require_proposals"]

_SLACK = 1e-2


def require_each(values: Any, kind: type, count: int, source: str) -> None:
    """Raise Failed unless `values` is a list of `count` objects of a kind, one per image."""
    if not isinstance(values, list) or not all(isinstance(value, kind) for value in values):
        found = (
            f"a list of {type(values[0]).__name__}" if isinstance(values, list) and values else type(values).__name__
        )
        raise Failed(f"{source} returns {found}", f"return a list of {kind.__name__}, one per image")
    if len(values) != count:
        raise Failed(f"{source} returns {len(values)} for {count} images", "return one per image, in their order")


def require_losses(losses: Any, source: str) -> None:
    """Raise Failed unless `losses` are named, differentiable scalars."""
    if not isinstance(losses, Mapping) or not losses or not all(isinstance(name, str) for name in losses):
        raise Failed(f"{source} returns {losses!r:.80}", "return {loss name: scalar}")
    for name, loss in losses.items():
        if not isinstance(loss, Tensor) or loss.ndim or not loss.is_floating_point():
            found = f"shape {tuple(loss.shape)}, {loss.dtype}" if isinstance(loss, Tensor) else type(loss).__name__
            raise Failed(f"the loss {name!r} is no scalar but {found}", "return a floating-point tensor of shape ()")
    if bad := not_finite(losses):
        raise Failed(f"the loss {bad[0]!r} is not finite", "check for divisions, roots and logarithms of zero")


def require_detections(detections: Detections, size: Size, num_classes: int | None) -> None:
    """Raise Failed unless objects are within the image, and labels and scores within their ranges."""
    if tuple(detections.size) != tuple(size):
        raise Failed(
            f"detections are for size {tuple(detections.size)}, the image has {tuple(size)}", "pass its size on"
        )
    _require_boxes(detections.boxes, size)
    if detections.labels.dtype != torch.int64 or detections.labels.shape != (len(detections),):
        found = f"{detections.labels.dtype} {tuple(detections.labels.shape)}"
        raise Failed(f"labels are {found}", "make them int64 (N,)")
    if (
        num_classes
        and len(detections)
        and not 0 <= int(detections.labels.min()) <= int(detections.labels.max()) < num_classes
    ):
        found = f"from {int(detections.labels.min())} to {int(detections.labels.max())}"
        raise Failed(f"labels run {found} with {num_classes} classes", "number classes from 0; background is no label")
    if not bool(((detections.scores >= 0) & (detections.scores <= 1)).all()):
        raise Failed("scores lie outside [0, 1], or are not numbers", "return values after sigmoid or softmax")
    if detections.masks is not None:
        _require_masks(detections.masks, size)
    _require_qualified(detections.extras, "Detections.extras")


def require_proposals(proposals: Proposals, size: Size) -> None:
    """Raise Failed unless the boxes are within the image, best first."""
    _require_boxes(proposals.boxes, size)
    if bool((proposals.logits.diff() > 0).any()):
        raise Failed("proposals are not sorted", "return them by falling objectness")


def require_prediction(prediction: Prediction, size: Size, num_classes: int | None) -> None:
    """Raise Failed unless a prediction has some field, and all of them are well formed."""
    if not flat(prediction):
        raise Failed("a prediction is empty", "fill detections, proposals, semantic, panoptic or extras")
    if prediction.detections is not None:
        require_detections(prediction.detections, size, num_classes)
    if prediction.proposals is not None:
        require_proposals(prediction.proposals, size)
    for name, values in (("semantic.logits", prediction.semantic), ("panoptic.ids", prediction.panoptic)):
        for tensor in flat(values).values():
            if tuple(tensor.shape[-2:]) != tuple(size):
                found = f"{name} has shape {tuple(tensor.shape)}, the image {tuple(size)}"
                raise Failed(found, "return it at the size of the image")
    _require_qualified(prediction.extras, "Prediction.extras")


def _require_boxes(boxes: Tensor, size: Size) -> None:
    if boxes.dtype != torch.float32:
        raise Failed(f"boxes are {boxes.dtype}", "make them float32")
    if boxes.shape[1] == 4:  # rotated ones may extend beyond the image
        limit = boxes.new_tensor([size[1], size[0], size[1], size[0]])
        if not bool(((boxes >= -_SLACK) & (boxes <= limit + _SLACK)).all()):
            raise Failed(f"boxes extend beyond the image of size {tuple(size)}, or are not numbers", "clip them to it")


def _require_masks(masks: Tensor | MaskGrids, size: Size) -> None:
    if isinstance(masks, MaskGrids):
        for grid in masks.grids:
            _require_masks(grid[None], size)
        return
    fix = "return bool (N, height, width), or the probabilities within each box as float32 (N, S, S), or MaskGrids"
    at_image_size = masks.dtype == torch.bool and tuple(masks.shape[1:]) == tuple(size)
    in_boxes = masks.dtype == torch.float32 and masks.ndim == 3 and masks.shape[1] == masks.shape[2]
    if not (at_image_size or in_boxes):
        raise Failed(f"masks are {masks.dtype} {tuple(masks.shape)}", fix)
    if in_boxes and not bool(((masks >= 0) & (masks <= 1)).all()):
        raise Failed("masks have values outside [0, 1]", fix)


def _require_qualified(extras: Mapping[str, Any], where: str) -> None:
    if bare := [key for key in extras if "/" not in key]:
        raise Failed(
            f"the key {bare[0]!r} of {where} is not qualified", f'write it with the package, "det-acme/{bare[0]}"'
        )
