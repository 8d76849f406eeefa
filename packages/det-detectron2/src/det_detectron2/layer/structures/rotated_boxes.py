"""Rotated boxes, as `detectron2.structures.rotated_boxes`."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from det_core.ops import rotated
from torch import Tensor

from det_detectron2.layer.structures.boxes import Boxes

__all__ = ["RotatedBoxes", "pairwise_iou"]


class RotatedBoxes(Boxes):
    """Boxes (N, 5) as cx, cy, w, h in pixels and an angle in degrees, counter-clockwise.

    Attributes:
        tensor: float32 (N, 5).
    """

    def __init__(self, tensor: Any) -> None:
        device = tensor.device if isinstance(tensor, Tensor) else torch.device("cpu")
        values = torch.as_tensor(tensor, dtype=torch.float32, device=device)
        if values.numel() == 0:
            values = values.reshape((0, 5)).to(dtype=torch.float32, device=device)
        assert values.shape == (len(values), 5), values.size()
        self.tensor = values

    def clone(self) -> "RotatedBoxes":
        """A copy."""
        return RotatedBoxes(self.tensor.clone())

    def to(self, device: torch.device | str) -> "RotatedBoxes":
        """The boxes on another device."""
        return RotatedBoxes(self.tensor.to(device=device))

    def area(self) -> Tensor:
        """(N,), in square pixels."""
        return self.tensor[:, 2] * self.tensor[:, 3]

    def normalize_angles(self) -> None:
        """Bring all angles into [-180, 180)."""
        self.tensor[:, 4] = rotated.normalize_angle(self.tensor[:, 4])

    def clip(self, box_size: tuple[int, int], clip_angle_threshold: float = 1.0) -> None:
        """Limit, in place, those that are almost upright to an image of `box_size` (height, width); the others stay.

        Args:
            box_size: (height, width) of the image.
            clip_angle_threshold: maximum absolute angle in degrees of boxes to clip.
        """
        height, width = box_size
        self.normalize_angles()
        upright = torch.nonzero(self.tensor[:, 4].abs() <= clip_angle_threshold).squeeze(1)
        x, y, w, h = self.tensor[upright, :4].unbind(dim=1)
        x0, x1 = (x - w / 2).clamp(min=0, max=width), (x + w / 2).clamp(min=0, max=width)
        y0, y1 = (y - h / 2).clamp(min=0, max=height), (y + h / 2).clamp(min=0, max=height)
        # Sizes only shrink, whatever rounding does.
        sides = (torch.min(w, x1 - x0), torch.min(h, y1 - y0))
        self.tensor[upright, :4] = torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, *sides), dim=1)

    def nonempty(self, threshold: float = 0.0) -> Tensor:
        """Bool (N,): width and height are both above `threshold`."""
        return (self.tensor[:, 2:4] > threshold).all(dim=1)

    def __getitem__(self, item: Any) -> "RotatedBoxes":
        if isinstance(item, int):
            return RotatedBoxes(self.tensor[item].view(1, -1))
        selection = self.tensor[item]
        assert selection.dim() == 2, f"Indexing on RotatedBoxes with {item} failed to return a matrix!"
        return RotatedBoxes(selection)

    def __repr__(self) -> str:
        return f"RotatedBoxes({self.tensor})"

    def inside_box(self, box_size: tuple[int, int], boundary_threshold: int = 0) -> Tensor:
        """Bool (N,): the box is within an image of `box_size`, or reaches out by less than `boundary_threshold`."""
        height, width = box_size
        x, y, w, h, angle = self.tensor.unbind(dim=1)
        cos, sin = (angle * math.pi / 180).cos().abs(), (angle * math.pi / 180).sin().abs()
        half_x, half_y = (cos * w + sin * h) / 2, (cos * h + sin * w) / 2
        return (
            (x - half_x >= -boundary_threshold)
            & (y - half_y >= -boundary_threshold)
            & (x + half_x < width + boundary_threshold)
            & (y + half_y < height + boundary_threshold)
        )

    def get_centers(self) -> Tensor:
        """(N, 2): x and y of the middles."""
        return self.tensor[:, :2]

    def scale(self, scale_x: float, scale_y: float) -> None:
        """Stretch them, in place; where the two differ, a box becomes the box of the stretched axes, not a rhomboid."""
        x, y, w, h, angle = self.tensor.unbind(dim=1)
        cos, sin = (angle * math.pi / 180).cos(), (angle * math.pi / 180).sin()
        width = w * ((scale_x * cos) ** 2 + (scale_y * sin) ** 2).sqrt()
        height = h * ((scale_x * sin) ** 2 + (scale_y * cos) ** 2).sqrt()
        turned = torch.atan2(scale_x * sin, scale_y * cos) * 180 / math.pi
        self.tensor = torch.stack((x * scale_x, y * scale_y, width, height, turned), dim=1)

    @classmethod
    def cat(cls, boxes_list: "Sequence[RotatedBoxes]") -> "RotatedBoxes":  # type: ignore[override]
        """All boxes of several, in order."""
        assert isinstance(boxes_list, list | tuple)
        assert all(isinstance(each, RotatedBoxes) for each in boxes_list)
        if not boxes_list:
            return cls(torch.empty(0))
        return cls(torch.cat([each.tensor for each in boxes_list], dim=0))

    def __iter__(self) -> Iterator[Tensor]:
        """Each box as a tensor (5,)."""
        yield from self.tensor


def pairwise_iou(boxes1: RotatedBoxes, boxes2: RotatedBoxes) -> Tensor:
    """(N, M): intersection over union of pairs."""
    return rotated.iou(boxes1.tensor, boxes2.tensor)
