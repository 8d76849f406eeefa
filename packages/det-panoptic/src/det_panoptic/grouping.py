"""Groups class logits, centers and offsets into segments, as Panoptic-DeepLab does, on tensors of fixed shapes.

No shape depends on the values, so everything is exportable by `torch.export`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from det_core.errors import ConfigError
from det_core.structures import Detections, PanopticMap, Prediction, SemanticMap, Size
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Grouped", "Grouping", "as_detections", "as_panoptic"]

_CHUNK = 2**22
"""Maximum number of distances in memory at once."""


class Grouped(NamedTuple):
    """Segments of B images, with K candidate things and C classes.

    Attributes:
        ids: int32 (B, H, W): thing k is k + 1, stuff of class c is K + 1 + c, void is 0.
        areas: int64 (B, K + C): pixels of each segment, in the order of the ids; 0 for absent segments.
        labels: int64 (B, K): class of each thing.
        scores: float32 (B, K): mean probability of that class in the thing, times the centre heatmap at its centre of
            mass; as published, and so unbounded where the heatmap is.
        boxes: float32 (B, K, 4): bounding box of each thing; zeros for absent ones.
    """

    ids: Tensor
    areas: Tensor
    labels: Tensor
    scores: Tensor
    boxes: Tensor


class Grouping(nn.Module):
    """Assigns thing pixels to the nearest centre, and gives every segment one class.

    Args:
        num_classes: number of classes of pixels.
        things: labels of the thing classes.
        threshold: minimum height of a centre in the heatmap.
        nms_kernel: side of the square in which a centre must be the maximum, in pixels; odd.
        top_k: maximum number of centers per image; ties with the lowest of them are dropped, as published.
        stuff_area: minimum stuff area in pixels; smaller stuff becomes void.
    """

    def __init__(
        self,
        num_classes: int,
        things: Sequence[int],
        *,
        threshold: float = 0.1,
        nms_kernel: int = 7,
        top_k: int = 200,
        stuff_area: int = 2048,
    ) -> None:
        super().__init__()
        if nms_kernel < 1 or nms_kernel % 2 == 0:
            raise ConfigError("nms_kernel", "must be a positive odd number", f"got {nms_kernel}")
        if top_k < 1:
            raise ConfigError("top_k", "must be at least 1", f"got {top_k}")
        if any(not 0 <= label < num_classes for label in things):
            raise ConfigError("things", f"must be labels below {num_classes}", f"got {list(things)}")
        self.num_classes, self.threshold, self.nms_kernel = num_classes, threshold, nms_kernel
        self.top_k, self.stuff_area = top_k, stuff_area
        self.register_buffer("is_thing", torch.tensor([c in set(things) for c in range(num_classes)]), persistent=False)

    is_thing: Tensor

    def forward(self, logits: Tensor, centers: Tensor, offsets: Tensor) -> Grouped:
        """Segments of each image.

        Args:
            logits: class logits, float32 (B, C, H, W).
            centers: centre heatmap, float32 (B, 1, H, W).
            offsets: float32 (B, 2, H, W): vertical and horizontal offset to the centre of the pixel's thing, in pixels.
        """
        points, valid = self.find_centers(centers)
        semantic = logits.argmax(dim=1)
        thing = self.is_thing[semantic] & valid.any(dim=1)[:, None, None]
        instance = torch.where(thing, self.nearest(points, valid, offsets) + 1, 0)
        votes = self._count(instance * self.num_classes + semantic, (points.shape[1] + 1) * self.num_classes)
        votes = votes.unflatten(1, (-1, self.num_classes))
        labels = votes[:, 1:].argmax(dim=2)
        stuff = self._count(semantic, self.num_classes) * ~self.is_thing
        stuff = stuff * (stuff >= self.stuff_area)
        as_stuff = torch.where(stuff > 0, points.shape[1] + 1 + torch.arange(self.num_classes, device=stuff.device), 0)
        ids = torch.where(thing, instance, as_stuff.gather(1, semantic.flatten(1)).view_as(semantic))
        areas = votes[:, 1:].sum(dim=2)
        scores, boxes = _describe(instance, areas, labels, logits, centers)
        return Grouped(ids.int(), torch.cat((areas, stuff), dim=1), labels, scores, boxes)

    def predictions(self, logits: Tensor, centers: Tensor, offsets: Tensor, *, instances: bool) -> list[Prediction]:
        """Segments of each image, and with `instances` things as detections; arguments as of `forward`."""
        grouped = self(logits, centers, offsets)
        is_thing, size = self.is_thing.tolist(), (logits.shape[-2], logits.shape[-1])
        return [
            Prediction(
                detections=as_detections(grouped, row, size) if instances else None,
                semantic=SemanticMap(logits=class_logits),
                panoptic=as_panoptic(grouped, row, is_thing),
            )
            for row, class_logits in enumerate(logits)
        ]

    def find_centers(self, centers: Tensor) -> tuple[Tensor, Tensor]:
        """The highest peaks of maps (B, 1, H, W): their y and x, int64 (B, K, 2), and whether each is valid, (B, K)."""
        height = F.threshold(centers[:, 0].float(), self.threshold, -1.0)
        highest = F.max_pool2d(height[:, None], self.nms_kernel, stride=1, padding=(self.nms_kernel - 1) // 2)[:, 0]
        peaks = torch.where(height == highest, height, -1.0).flatten(1)
        values, places = torch.topk(peaks, min(self.top_k, peaks.shape[1]), dim=1)
        width = centers.shape[-1]
        points = torch.stack((places // width, places % width), dim=2)
        return points, values > values[:, -1:].clamp(min=0)

    def nearest(self, points: Tensor, valid: Tensor, offsets: Tensor) -> Tensor:
        """Index of the `valid` (B, K) point (B, K, 2) nearest to the target of each pixel: int64 (B, H, W).

        `offsets` (B, 2, H, W) point from pixels to targets. 0 without any valid point.
        """
        height, width = offsets.shape[-2:]
        # Relative to the image centre, squares stay small and float32 exact enough.
        relative = torch.stack((points[..., 0] - height // 2, points[..., 1] - width // 2), dim=2).float()
        # |t - p|^2 without |t|^2, which is the same for all points.
        constant = relative.square().sum(dim=2).masked_fill(~valid, float("inf"))[:, None]
        axes = (torch.arange(length, device=offsets.device) - length // 2 for length in (height, width))
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        targets = (grid + offsets.float()).flatten(2).transpose(1, 2)
        # An exported program works for all sizes, which share no number of chunks.
        chunk = max(1, _CHUNK // (relative.shape[0] * relative.shape[1]))
        parts = [targets] if torch.compiler.is_exporting() else targets.split(chunk, dim=1)
        nearest = [torch.baddbmm(constant, part, relative.transpose(1, 2), alpha=-2).argmin(dim=2) for part in parts]
        return torch.cat(nearest, dim=1).unflatten(1, (height, width))

    def _count(self, numbers: Tensor, length: int) -> Tensor:
        """Occurrences of each number below `length` in maps (B, H, W): int64 (B, length)."""
        flat = numbers.flatten(1)
        zeros = flat.new_zeros((flat.shape[0], length))
        return zeros.scatter_add(1, flat, torch.ones_like(flat))


def _describe(
    instance: Tensor, areas: Tensor, labels: Tensor, logits: Tensor, centers: Tensor
) -> tuple[Tensor, Tensor]:
    """Scores (B, K) and boxes (B, K, 4) of things."""
    height, width = instance.shape[-2:]
    flat = instance.flatten(1)
    # The label of every pixel's thing; the value for stuff is unused.
    label = torch.cat((labels[:, :1], labels), dim=1).gather(1, flat).view_as(instance)
    sure = logits.float().softmax(dim=1).gather(1, label[:, None])[:, 0].flatten(1)
    zeros = sure.new_zeros((flat.shape[0], areas.shape[1] + 1))
    count = areas.clamp(min=1)
    mean = zeros.scatter_add(1, flat, sure)[:, 1:] / count
    middle, ends = [], []
    for length, axis in ((height, 1), (width, 2)):
        place = torch.arange(length, device=flat.device).view((-1, 1) if axis == 1 else (1, -1))
        place = place.expand(instance.shape).reshape(flat.shape)
        whole = torch.zeros_like(zeros, dtype=torch.int64)
        middle.append(whole.scatter_add(1, flat, place)[:, 1:] // count)
        first = whole.fill_(length).scatter_reduce(1, flat, place, "amin")[:, 1:]
        last = whole.fill_(-1).scatter_reduce(1, flat, place, "amax")[:, 1:] + 1
        ends.append((first, last))
    peak = centers.flatten(1).gather(1, middle[0] * width + middle[1]).float()
    boxes = torch.stack((ends[1][0], ends[0][0], ends[1][1], ends[0][1]), dim=2)
    there = areas > 0
    return mean * peak * there, boxes * there[..., None].float()


def as_panoptic(grouped: Grouped, image: int, is_thing: Sequence[bool]) -> PanopticMap:
    """Segments of one image, numbered from 1 without gaps; `is_thing` of each class."""
    areas, labels = grouped.areas[image], grouped.labels[image]
    things = len(labels)
    number = torch.cat((areas.new_zeros(1), (areas > 0).cumsum(0) * (areas > 0)))
    segments: list[dict[str, Any]] = []
    for row in areas.nonzero()[:, 0].tolist():
        label = int(labels[row]) if row < things else row - things
        segments.append({"id": len(segments) + 1, "label": label, "is_thing": bool(is_thing[label])})
        if row < things:
            segments[-1]["score"] = float(grouped.scores[image, row])
    return PanopticMap(ids=number[grouped.ids[image].long()].int(), segments=segments)


def as_detections(grouped: Grouped, image: int, size: Size) -> Detections:
    """Things of one image, best first, with masks bool (N, H, W)."""
    things = grouped.labels.shape[1]
    rows = grouped.areas[image, :things].nonzero()[:, 0]
    rows = rows[grouped.scores[image, rows].argsort(descending=True, stable=True)]
    return Detections(
        boxes=grouped.boxes[image, rows],
        labels=grouped.labels[image, rows],
        scores=grouped.scores[image, rows],
        size=size,
        masks=grouped.ids[image] == (rows + 1)[:, None, None],
    )
