"""Losses of the coarse segmentation: from the annotated parts of the body, or from the masks of the objects."""

from typing import Protocol, runtime_checkable

import torch
from det_core.ops.masks import crop_masks
from det_core.structures import Polygons, Targets
from torch import Tensor
from torch.nn import functional as F

from det_densepose.losses.regions import Regions
from det_densepose.structures import UNKNOWN

__all__ = ["CoarseLoss", "CoarseLossFromMasks", "CoarseLossFromParts", "instance_masks", "resample_parts"]


@runtime_checkable
class CoarseLoss(Protocol):
    """Compares the coarse segmentation with the ground truth.

    Attributes:
        uses_masks: whether objects with a mask but without points are used for training.
    """

    uses_masks: bool

    def __call__(self, logits: Tensor, regions: Regions, annotated: Tensor) -> Tensor:
        """The loss, a scalar, of logits (R, C, Z, Z); `annotated`, bool (R,), are the regions with points."""
        ...


class CoarseLossFromParts:
    """Cross-entropy with the annotated coarse parts, the mean over all cells of the regions with points.

    As published, it is 0 as soon as one region with points has no coarse parts.
    """

    uses_masks = False

    def __call__(self, logits: Tensor, regions: Regions, annotated: Tensor) -> Tensor:
        """As `CoarseLoss`."""
        rows = torch.nonzero(annotated).squeeze(1)
        if not len(rows) or not regions.with_coarse[rows].all():
            return logits.sum() * 0
        parts, frames = regions.coarse(rows)
        labels = resample_parts(parts, frames, regions.boxes[rows], logits.shape[-1]).long()
        labels = labels.clamp(max=1) if logits.shape[1] == 2 else labels
        return F.cross_entropy(logits[rows].float(), labels)


class CoarseLossFromMasks:
    """Cross-entropy with the masks of the objects, the mean over all cells of all regions.

    An object without a mask takes what its coarse parts cover; one that has neither adds nothing.
    """

    uses_masks = True

    def __call__(self, logits: Tensor, regions: Regions, annotated: Tensor) -> Tensor:
        """As `CoarseLoss`."""
        masks, valid = instance_masks(regions, logits.shape[-1])
        if not valid.any():
            return logits.sum() * 0
        return F.cross_entropy(logits[valid].float(), masks[valid].long())


def resample_parts(parts: Tensor, frames: Tensor, boxes: Tensor, side: int) -> Tensor:
    """Coarse parts on grids of `side` by `side` over other boxes, 0 outside of their frames.

    The nearest cell counts. Cell j of the result stands for the place j / side of the box, its left edge, and the
    outermost cells of the parts for the edges of their frame, both as published.

    Args:
        parts: uint8 (K, 256, 256).
        frames: float32 (K, 3, 2), upper left, upper right and lower left corner of the parts.
        boxes: boxes of the regions, xyxy in pixels, float32 (K, 4).
        side: height and width of the result, in cells.

    Returns:
        uint8 (K, side, side).
    """
    steps = torch.arange(side, device=boxes.device, dtype=boxes.dtype) / side
    places = boxes[:, None, :2] + steps[None, :, None] * (boxes[:, 2:] - boxes[:, :2])[:, None]
    x, y = (places - frames[:, :1]).unbind(-1)
    right, down = frames[:, 1] - frames[:, 0], frames[:, 2] - frames[:, 0]
    # Shares along the two edges of the frame, which need not be upright: Cramer's rule.
    area = right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]
    along_right = (down[:, 1] / area, -down[:, 0] / area)
    along_down = (-right[:, 1] / area, right[:, 0] / area)
    shares = [x[:, None, :] * a[:, None, None] + y[:, :, None] * b[:, None, None] for a, b in (along_right, along_down)]
    grid = torch.stack(shares, -1) * 2 - 1
    resampled = F.grid_sample(parts[:, None].to(boxes.dtype), grid, mode="nearest", align_corners=True)
    return resampled[:, 0].to(torch.uint8)


@torch.no_grad()
def instance_masks(regions: Regions, side: int) -> tuple[Tensor, Tensor]:
    """The masks of the regions' objects within the regions: bool (R, side, side), and which are known, bool (R,)."""
    cropped, present = [regions.boxes.new_zeros((0, side, side), dtype=torch.bool)], []
    for boxes, targets in zip(regions.proposals, regions.targets, strict=True):
        has_mask = _present(targets).to(boxes.device)
        masks = boxes.new_zeros((len(boxes), side, side), dtype=torch.bool)
        if targets.masks is not None and has_mask.any():
            masks[has_mask] = crop_masks(targets.masks[has_mask], boxes[has_mask], side)
        cropped.append(masks)
        present.append(has_mask)
    masks, valid = torch.cat(cropped), torch.cat(present)
    rest = torch.nonzero(~valid & regions.with_coarse).squeeze(1)
    if len(rest):
        parts, frames = regions.coarse(rest)
        labels = resample_parts(parts, frames, regions.boxes[rest], side)
        masks[rest] = (labels > 0) & (labels != UNKNOWN)
        valid[rest] = True
    return masks, valid


def _present(targets: Targets) -> Tensor:
    """Which objects have a mask, bool (N,)."""
    if targets.masks is None:
        return torch.zeros(len(targets), dtype=torch.bool)
    if isinstance(targets.masks, Polygons):
        return targets.masks.rings > 0
    return targets.masks.flatten(1).any(1)
