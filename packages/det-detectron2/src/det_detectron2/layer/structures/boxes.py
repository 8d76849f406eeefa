"""Upright boxes, as `detectron2.structures.boxes`."""

import math
from collections.abc import Iterator, Sequence
from enum import IntEnum, unique
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

__all__ = [
    "BoxMode",
    "Boxes",
    "matched_pairwise_iou",
    "pairwise_intersection",
    "pairwise_ioa",
    "pairwise_iou",
    "pairwise_point_box_distance",
]

_Form = TypeVar("_Form", bound=Any)


@unique
class BoxMode(IntEnum):
    """What the numbers of a box are."""

    XYXY_ABS = 0
    """(x0, y0, x1, y1) in pixels."""
    XYWH_ABS = 1
    """(x0, y0, w, h) in pixels."""
    XYXY_REL = 2
    """(x0, y0, x1, y1) as shares of the image's size; not supported yet."""
    XYWH_REL = 3
    """(x0, y0, w, h) as shares of the image's size; not supported yet."""
    XYWHA_ABS = 4
    """(cx, cy, w, h, angle) in pixels and degrees, counter-clockwise."""

    @staticmethod
    def convert(box: _Form, from_mode: "BoxMode", to_mode: "BoxMode") -> _Form:
        """A box, or boxes, in another form and of the same type.

        Args:
            box: list or tuple of 4 or 5 numbers, or an array or tensor (N, 4) or (N, 5).
            from_mode: box format of the input.
            to_mode: box format of the output.
        """
        if from_mode == to_mode:
            return box
        single = isinstance(box, list | tuple)
        if single:
            assert len(box) in (4, 5), (
                "BoxMode.convert takes a list or tuple of 4 or 5 numbers, or an (N, 4 or 5) array"
            )
            values = torch.tensor(box)[None, :]
        else:
            values = torch.from_numpy(np.asarray(box)).clone() if isinstance(box, np.ndarray) else box.clone()
        relative = (BoxMode.XYXY_REL, BoxMode.XYWH_REL)
        assert not {from_mode, to_mode} & {*relative}, "Relative mode not yet supported!"
        values = _converted(values, from_mode, to_mode)
        if single:
            return type(box)(values.flatten().tolist())
        return values.numpy() if isinstance(box, np.ndarray) else values  # type: ignore[return-value]


def _converted(values: Tensor, source: BoxMode, target: BoxMode) -> Tensor:
    pair = (source, target)
    if pair == (BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS):
        assert values.shape[-1] == 5, "The last dimension of input shape must be 5 for XYWHA format"
        exact = values.double()
        radians = exact[:, 4] * math.pi / 180
        cos, sin = radians.cos().abs(), radians.sin().abs()
        width = cos * exact[:, 2] + sin * exact[:, 3]
        height = cos * exact[:, 3] + sin * exact[:, 2]
        x, y = exact[:, 0], exact[:, 1]
        sides = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return torch.stack(sides, dim=1).to(values.dtype)
    if pair == (BoxMode.XYWH_ABS, BoxMode.XYWHA_ABS):
        exact = values.double()
        middle = exact[:, :2] + exact[:, 2:4] / 2
        return torch.cat((middle, exact[:, 2:4], torch.zeros_like(exact[:, :1])), dim=1).to(values.dtype)
    if pair == (BoxMode.XYXY_ABS, BoxMode.XYWH_ABS):
        values[:, 2:4] -= values[:, :2]
        return values
    if pair == (BoxMode.XYWH_ABS, BoxMode.XYXY_ABS):
        values[:, 2:4] += values[:, :2]
        return values
    raise NotImplementedError(f"Conversion from BoxMode {source} to {target} is not supported yet")


class Boxes:
    """Boxes (N, 4) as a tensor with x0, y0, x1, y1, in pixels.

    Attributes:
        tensor: float32 (N, 4).
    """

    tensor: Tensor

    def __init__(self, tensor: Any) -> None:
        values = (
            tensor.to(torch.float32) if isinstance(tensor, Tensor) else torch.as_tensor(tensor, dtype=torch.float32)
        )
        if values.numel() == 0:
            values = values.reshape(-1, 4)
        assert values.shape == (len(values), 4), values.size()
        self.tensor = values

    def clone(self) -> "Boxes":
        """A copy."""
        return Boxes(self.tensor.clone())

    def to(self, device: torch.device | str) -> "Boxes":
        """The boxes on another device."""
        return Boxes(self.tensor.to(device=device))

    def area(self) -> Tensor:
        """(N,), in square pixels."""
        return (self.tensor[:, 2] - self.tensor[:, 0]) * (self.tensor[:, 3] - self.tensor[:, 1])

    def clip(self, box_size: tuple[int, int]) -> None:
        """Limit them, in place, to an image of `box_size` (height, width)."""
        assert torch.isfinite(self.tensor).all(), "Box tensor contains infinite or NaN!"
        height, width = box_size
        x0, y0, x1, y1 = self.tensor.unbind(dim=1)
        x, y = (each.clamp(min=0, max=width) for each in (x0, x1)), (each.clamp(min=0, max=height) for each in (y0, y1))
        (x0, x1), (y0, y1) = x, y
        self.tensor = torch.stack((x0, y0, x1, y1), dim=-1)

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """Bool (N,): width and height are both above `threshold`."""
        return ((self.tensor[:, 2:] - self.tensor[:, :2]) > threshold).all(dim=1)

    def __getitem__(self, item: Any) -> "Boxes":
        if isinstance(item, int):
            return Boxes(self.tensor[item].view(1, -1))
        selection = self.tensor[item]
        assert selection.dim() == 2, f"Indexing on Boxes with {item} failed to return a matrix!"
        return Boxes(selection)

    def __len__(self) -> int:
        return self.tensor.shape[0]

    def __repr__(self) -> str:
        return f"Boxes({self.tensor})"

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: int = 0) -> Tensor:
        """Bool (N,): the box is within an image of `box_size`, or reaches out by less than `boundary_threshold`."""
        height, width = box_size
        low, high = self.tensor[:, :2], self.tensor[:, 2:]
        limit = high.new_tensor((width, height)) + boundary_threshold
        return (low >= -boundary_threshold).all(dim=1) & (high < limit).all(dim=1)

    def get_centers(self) -> Tensor:
        """(N, 2): x and y of the middles."""
        return (self.tensor[:, :2] + self.tensor[:, 2:]) / 2

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Stretch them, in place."""
        self.tensor[:, 0::2] *= scale_x
        self.tensor[:, 1::2] *= scale_y

    @classmethod
    def cat(cls, boxes_list: "Sequence[Boxes]") -> "Boxes":
        """All boxes of several, in order."""
        assert isinstance(boxes_list, list | tuple)
        assert all(isinstance(each, Boxes) for each in boxes_list)
        if not boxes_list:
            return cls(torch.empty(0))
        return cls(torch.cat([each.tensor for each in boxes_list], dim=0))

    @property
    def device(self) -> torch.device:
        """Where the tensor is."""
        return self.tensor.device

    def __iter__(self) -> Iterator[Tensor]:
        """Each box as a tensor (4,)."""
        yield from self.tensor


def pairwise_intersection(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """(N, M): the areas that pairs share."""
    a, b = boxes1.tensor, boxes2.tensor
    sides = torch.min(a[:, None, 2:], b[:, 2:]) - torch.max(a[:, None, :2], b[:, :2])
    return sides.clamp(min=0).prod(dim=2)


def pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """(N, M): intersection over union of pairs, 0 where nothing is shared."""
    shared = pairwise_intersection(boxes1, boxes2)
    union = boxes1.area()[:, None] + boxes2.area() - shared
    return torch.where(shared > 0, shared / union, torch.zeros(1, dtype=shared.dtype, device=shared.device))


def pairwise_ioa(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """(N, M): intersection over the area of the second box, 0 where nothing is shared."""
    shared = pairwise_intersection(boxes1, boxes2)
    return torch.where(shared > 0, shared / boxes2.area(), torch.zeros(1, dtype=shared.dtype, device=shared.device))


def pairwise_point_box_distance(points: Tensor, boxes: Boxes) -> Tensor:
    """(N, M, 4): how far points (N, 2) are from the left, top, right and bottom of each box; negative outside."""
    x, y = points[:, None].unbind(dim=2)
    x0, y0, x1, y1 = boxes.tensor[None].unbind(dim=2)
    return torch.stack((x - x0, y - y0, x1 - x, y1 - y), dim=2)


def matched_pairwise_iou(boxes1: Boxes, boxes2: Boxes) -> Tensor:
    """(N,): intersection over union of each box with the one at the same place of `boxes2`."""
    assert len(boxes1) == len(boxes2), f"boxlists should have the same number of entries, got {boxes1}, {boxes2}"
    a, b = boxes1.tensor, boxes2.tensor
    sides = torch.min(a[:, 2:], b[:, 2:]) - torch.max(a[:, :2], b[:, :2])
    shared = sides.clamp(min=0).prod(dim=1)
    return shared / (boxes1.area() + boxes2.area() - shared)
