"""What is true at points: read from masks, or what people said of a few points of each object (PointSup)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from det_core.errors import StructureError
from det_core.models.heads.mask import of_label
from det_core.ops.global_batch import image_rand, normalizer
from det_core.ops.masks import rasterise
from det_core.structures import Polygons, Targets
from torch import Tensor
from torch.nn import functional as F

from det_pointrend.points import at_points, masks_at, points_in_image, rows_of, shares_of_box

__all__ = ["LABELS", "POINTS", "AnnotatedPoints", "DrawnPoints", "PointLoss", "PointSource", "point_loss", "truth_at"]

POINTS = "det-pointrend/points"
"""The extra with the annotated points of each object: `det_core.data.transforms.Points` (N, P, 2)."""

LABELS = "det-pointrend/labels"
"""The extra that says of each of them whether it is on the object (1) or not (0), or is unknown (-1): int8 (N, P)."""


@runtime_checkable
class PointSource(Protocol):
    """Where the points come from that a head learns from."""

    def __call__(self, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> tuple[Tensor, Tensor]:
        """Shares (R, P, 2) of the regions (R_i, 4) of all images, and their truth (R, P): 0 to 1, or -1 for unknown.

        The targets are the objects that the regions stand for, row for row.
        """
        ...


@dataclass(frozen=True)
class DrawnPoints:
    """Points drawn evenly from each region, with the truth of the masks.

    Args:
        count: points of each region.
    """

    count: int = 196

    def __call__(self, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> tuple[Tensor, Tensor]:
        """As `PointSource`; StructureError if there are objects without masks."""
        boxes = torch.cat(list(proposals))
        shares = image_rand(rows_of(proposals), 2 * self.count, boxes.device).unflatten(1, (-1, 2))
        return shares, truth_at(targets, points_in_image(boxes, shares))


@dataclass(frozen=True)
class AnnotatedPoints:
    """The points that people have judged; what lies outside of a region is unknown there (Cheng et al., 2022)."""

    def __call__(self, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> tuple[Tensor, Tensor]:
        """As `PointSource`; StructureError if there are objects without such points."""
        for own in targets:
            if len(own) and not {POINTS, LABELS} <= own.extras.keys():
                fix = "use a dataset with points, such as {type: coco_points}"
                raise StructureError(f"Targets.extras[{POINTS!r}]", "is needed to learn from points", fix=fix)
        boxes = torch.cat(list(proposals))
        some = [own for own in targets if len(own)]
        if not some:
            return boxes.new_zeros(0, 1, 2), boxes.new_zeros(0, 1)
        most = max(own.extras[LABELS].shape[1] for own in some)
        # Images may have different numbers of points; what is added is unknown.
        points = torch.cat([F.pad(own.extras[POINTS].as_subclass(Tensor), (0, 0, 0, _lack(own, most))) for own in some])
        truth = torch.cat([F.pad(own.extras[LABELS].to(boxes), (0, _lack(own, most)), value=-1) for own in some])
        shares = shares_of_box(boxes, points.to(boxes))
        inside = ((shares >= 0) & (shares <= 1)).all(-1)
        return shares, torch.where(inside, truth, -1.0)


def _lack(targets: Targets, most: int) -> int:
    return most - targets.extras[LABELS].shape[1]


class PointLoss:
    """Compares masks with the truth at points, for a head of Mask R-CNN; a `det_core.contracts.MaskLoss`.

    Args:
        points: where they come from; null takes those that people have judged.
    """

    def __init__(self, points: PointSource | None = None) -> None:
        self.points = points or AnnotatedPoints()

    def __call__(self, logits: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> Tensor:
        """The mean binary cross-entropy of the true class's masks, interpolated at the points."""
        shares, truth = self.points(proposals, targets)
        labels = torch.cat([own.labels for own in targets])
        return point_loss(at_points(of_label(logits, labels)[:, None], shares)[:, 0], truth)


@torch.no_grad()
def truth_at(targets: Sequence[Targets], points: Tensor) -> Tensor:
    """How much of its own object is at each of the points (R, P, 2), in pixels: (R, P) from 0 to 1.

    The objects of all images stand one after another, a row of points for each.

    Raises:
        StructureError: there are objects without masks.
    """
    found = [points.new_zeros((0, points.shape[1]))]
    for own, places in zip(targets, points.split([len(each) for each in targets]), strict=True):
        if len(own):
            found.append(masks_at(_bitmaps(own.masks).to(points.device), places))
    return torch.cat(found)


def _bitmaps(masks: Tensor | Polygons | None) -> Tensor:
    if masks is None:
        fix = "load the dataset with masks: masks: bitmaps, or masks: polygons"
        raise StructureError("Targets.masks", "are needed to learn masks", "there are none", fix)
    if isinstance(masks, Tensor):
        return masks
    # As large as the outlines reach, which is as good as the image: beyond, nothing is true.
    reach = masks.points.ceil().amax(0).clamp(min=1).int().tolist() if len(masks.points) else [1, 1]
    return rasterise(masks, (reach[1], reach[0]))


def point_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Binary cross-entropy of points, the mean over all (R, P) of the global batch; unknown ones (-1) add nothing."""
    points = normalizer(truth.numel(), logits)
    if not len(truth):
        return logits.sum() * 0.0
    known, truth = (truth >= 0).float(), truth.clamp(min=0).float()
    return F.binary_cross_entropy_with_logits(logits.float(), truth, weight=known, reduction="sum") / points
