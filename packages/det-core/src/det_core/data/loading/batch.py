"""Batches of a loader."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch.nn import functional as F

from det_core.structures import ImageBatch, Sample, Size, Targets

__all__ = ["Batch", "collate"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Batch:
    """Images and targets for one forward pass, and their origin.

    Attributes:
        images: transformed images of the batch, with their sizes.
        targets: the single objects of each (no crowds), transformed with it; None if one has no ground truth.
        ids: image ids of the dataset.
        paths: image files, None for images without one.
        position: position of the stream after this batch: `start` of a training that resumes.
        samples: the images and all their objects as stored; only in evaluation.
        skipped: a sentence for each image that is missing here because it cannot be read.
        positions: position of each image in the stream, over all processes; () if they are not counted.
    """

    images: ImageBatch
    targets: tuple[Targets, ...] | None
    ids: tuple[int | str, ...]
    paths: tuple[Path | None, ...]
    position: int
    samples: tuple[Sample, ...] = ()
    skipped: tuple[str, ...] = ()
    positions: tuple[int, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def padded(self, size: Size) -> "Batch":
        """The same with pixels padded right and bottom to at least (height, width)."""
        height, width = self.images.pixels.shape[-2:]
        more = max(size[0] - height, 0), max(size[1] - width, 0)
        if more == (0, 0):
            return self
        pixels = F.pad(self.images.pixels, (0, more[1], 0, more[0]))
        return replace(self, images=replace(self.images, pixels=pixels))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "Batch":
        """The same with `images` and `targets` on another device."""
        targets = None if self.targets is None else tuple(each.to(device, non_blocking) for each in self.targets)
        return replace(self, images=self.images.to(device, non_blocking), targets=targets)


def collate(
    transformed: Sequence[Sample],
    position: int,
    stored: Sequence[Sample] = (),
    skipped: Sequence[str] = (),
    positions: Sequence[int] = (),
) -> Batch:
    """Put samples together; a batch of none has pixels of shape (0, 3, 0, 0)."""
    targets = tuple(sample.targets.without_crowd() for sample in transformed if sample.targets is not None)
    proposals = [sample.proposals for sample in transformed if sample.proposals is not None]
    complete = proposals if proposals and len(proposals) == len(transformed) else None
    nothing = ImageBatch(pixels=torch.zeros((0, 3, 0, 0), dtype=torch.uint8), sizes=())
    return Batch(
        images=ImageBatch.stack([sample.image for sample in transformed], complete) if transformed else nothing,
        targets=targets if len(targets) == len(transformed) else None,
        ids=tuple(sample.id for sample in transformed),
        paths=tuple(sample.path for sample in transformed),
        position=position,
        samples=tuple(stored),
        skipped=tuple(skipped),
        positions=tuple(positions),
    )
