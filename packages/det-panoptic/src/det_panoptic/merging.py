"""Merges detections and semantic logits into segments, as Panoptic FPN does (Kirillov et al., 2019)."""

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
    """Settings of the merging of detections and stuff.

    Args:
        overlap_threshold: fraction of a detection above which its overlap with better ones suppresses it, in [0, 1].
        stuff_area: minimum stuff area in pixels; smaller stuff becomes void.
        score_threshold: minimum score of a detection, in [0, 1].
    """

    overlap_threshold: float = 0.5
    stuff_area: int = 4096
    score_threshold: float = 0.5

    def __call__(self, detections: Detections, logits: Tensor, num_things: int) -> PanopticMap:
        """Segments of one image: things by descending score, then stuff.

        Args:
            detections: detections with masks in any format.
            logits: float32 (1 + S, H, W): all things as one class, then each stuff class.
            num_things: number of thing classes: the label of the first stuff class.
        """
        best = detections[detections.scores >= self.score_threshold]
        best = best[best.scores.argsort(descending=True, stable=True)]
        if best.masks is None:
            best = best[:0]
        masks = [] if best.masks is None else MasksInImage(best.masks, best.boxes, best.size)
        owner, visible = stack_masks(masks, best.size, self.overlap_threshold, logits.device)
        free = torch.where(owner == 0, logits.argmax(dim=0), 0)
        areas = torch.bincount(free.flatten(), minlength=len(logits))
        areas[0] = 0
        stuff = ((areas > 0) & (areas >= self.stuff_area)).nonzero()[:, 0]
        things = visible.nonzero()[:, 0]
        number = torch.zeros(len(masks) + 1, dtype=torch.int64, device=logits.device)
        number[things + 1] = torch.arange(1, len(things) + 1, device=logits.device)
        number_of_stuff = torch.zeros_like(areas)
        number_of_stuff[stuff] = torch.arange(1, len(stuff) + 1, device=logits.device) + len(things)
        ids = number[owner] + number_of_stuff[free]
        segments_of_things = zip(best.labels[things].tolist(), best.scores[things].tolist(), strict=True)
        segments: list[dict[str, Any]] = [
            {"id": place, "label": label, "is_thing": True, "score": score}
            for place, (label, score) in enumerate(segments_of_things, 1)
        ]
        for label in stuff.tolist():
            segments.append({"id": len(segments) + 1, "label": num_things + label - 1, "is_thing": False})
        return PanopticMap(ids=ids.int(), segments=segments)


def stack_masks(
    masks: Sequence[Tensor] | Tensor, size: Size, overlap_threshold: float, device: torch.device | None = None
) -> tuple[Tensor, Tensor]:
    """Stack masks, bool (H, W) each, the first on top, one after the other.

    A mask is dropped if more than `overlap_threshold` of it is covered by those above, or if it is empty.

    Returns:
        Index, from 1, of the visible mask at each pixel, int64 (H, W), 0 for none; and the kept masks, bool (N,).
    """
    owner = torch.zeros(size, dtype=torch.int64, device=device)
    covered = torch.zeros(size, dtype=torch.bool, device=device)
    visible = torch.zeros(len(masks), dtype=torch.bool, device=device)
    for place, mask in enumerate(masks):
        # No value is copied off the device here.
        free = mask & ~covered
        area = mask.sum()
        visible[place] = (area > 0) & ((area - free.sum()) / area.clamp(min=1) <= overlap_threshold)
        free &= visible[place]
        owner.masked_fill_(free, place + 1)
        covered |= free
    return owner, visible
