"""Ground-truth segments: the two image extras of panoptic datasets."""

from typing import NamedTuple

import torch
from det_core.errors import StructureError
from det_core.structures import Targets
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

__all__ = ["IDS", "SEGMENTS", "SegmentIds", "Segments", "segment_boxes", "segments_of"]

IDS = "det-panoptic/ids"
"""Segment of each pixel, `SegmentIds`: segment i of `SEGMENTS` is i + 1, 0 is void."""
SEGMENTS = "det-panoptic/segments"
"""int64 (S, 3): label of each segment, whether it is a thing, and whether it is a crowd."""


class SegmentIds(tv_tensors.Mask):
    """A mask int32 (H, W) that follows flips, crops and resizes; padding is void."""


@functional.register_kernel(functional.pad, SegmentIds)
def _pad(ids: SegmentIds, padding: list[int], fill: object = None, padding_mode: str = "constant") -> SegmentIds:
    padded = functional.pad_mask(ids.as_subclass(Tensor), padding, fill=0, padding_mode=padding_mode)
    return tv_tensors.wrap(padded, like=ids)


class Segments(NamedTuple):
    """The segments of one image.

    Attributes:
        ids: int64 (H, W): segment i is i + 1; 0 is void.
        labels: int64 (S,), in [0, C) of the panoptic classes.
        things: bool (S,): a countable object, or a crowd of such objects; the others are stuff.
        crowd: bool (S,): a region of several objects that are not annotated separately.
    """

    ids: Tensor
    labels: Tensor
    things: Tensor
    crowd: Tensor

    def areas(self) -> Tensor:
        """Number of pixels of each segment, int64 (S,)."""
        return torch.bincount(self.ids.flatten(), minlength=len(self.labels) + 1)[1:]


def segments_of(targets: Targets, where: str = "targets") -> Segments:
    """The segments of an image.

    Raises:
        StructureError: the targets hold none.
    """
    ids, segments = targets.image_extras.get(IDS), targets.image_extras.get(SEGMENTS)
    if ids is None or segments is None:
        fix = "use a panoptic dataset, such as det-panoptic/coco_panoptic"
        raise StructureError(where, f"hold no {IDS!r} and {SEGMENTS!r}", "both are needed", fix)
    labels, things, crowd = segments.unbind(1)
    return Segments(ids.as_subclass(Tensor).long(), labels, things.bool(), crowd.bool())


def segment_boxes(ids: Tensor, count: int) -> Tensor:
    """Bounding boxes of `count` segments in ids (H, W) counted from 1: float32 (count, 4), zeros for empty segments."""
    height, width = ids.shape
    flat, ends = ids.flatten().long(), []
    for length, shape in ((width, (1, -1)), (height, (-1, 1))):
        place = torch.arange(length, device=ids.device).view(shape).expand(height, width).reshape(-1)
        first = place.new_full((count + 1,), length).scatter_reduce(0, flat, place, "amin")
        last = place.new_full((count + 1,), -1).scatter_reduce(0, flat, place, "amax") + 1
        ends.append((first.minimum(last), last))
    (left, right), (top, bottom) = ends
    return torch.stack((left, top, right, bottom), dim=1)[1:].float()
