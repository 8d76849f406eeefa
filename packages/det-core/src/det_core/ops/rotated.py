"""Rotated boxes: (cx, cy, w, h, angle), with the angle in degrees, counter-clockwise in the displayed image.

A box of angle 0 is axis-aligned; its sides are w along x and h along y. Plain tensor code, for any device.
"""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from det_core.ops.coding import MAX_LOG_SCALE
from det_core.ops.precision import precise
from det_core.structures import Size

__all__ = [
    "area",
    "clip",
    "corners",
    "decode",
    "encode",
    "iou",
    "larger_than",
    "nms_by_group",
    "normalize_angle",
    "scale",
    "within",
]

_CHUNK = 1 << 17  # pairs per clipping step, which limits the memory to some hundred megabytes
_ROWS = 1 << 22  # pairs per step of their preselection
_HORIZONTAL = 1.0  # maximum angle, in degrees, of boxes that are clipped as axis-aligned ones, as published


def normalize_angle(angle: Tensor) -> Tensor:
    """The same angle in [-180, 180)."""
    return (angle + 180.0) % 360.0 - 180.0


def area(boxes: Tensor) -> Tensor:
    """Square pixels of each box: (..., 5) to (...)."""
    return boxes[..., 2] * boxes[..., 3]


def corners(boxes: Tensor) -> Tensor:
    """Corners of each box in order: (..., 5) to (..., 4, 2)."""
    across, along = _axes(boxes)
    across, along = across * boxes[..., 2:3] / 2, along * boxes[..., 3:4] / 2
    center = boxes[..., :2]
    return torch.stack(
        (center - across - along, center + across - along, center + across + along, center - across + along), dim=-2
    )


def iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every pair: (N, 5) and (M, 5) to (N, M), as `precise`; exact, by clipping."""
    a, b = precise(a, b)
    result = a.new_zeros(len(a), len(b))
    if not result.numel():
        return result
    for i, j in _likely_pairs(a, b, _meet):
        result[i, j] = _iou_of_pairs(a[i], b[j])
    return result


def _likely_pairs(a: Tensor, b: Tensor, likely: Callable[[Tensor, Tensor], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs of `a` (N, 5) and `b` (M, 5) for which `likely`, with (n, 1, 5) and (M, 5), is True, in chunks."""
    step = max(1, _ROWS // max(1, len(b)))
    for start in range(0, len(a), step):
        i, j = torch.nonzero(likely(a[start : start + step, None], b), as_tuple=True)
        yield from zip((i + start).split(_CHUNK), j.split(_CHUNK), strict=True)


def _meet(a: Tensor, b: Tensor) -> Tensor:
    """Whether the circumscribed circles of two boxes meet, a condition of overlap: (..., 5), broadcast, to (...)."""
    reach = 0.5 * (a[..., 2:4].norm(dim=-1) + b[..., 2:4].norm(dim=-1))
    return (a[..., :2] - b[..., :2]).norm(dim=-1) <= reach


def _iou_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union row by row: (P, 5) and (P, 5) to (P,)."""
    area_a, area_b = area(a), area(b)
    # Relative to their common centre, to keep precision far from the origin.
    middle = (a[:, :2] + b[:, :2]) / 2
    precise = torch.float32 if a.device.type == "mps" else torch.float64
    a, b = (torch.cat((x[:, :2] - middle, x[:, 2:]), dim=1).to(precise) for x in (a, b))
    # By Green's theorem the area is a sum over the edges of both, each as far as it is inside of the other.
    shared = (_along_edges(a, b, shared_edges=True) + _along_edges(b, a, shared_edges=False)).clamp(min=0)
    shared = torch.minimum(shared.to(area_a.dtype), torch.minimum(area_a, area_b))
    return torch.where((area_a > 1e-14) & (area_b > 1e-14), shared / (area_a + area_b - shared), 0.0)


def _along_edges(a: Tensor, b: Tensor, *, shared_edges: bool) -> Tensor:
    """Half the sum of x dy - y dx along the edges of `a` (P, 5) as far as they are inside of `b` (P, 5).

    With `shared_edges`, an edge on the border of `b` counts if both boxes are on the same side of it.
    """
    tolerance = 1e-9 if a.dtype == torch.float64 else 1e-5
    start = corners(a)
    step = start.roll(-1, dims=1) - start
    first, last = torch.zeros_like(start[..., 0]), torch.ones_like(start[..., 0])
    for axis, side in zip(_axes(b), (b[:, 2:3], b[:, 3:4]), strict=True):
        position = ((start - b[:, None, :2]) * axis[:, None]).sum(dim=2)
        change = (step * axis[:, None]).sum(dim=2)
        half = side / 2
        parallel = change.abs() <= tolerance * step.norm(dim=2)
        away = position.abs() - half
        inside = away < -tolerance * side
        if shared_edges:
            inward = ((a[:, :2] - b[:, :2]) * axis).sum(dim=1, keepdim=True) - position
            inside |= (away <= tolerance * side) & (position * inward < 0)
        safe = torch.where(parallel, 1.0, change)
        crossings = (-half - position) / safe, (half - position) / safe
        first = torch.maximum(first, torch.where(parallel, 0.0, torch.minimum(*crossings)))
        last = torch.minimum(last, torch.where(parallel, inside.to(first.dtype), torch.maximum(*crossings)))
    # x dy - y dx is constant along a straight edge; the corners are in positive orientation.
    return ((start[..., 0] * step[..., 1] - start[..., 1] * step[..., 0]) * (last - first).clamp(min=0)).sum(dim=1) / 2


def _overlapping(boxes: Tensor, threshold: float) -> Tensor:
    """Whether each box overlaps a later one by more than `threshold`: (N, 5) to bool (N, N), upper triangular."""
    (boxes,) = precise(boxes)
    result = torch.zeros(len(boxes), len(boxes), dtype=torch.bool, device=boxes.device)
    # A cheap bound leaves few pairs to clip; it must not lose one by rounding.
    for i, j in _likely_pairs(boxes, boxes, lambda a, b: _bound(a, b) > threshold - 0.01):
        later = i < j
        i, j = i[later], j[later]
        result[i, j] = _iou_of_pairs(boxes[i], boxes[j]) > threshold
    return result


def _bound(a: Tensor, b: Tensor) -> Tensor:
    """Upper bound of the IoU: (..., 5) and (..., 5), broadcast, to (...).

    In the projection onto the sides of either box, the other's extent covers their intersection.
    """
    turn = (b[..., 4] - a[..., 4]) * (math.pi / 180)
    cos, sin = turn.cos().abs(), turn.sin().abs()
    apart = b[..., :2] - a[..., :2]
    shared = []
    for one, other in ((a, b), (b, a)):
        w, h = other[..., 2], other[..., 3]
        lengths = []
        for axis, side, shadow in zip(
            _axes(one), one[..., 2:4].unbind(-1), (w * cos + h * sin, w * sin + h * cos), strict=True
        ):
            reach = (side + shadow) / 2 - (apart * axis).sum(dim=-1).abs()
            lengths.append(torch.minimum(torch.minimum(side, shadow), reach).clamp(min=0))
        shared.append(lengths[0] * lengths[1])
    most = torch.minimum(*shared)
    return most / (area(a) + area(b) - most).clamp(min=1e-14)


def _axes(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """The directions of w and h: (..., 5) to twice (..., 2)."""
    radians = boxes[..., 4] * (math.pi / 180)
    cos, sin = radians.cos(), radians.sin()
    # y points down, so that a counter-clockwise rotation turns x towards -y.
    return torch.stack((cos, -sin), dim=-1), torch.stack((sin, cos), dim=-1)


def nms_by_group(boxes: Tensor, scores: Tensor, groups: Tensor, threshold: float) -> Tensor:
    """Indices, by descending score, of the boxes that no better box of their group overlaps by more than `threshold`.

    Boxes (N, 5), scores (N,), groups int64 (N,), such as labels or levels; returns int64 (K,). Boxes must be finite.
    """
    order = scores.argsort(descending=True, stable=True)
    stays = torch.ones_like(order, dtype=torch.bool)
    for group in groups.unique().tolist():
        rows = torch.nonzero(groups[order] == group).squeeze(1)
        in_group = boxes[order[rows]]
        beats = _overlapping(in_group, threshold).cpu()
        alive = torch.ones(len(rows), dtype=torch.bool)
        for i in torch.nonzero(beats.any(dim=1)).squeeze(1).tolist():
            if alive[i]:
                alive &= ~beats[i]
        stays[rows] = alive.to(stays.device)
    return order[stays]


def encode(boxes: Tensor, references: Tensor, weights: Sequence[float]) -> Tensor:
    """The offsets (dx, dy, dw, dh, da) from `references` to `boxes`: (..., 5) and (..., 5) to (..., 5).

    The first four are those of axis-aligned boxes; da is the smallest rotation, in radians, times its weight.
    """
    x, y, width, height, angle = boxes.unbind(dim=-1)
    from_x, from_y, from_width, from_height, from_angle = references.unbind(dim=-1)
    parts = (
        (x - from_x) / from_width,
        (y - from_y) / from_height,
        torch.log(width / from_width),
        torch.log(height / from_height),
        normalize_angle(angle - from_angle) * (math.pi / 180),
    )
    return torch.stack([weight * part for weight, part in zip(weights, parts, strict=True)], dim=-1)


def decode(offsets: Tensor, references: Tensor, weights: Sequence[float]) -> Tensor:
    """The boxes at `offsets` from `references`: float (..., 5) and (..., 5) to (..., 5), as `precise`.

    The inverse of `encode`, except for sizes beyond `MAX_LOG_SCALE`; angles are in [-180, 180). Shapes broadcast.
    """
    offsets, references = precise(offsets, references)
    parts = offsets.unbind(dim=-1)
    dx, dy, dw, dh, da = (part / weight for part, weight in zip(parts, weights, strict=True))
    x, y, width, height, angle = references.unbind(dim=-1)
    return torch.stack(
        (
            dx * width + x,
            dy * height + y,
            torch.exp(dw.clamp(max=MAX_LOG_SCALE)) * width,
            torch.exp(dh.clamp(max=MAX_LOG_SCALE)) * height,
            normalize_angle(da * (180 / math.pi) + angle),
        ),
        dim=-1,
    )


def clip(boxes: Tensor, size: Size) -> Tensor:
    """Clip boxes with an angle of at most one degree to the image: (..., 5) to (..., 5).

    Others are unchanged, as their visible part is no box. Angles become normalized to [-180, 180).
    """
    height, width = size
    x, y, w, h, angle = boxes.unbind(dim=-1)
    angle = normalize_angle(angle)
    x0, x1 = (x - w / 2).clamp(0, width), (x + w / 2).clamp(0, width)
    y0, y1 = (y - h / 2).clamp(0, height), (y + h / 2).clamp(0, height)
    # Rounding never increases the sides.
    cut = torch.stack(((x0 + x1) / 2, (y0 + y1) / 2, torch.minimum(w, x1 - x0), torch.minimum(h, y1 - y0), angle), -1)
    whole = torch.stack((x, y, w, h, angle), dim=-1)
    return torch.where((angle.abs() <= _HORIZONTAL)[..., None], cut, whole)


def scale(boxes: Tensor, across: float, down: float) -> Tensor:
    """Boxes in an image that is stretched by `across` in width and `down` in height: (..., 5) to (..., 5).

    A rotated box becomes a parallelogram; the resulting box has the lengths of its sides, and the direction of its
    former height, as published.
    """
    x, y, w, h, angle = boxes.unbind(dim=-1)
    if across == down:
        return torch.stack((x * across, y * across, w * across, h * across, angle), dim=-1)
    cos, sin = torch.cos(angle * (math.pi / 180)), torch.sin(angle * (math.pi / 180))
    w = w * torch.hypot(across * cos, down * sin)
    h = h * torch.hypot(across * sin, down * cos)
    angle = torch.atan2(across * sin, down * cos) * (180 / math.pi)
    return torch.stack((x * across, y * down, w, h, angle), dim=-1)


def larger_than(boxes: Tensor, side: float) -> Tensor:
    """Whether both sides of each box are longer than `side` pixels: (..., 5) to bool (...)."""
    return (boxes[..., 2] > side) & (boxes[..., 3] > side)


def within(boxes: Tensor, size: Size, margin: float) -> Tensor:
    """Whether each box extends at most `margin` pixels beyond an image of `size`: (..., 5) to bool (...)."""
    height, width = size
    x, y = corners(boxes).unbind(dim=-1)
    inside = (x >= -margin) & (y >= -margin) & (x < width + margin) & (y < height + margin)
    return inside.all(dim=-1)
