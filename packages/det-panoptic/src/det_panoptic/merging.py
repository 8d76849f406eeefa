"""Detections and classes of pixels joined to segments, as Panoptic FPN does it (Kirillov et al., 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from det_core.ops.masks import MasksInImage
from det_core.structures import Detections, PanopticMap, Size
from torch import Tensor

__all__ = ["Merging", "stack_masks"]


@dataclass(frozen=True)
class Merging:
    """How detections and stuff are joined.

    Args:
        overlap_threshold: a detection is left out if better ones cover more than this share of it.
        stuff_area: stuff of fewer pixels in an image becomes void.
        score_threshold: detections that score less are left out.
    """

    overlap_threshold: float = 0.5
    stuff_area: int = 4096
    score_threshold: float = 0.5

    def __call__(self, detections: Detections, logits: Tensor, num_things: int) -> PanopticMap:
        """The segments of one image: things by falling score, then stuff.

        Args:
            detections: with masks of any form.
            logits: float32 (1 + S, H, W): all things as one class, then each stuff.
            num_things: the label of the first stuff.
        """
        chosen = detections[detections.scores >= self.score_threshold]
        chosen = chosen[chosen.scores.argsort(descending=True, stable=True)]
        if chosen.masks is None:
            chosen = chosen[:0]
        masks = [] if chosen.masks is None else MasksInImage(chosen.masks, chosen.boxes, chosen.size)
        owner, kept = stack_masks(masks, chosen.size, self.overlap_threshold, logits.device)
        free = torch.where(owner == 0, logits.argmax(dim=0), 0)
        areas = torch.bincount(free.flatten(), minlength=len(logits))
        areas[0] = 0
        stuff = ((areas > 0) & (areas >= self.stuff_area)).nonzero()[:, 0]
        things = kept.nonzero()[:, 0]
        number = torch.zeros(len(masks) + 1, dtype=torch.int64, device=logits.device)
        number[things + 1] = torch.arange(1, len(things) + 1, device=logits.device)
        number_of_stuff = torch.zeros_like(areas)
        number_of_stuff[stuff] = torch.arange(1, len(stuff) + 1, device=logits.device) + len(things)
        ids = number[owner] + number_of_stuff[free]
        found = zip(chosen.labels[things].tolist(), chosen.scores[things].tolist(), strict=True)
        segments: list[dict[str, Any]] = [
            {"id": place, "label": label, "is_thing": True, "score": score}
            for place, (label, score) in enumerate(found, 1)
        ]
        for label in stuff.tolist():
            segments.append({"id": len(segments) + 1, "label": num_things + label - 1, "is_thing": False})
        return PanopticMap(ids=ids.int(), segments=segments)


def stack_masks(
    masks: Sequence[Tensor] | Tensor, size: Size, overlap_threshold: float, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Lay masks, bool (H, W) each, on each other, the first on top; one is looked at after the other.

    A mask is left out if those above cover more than `overlap_threshold` of it, or if it has no pixel.

    Returns:
        Which mask each pixel shows, counted from 1, int64 (H, W), 0 for none; and which masks were laid, bool (N,).
    """
    owner = torch.zeros(size, dtype=torch.int64, device=device)
    taken = torch.zeros(size, dtype=torch.bool, device=device)
    kept = torch.zeros(len(masks), dtype=torch.bool, device=device)
    for place, mask in enumerate(masks):
        # No number leaves the device on the way.
        free = mask & ~taken
        area = mask.sum()
        kept[place] = (area > 0) & ((area - free.sum()) / area.clamp(min=1) <= overlap_threshold)
        free &= kept[place]
        owner.masked_fill_(free, place + 1)
        taken |= free
    return owner, kept
