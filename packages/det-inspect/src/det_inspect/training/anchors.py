"""A note at the start of a training whose anchors or strides do not fit the objects."""

from collections.abc import Sequence
from typing import Any

import torch
from det_core.data import Batch
from torch import Tensor, nn

__all__ = ["AnchorFit"]

_FAR = 0.4  # IoU, centered: below it, no anchor of an RPN or RetinaNet is positive but by force


class AnchorFit:
    """Compares the objects of the first steps, as the network gets them, with anchors and strides.

    Two notes are possible: many objects have an IoU below 0.4 with every anchor, both centered on one point; or most
    are smaller than the smallest stride. `det train` has this callback wherever det-inspect is installed.

    Args:
        objects: number of objects to compare, at most those of `steps` steps.
        steps: maximum number of steps to wait for them.
        share: fraction of objects, in [0, 1], above which there is a note.
    """

    def __init__(self, objects: int = 200, steps: int = 10, share: float = 0.25) -> None:
        self.objects, self.steps, self.share = objects, steps, share
        self._sides: list[Tensor] = []
        self._done = False

    def before_step(self, trainer: Any, batches: Sequence[Batch]) -> None:
        """Collect the sides of objects, and report once there are enough."""
        if self._done:
            return
        self._sides += [_sides(each.boxes).cpu() for batch in batches for each in batch.targets or ()]
        self.steps -= 1
        if sum(map(len, self._sides)) < self.objects and self.steps > 0 and trainer.step + 1 < trainer.settings.steps:
            return
        self._done = True
        for note in _notes(torch.cat([torch.zeros(0, 2), *self._sides]), trainer.model, self.share):
            trainer.display.write(f"note: {note}")


def _sides(boxes: Tensor) -> Tensor:
    """Width and height of boxes (N, 4) or rotated boxes (N, 5): (N, 2)."""
    return boxes[:, 2:4] if boxes.shape[1] == 5 else boxes[:, 2:] - boxes[:, :2]


def _notes(sides: Tensor, model: nn.Module, share: float) -> list[str]:
    notes: list[str] = []
    if not len(sides):
        return notes
    lengths = sides.prod(1).sqrt()
    low, middle, high = (round(float(value)) for value in lengths.quantile(torch.tensor([0.02, 0.5, 0.98])))
    sizes = f"objects have sides of {low} to {high} pixels in the network's input, the median is {middle}"
    strides = [stride for module in model.modules() for stride in _strides(module)]
    if strides and float((lengths < min(strides)).float().mean()) > max(0.5, share):
        fix = "raise the sizes of ResizeShortestEdge, cut pictures into parts, or add a finer level to the backbone"
        notes.append(f"most objects are smaller than the smallest stride, {min(strides)} pixels: {sizes}; {fix}")
    if (anchors := _anchors(model)) is not None:
        smaller = torch.minimum(sides[:, None], anchors[None]).prod(-1)
        iou = smaller / (sides.prod(1)[:, None] + anchors.prod(1)[None] - smaller).clamp(min=1e-9)
        far = float((iou.amax(1) < _FAR).float().mean())
        if far > share:
            spans = sorted({round(float(value)) for value in anchors.prod(1).sqrt()})
            fix = "set sizes and aspect_ratios of the anchor generator (det start writes a recipe with some that fit)"
            notes.append(f"{far:.0%} of objects are far from every anchor: {sizes}, anchors of {spans}; {fix}")
    return notes


def _strides(module: nn.Module) -> list[int]:
    strides = getattr(module, "strides", None)
    values = list(strides.values()) if isinstance(strides, dict) else []
    return [value for value in values if isinstance(value, int)]


def _anchors(model: nn.Module) -> Tensor | None:
    """Width and height of all anchors, (A, 2); None where the model has none."""
    cells = [
        _sides(buffer.cpu())
        for module in model.modules()
        if hasattr(module, "per_pixel") and hasattr(module, "box_dim")
        for name, buffer in module.named_buffers(recurse=False)
        if name.startswith("cell")
    ]
    return torch.cat(cells) if cells else None
