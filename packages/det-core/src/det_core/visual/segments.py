"""Text description of the segments of an image, by descending area."""

from collections.abc import Sequence

import torch

from det_core.structures import PanopticMap, SemanticMap
from det_core.visual.draw import name_of

__all__ = ["by_class", "entries", "in_words"]


def by_class(semantic: SemanticMap) -> PanopticMap:
    """One segment for each class that is the most likely one somewhere, in the order of the labels."""
    labels, ids = semantic.logits.argmax(dim=0).unique(return_inverse=True)
    segments = [{"id": place, "label": label, "is_thing": False} for place, label in enumerate(labels.tolist(), 1)]
    return PanopticMap(ids=(ids + 1).int(), segments=segments)


def in_words(segments: PanopticMap | SemanticMap, classes: Sequence[str]) -> str:
    """What is in the image by falling area, such as "2 dog, sky 40 %, grass 31 %"."""
    segments = by_class(segments) if isinstance(segments, SemanticMap) else segments
    return ", ".join(text for _, text in entries(segments, classes)) or "nothing found"


def entries(segments: PanopticMap, classes: Sequence[str]) -> list[tuple[int, str]]:
    """The labels by falling area, each with its words."""
    areas = torch.bincount(segments.ids.flatten().long().cpu())
    total = max(1, segments.ids.numel())
    sums: dict[int, int] = {}
    counts: dict[int, int] = {}
    for each in segments.segments:
        area = int(areas[each["id"]]) if each["id"] < len(areas) else 0
        sums[each["label"]] = sums.get(each["label"], 0) + area
        counts[each["label"]] = counts.get(each["label"], 0) + bool(each["is_thing"] and area)
    ordered = sorted((label for label, area in sums.items() if area), key=lambda label: -sums[label])
    texts = [
        f"{counts[label]} {name_of(label, classes)}"
        if counts[label]
        else f"{name_of(label, classes)} {100 * sums[label] / total:.0f} %"
        for label in ordered
    ]
    return list(zip(ordered, texts, strict=True))
