"""Measures of agreement for masks of any form, segments, proposals and extras."""

from collections.abc import Mapping
from typing import Any

import torch
from det_core.structures import Detections, MaskGrids, Prediction, Size
from torch import Tensor

__all__ = ["detections_or_proposals", "largest_difference", "overlap", "same_segments"]


def detections_or_proposals(prediction: Prediction, size: Size) -> Detections | None:
    """The detections; proposals as detections of one class, whose score is the sigmoid; None where there are none."""
    proposals = prediction.proposals
    if prediction.detections is not None or proposals is None:
        return prediction.detections
    labels = torch.zeros(len(proposals), dtype=torch.int64, device=proposals.boxes.device)
    return Detections(boxes=proposals.boxes, labels=labels, scores=proposals.logits.sigmoid(), size=size)


def largest_difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """The largest difference of extras, each as a share of its own largest value; inf where one is missing."""
    worst = 0.0
    for name, value in one.items():
        first = value.as_subclass(Tensor).double()
        second = other[name].as_subclass(Tensor).double() if name in other else None
        if second is None or second.shape != first.shape:
            return float("inf")
        if first.numel():
            worst = max(worst, float((first - second).abs().max() / first.abs().max().clamp(min=1e-6)))
    return worst


def overlap(one: Any, other: Any) -> float:
    """Mean IoU of masks, pair by pair, thresholded at 0.5; 1 for two that are empty, 0 for other grids."""
    if isinstance(one, MaskGrids) and isinstance(other, MaskGrids) and len(one):
        pairs = zip(one.grids, other.grids, one.windows, other.windows, strict=True)
        return sum(_grids(*pair) for pair in pairs) / len(one)
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.shape != other.shape:
        return 1.0 if isinstance(one, MaskGrids) and isinstance(other, MaskGrids) else 0.0
    first, second = (one >= 0.5).flatten(1), (other >= 0.5).flatten(1)
    shared, union = (first & second).sum(1), (first | second).sum(1)
    return float(torch.where(union > 0, shared / union.clamp(min=1), 1.0).mean())


def _grids(one: Tensor, other: Tensor, window: Tensor, other_window: Tensor) -> float:
    if one.shape != other.shape or float((window - other_window).abs().max()) > 0.01:
        return 0.0
    return overlap(one[None], other[None])


def same_segments(one: Prediction, other: Prediction) -> float:
    """The share of pixels whose segments have the same class and are of things or stuff alike; 1 without segments."""
    if one.panoptic is None:
        return 1.0
    if other.panoptic is None or one.panoptic.ids.shape != other.panoptic.ids.shape:
        return 0.0
    first, second = _classes(one.panoptic), _classes(other.panoptic)
    return float((first == second).float().mean())


def _classes(panoptic: Any) -> Tensor:
    """The class of each pixel's segment, -1 where there is none."""
    labels = torch.full((1 + max((each["id"] for each in panoptic.segments), default=0),), -1)
    for each in panoptic.segments:
        labels[each["id"]] = each["label"]
    return labels[panoptic.ids.long().cpu()]
