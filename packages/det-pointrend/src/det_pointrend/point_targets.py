"""Ground truth at points: sampled from masks, or annotated for a few points of each object (PointSup)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from det_core.errors import StructureError
from det_core.models.heads.mask import of_label
from det_core.ops.global_batch import image_rand, normalizer
from det_core.ops.masks import rasterize
from det_core.structures import Polygons, Targets
from torch import Tensor
from torch.nn import functional as F

from det_pointrend.points import at_points, masks_at, points_in_image, rows_of, shares_of_box

__all__ = [
    "LABELS",
    "POINTS",
    "AnnotatedPoints",
    "DrawnPoints",
    "PointLoss",
    "PointSource",
    "mask_labels_at",
    "point_loss",
]

POINTS = "det-pointrend/points"
"""Extra with the annotated points of each object: `det_core.data.transforms.Points` (N, P, 2)."""

LABELS = "det-pointrend/labels"
"""Extra with their labels: 1 on the object, 0 outside, -1 unlabelled, int8 (N, P)."""


@runtime_checkable
class PointSource(Protocol):
    """Source of the training points of a head."""

    def __call__(self, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> tuple[Tensor, Tensor]:
        """Relative coordinates (R, P, 2) in the regions (R_i, 4) of all images; labels (R, P): 0 to 1, or -1 to ignore.

        The targets are the objects matched to the regions, row for row.
        """
        ...


@dataclass(frozen=True)
class DrawnPoints:
    """Uniform samples from each region, labelled by the ground-truth masks.

    Args:
        count: number of points per region.
    """

    count: int = 196

    def __call__(self, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> tuple[Tensor, Tensor]:
        """As `PointSource`; StructureError for objects without masks."""
        boxes = torch.cat(list(proposals))
        shares = image_rand(rows_of(proposals), 2 * self.count, boxes.device).unflatten(1, (-1, 2))
        return shares, mask_labels_at(targets, points_in_image(boxes, shares))


@dataclass(frozen=True)
class AnnotatedPoints:
    """The annotated points; those outside of a region are ignored (Cheng et al., 2022)."""

    def __call__(self, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> tuple[Tensor, Tensor]:
        """As `PointSource`; StructureError for objects without annotated points."""
        for each in targets:
            if len(each) and not {POINTS, LABELS} <= each.extras.keys():
                fix = "use a dataset with points, such as {type: coco_points}"
                raise StructureError(f"Targets.extras[{POINTS!r}]", "is needed to train on points", fix=fix)
        boxes = torch.cat(list(proposals))
        annotated = [each for each in targets if len(each)]
        if not annotated:
            return boxes.new_zeros(0, 1, 2), boxes.new_zeros(0, 1)
        width = max(each.extras[LABELS].shape[1] for each in annotated)
        # Images may have different numbers of points; the padding is unlabelled.
        points = torch.cat(
            [F.pad(each.extras[POINTS].as_subclass(Tensor), (0, 0, 0, _missing(each, width))) for each in annotated]
        )
        labels = torch.cat(
            [F.pad(each.extras[LABELS].to(boxes), (0, _missing(each, width)), value=-1) for each in annotated]
        )
        shares = shares_of_box(boxes, points.to(boxes))
        inside = ((shares >= 0) & (shares <= 1)).all(-1)
        return shares, torch.where(inside, labels, -1.0)


def _missing(targets: Targets, width: int) -> int:
    return width - targets.extras[LABELS].shape[1]


class PointLoss:
    """Point loss for the mask head of Mask R-CNN; a `det_core.contracts.MaskLoss`.

    Args:
        points: source of the training points; null for annotated points.
    """

    def __init__(self, points: PointSource | None = None) -> None:
        self.points = points or AnnotatedPoints()

    def __call__(self, logits: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> Tensor:
        """Mean binary cross-entropy of the masks of the ground-truth class, interpolated at the points."""
        shares, ground_truth = self.points(proposals, targets)
        labels = torch.cat([each.labels for each in targets])
        return point_loss(at_points(of_label(logits, labels)[:, None], shares)[:, 0], ground_truth)


@torch.no_grad()
def mask_labels_at(targets: Sequence[Targets], points: Tensor) -> Tensor:
    """Bilinear samples of each object's mask at points (R, P, 2), in pixels: (R, P) from 0 to 1.

    The objects of all images are concatenated, with a row of points for each.

    Raises:
        StructureError: there are objects without masks.
    """
    labels = [points.new_zeros((0, points.shape[1]))]
    for each_targets, places in zip(targets, points.split([len(each) for each in targets]), strict=True):
        if len(each_targets):
            labels.append(masks_at(_bitmaps(each_targets.masks).to(points.device), places))
    return torch.cat(labels)


def _bitmaps(masks: Tensor | Polygons | None) -> Tensor:
    if masks is None:
        fix = "load the dataset with masks: masks: bitmaps, or masks: polygons"
        raise StructureError("Targets.masks", "are needed to train masks", "there are none", fix)
    if isinstance(masks, Tensor):
        return masks
    # As large as the polygons extend, which suffices: beyond, the mask is empty.
    reach = masks.points.ceil().amax(0).clamp(min=1).int().tolist() if len(masks.points) else [1, 1]
    return rasterize(masks, (reach[1], reach[0]))


def point_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy, mean over all points (R, P) of the global batch; unlabelled ones (-1) add nothing."""
    points = normalizer(targets.numel(), logits)
    if not len(targets):
        return logits.sum() * 0.0
    labelled, targets = (targets >= 0).float(), targets.clamp(min=0).float()
    return F.binary_cross_entropy_with_logits(logits.float(), targets, weight=labelled, reduction="sum") / points
