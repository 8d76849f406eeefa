"""From class scores, centres and offsets to segments, as Panoptic-DeepLab does it, on tensors of fixed shapes.

Nothing here depends on how much is found, so all of it goes through `torch.export`.
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
"""Distances that are held at once."""


class Grouped(NamedTuple):
    """The segments of B images, of K possible things and C classes.

    Attributes:
        ids: int32 (B, H, W): thing k is k + 1, stuff of class c is K + 1 + c, void is 0.
        areas: int64 (B, K + C): pixels of each segment, in the order of the ids; 0 where there is none.
        labels: int64 (B, K): the class of each thing.
        scores: float32 (B, K): the mean probability of that class in the thing, times the height of the centres at its
            middle; as published, and so not bounded, where centres are not.
        boxes: float32 (B, K, 4): around each thing; zeros where there is none.
    """

    ids: Tensor
    areas: Tensor
    labels: Tensor
    scores: Tensor
    boxes: Tensor


class Grouping(nn.Module):
    """Joins the pixels of things to the nearest centre, and gives every segment one class.

    Args:
        num_classes: of pixels.
        things: the labels of things.
        threshold: a centre must be higher than this.
        nms_kernel: side of the square in which a centre must be the highest, in pixels; odd.
        top_k: centres per image, at most; of those as high as the last of them, none counts, as published.
        stuff_area: stuff of fewer pixels in an image becomes void.
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

    def forward(self, logits: Tensor, centres: Tensor, offsets: Tensor) -> Grouped:
        """The segments of each image.

        Args:
            logits: float32 (B, C, H, W).
            centres: float32 (B, 1, H, W), the higher the likelier a centre.
            offsets: float32 (B, 2, H, W): how far down and across the centre of the pixel's thing is, in pixels.
        """
        points, found = self.find_centres(centres)
        semantic = logits.argmax(dim=1)
        thing = self.is_thing[semantic] & found.any(dim=1)[:, None, None]
        instance = torch.where(thing, self.nearest(points, found, offsets) + 1, 0)
        votes = self._count(instance * self.num_classes + semantic, (points.shape[1] + 1) * self.num_classes)
        votes = votes.unflatten(1, (-1, self.num_classes))
        labels = votes[:, 1:].argmax(dim=2)
        stuff = self._count(semantic, self.num_classes) * ~self.is_thing
        stuff = stuff * (stuff >= self.stuff_area)
        as_stuff = torch.where(stuff > 0, points.shape[1] + 1 + torch.arange(self.num_classes, device=stuff.device), 0)
        ids = torch.where(thing, instance, as_stuff.gather(1, semantic.flatten(1)).view_as(semantic))
        areas = votes[:, 1:].sum(dim=2)
        scores, boxes = _describe(instance, areas, labels, logits, centres)
        return Grouped(ids.int(), torch.cat((areas, stuff), dim=1), labels, scores, boxes)

    def predictions(self, logits: Tensor, centres: Tensor, offsets: Tensor, *, instances: bool) -> list[Prediction]:
        """Segments of each image, and things as detections too with `instances`; arguments as of `forward`."""
        grouped = self(logits, centres, offsets)
        is_thing, size = self.is_thing.tolist(), (logits.shape[-2], logits.shape[-1])
        return [
            Prediction(
                detections=as_detections(grouped, row, size) if instances else None,
                semantic=SemanticMap(logits=own),
                panoptic=as_panoptic(grouped, row, is_thing),
            )
            for row, own in enumerate(logits)
        ]

    def find_centres(self, centres: Tensor) -> tuple[Tensor, Tensor]:
        """The highest peaks of maps (B, 1, H, W): their y and x, int64 (B, K, 2), and which of them count, (B, K)."""
        height = F.threshold(centres[:, 0].float(), self.threshold, -1.0)
        highest = F.max_pool2d(height[:, None], self.nms_kernel, stride=1, padding=(self.nms_kernel - 1) // 2)[:, 0]
        peaks = torch.where(height == highest, height, -1.0).flatten(1)
        values, places = torch.topk(peaks, min(self.top_k, peaks.shape[1]), dim=1)
        width = centres.shape[-1]
        points = torch.stack((places // width, places % width), dim=2)
        return points, values > values[:, -1:].clamp(min=0)

    def nearest(self, points: Tensor, found: Tensor, offsets: Tensor) -> Tensor:
        """Which of the points (B, K, 2) that are `found` (B, K) each pixel points nearest to: int64 (B, H, W).

        Offsets (B, 2, H, W). Without any point it is 0.
        """
        height, width = offsets.shape[-2:]
        # Counted from the middle of the image, squares stay small and float32 exact enough.
        own = torch.stack((points[..., 0] - height // 2, points[..., 1] - width // 2), dim=2).float()
        # |t - p|^2 without |t|^2, which is the same for all points.
        constant = own.square().sum(dim=2).masked_fill(~found, float("inf"))[:, None]
        axes = (torch.arange(length, device=offsets.device) - length // 2 for length in (height, width))
        grid = torch.stack(torch.meshgrid(*axes, indexing="ij"))
        seen = (grid + offsets.float()).flatten(2).transpose(1, 2)
        # An exported program works for all sizes, which have no number of chunks in common.
        chunk = max(1, _CHUNK // (own.shape[0] * own.shape[1]))
        parts = [seen] if torch.compiler.is_exporting() else seen.split(chunk, dim=1)
        chosen = [torch.baddbmm(constant, part, own.transpose(1, 2), alpha=-2).argmin(dim=2) for part in parts]
        return torch.cat(chosen, dim=1).unflatten(1, (height, width))

    def _count(self, numbers: Tensor, length: int) -> Tensor:
        """How often each number below `length` stands in maps (B, H, W): int64 (B, length)."""
        flat = numbers.flatten(1)
        zeros = flat.new_zeros((flat.shape[0], length))
        return zeros.scatter_add(1, flat, torch.ones_like(flat))


def _describe(
    instance: Tensor, areas: Tensor, labels: Tensor, logits: Tensor, centres: Tensor
) -> tuple[Tensor, Tensor]:
    """The scores (B, K) and boxes (B, K, 4) of things."""
    height, width = instance.shape[-2:]
    flat = instance.flatten(1)
    # The label that every pixel's thing got; that of stuff does not matter.
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
    peak = centres.flatten(1).gather(1, middle[0] * width + middle[1]).float()
    boxes = torch.stack((ends[1][0], ends[0][0], ends[1][1], ends[0][1]), dim=2)
    there = areas > 0
    return mean * peak * there, boxes * there[..., None].float()


def as_panoptic(grouped: Grouped, image: int, is_thing: Sequence[bool]) -> PanopticMap:
    """The segments of one image, numbered from 1 without gaps; `is_thing` of each class."""
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
    """The things of one image, best first, with masks bool (N, H, W)."""
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
