"""Upright and rotated boxes: the box operations of a detector, by the dimension of a box."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

from torch import Tensor

from det_core.errors import ConfigError, StructureError
from det_core.ops import boxes, coding, nms, rotated
from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["ROTATED", "UPRIGHT", "Geometry", "geometry", "nonempty"]

_Coding = Callable[[Tensor, Tensor, Sequence[float]], Tensor]
_Objects = TypeVar("_Objects", Detections, Proposals, Targets)


class Geometry(NamedTuple):
    """The operations on boxes of one format; each is documented where it is defined.

    `dim` is the dimension of a box, and of its offsets.
    """

    dim: int
    area: Callable[[Tensor], Tensor]
    iou: Callable[[Tensor, Tensor], Tensor]
    encode: _Coding
    decode: _Coding
    clip: Callable[[Tensor, Size], Tensor]
    larger_than: Callable[[Tensor, float], Tensor]
    within: Callable[[Tensor, Size, float], Tensor]
    nms_by_group: Callable[[Tensor, Tensor, Tensor, float], Tensor]

    def require(self, boxes: Tensor, where: str) -> None:
        """Raise StructureError unless `boxes` (N, dim) are of this format."""
        if boxes.shape[-1] != self.dim:
            fix = "rotated boxes need a model for them, and a dataset with them (coco: rotated: true)"
            raise StructureError(where, f"must be boxes of shape (N, {self.dim})", f"got {tuple(boxes.shape)}", fix)


UPRIGHT = Geometry(
    4,
    boxes.area,
    boxes.iou,
    coding.encode,
    coding.decode,
    boxes.clip,
    boxes.larger_than,
    boxes.within,
    nms.nms_by_group,
)
ROTATED = Geometry(
    5,
    rotated.area,
    rotated.iou,
    rotated.encode,
    rotated.decode,
    rotated.clip,
    rotated.larger_than,
    rotated.within,
    rotated.nms_by_group,
)


def geometry(dim: int, where: str = "boxes") -> Geometry:
    """The format of boxes of `dim` numbers: 4 upright, 5 rotated; ConfigError naming `where` for any other."""
    for form in (UPRIGHT, ROTATED):
        if form.dim == dim:
            return form
    raise ConfigError(where, "must be 4 numbers, or 5 for rotated boxes", f"got {dim}")


def nonempty(objects: _Objects) -> _Objects:
    """The objects with a positive box area: both sides above 0. Others are not counted as detections, as published."""
    is_nonempty = geometry(objects.boxes.shape[1]).larger_than(objects.boxes, 0)
    return objects if is_nonempty.all() else objects[is_nonempty]
