"""Training samples of anchors and proposals: matching to ground-truth boxes, then random sampling."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from det_core.ops.geometry import geometry
from det_core.ops.matching import Matcher, without_crowd
from det_core.ops.sampling import sample
from det_core.structures import Size, Targets

__all__ = ["AnchorSampler", "RegionSampler", "SampledProposals"]


@dataclass(frozen=True)
class AnchorSampler:
    """Matches the anchors of an RPN to objects by IoU, and samples those for the losses.

    Attributes:
        iou_thresholds: ascending IoUs that separate the ranges of `iou_labels`.
        iou_labels: label of each range: 0 background, -1 ignore, 1 foreground; the best anchor of an object is
            foreground.
        batch_size_per_image: number of sampled anchors per image.
        positive_fraction: maximum fraction of foreground anchors, in [0, 1].
        boundary_threshold: anchors that extend further beyond the image, in pixels, are ignored; negative for no limit.
    """

    iou_thresholds: Sequence[float] = (0.3, 0.7)
    iou_labels: Sequence[int] = (0, -1, 1)
    batch_size_per_image: int = 256
    positive_fraction: float = 0.5
    boundary_threshold: float = -1.0

    def __post_init__(self) -> None:
        _ = self._matcher  # validates thresholds and labels

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.iou_thresholds, self.iou_labels, keep_best=True)

    def draw(self, labels: Tensor) -> Tensor:
        """Mask of the sampled anchors, bool (B, A), from their labels int8 (B, A)."""
        return sample(labels, self.batch_size_per_image, self.positive_fraction)

    @torch.no_grad()
    def match(self, anchors: Tensor, size: Size, targets: Targets) -> tuple[Tensor, Tensor]:
        """Label of each anchor, int8 (A,), and the matched ground-truth box of foreground ones (A, box_dim)."""
        form = geometry(anchors.shape[1])
        form.require(targets.boxes, "Targets.boxes")
        match = self._matcher(form.iou(targets.boxes, anchors))
        labels = without_crowd(match, targets)
        if self.boundary_threshold >= 0:
            labels = labels.masked_fill(~form.within(anchors, size, self.boundary_threshold), -1)
        return labels, targets.boxes[match.matched_idxs] if len(targets) else anchors


class SampledProposals(NamedTuple):
    """Training regions of one image: boxes (P, 4 or 5), labels (P,), matched indices (P,), and the ground truth."""

    boxes: Tensor
    labels: Tensor
    matched_idxs: Tensor
    targets: Targets

    def matched_gt_boxes(self) -> Tensor:
        """Matched ground-truth box of each region, shaped like `boxes`; the regions themselves without objects."""
        return self.targets.boxes[self.matched_idxs] if len(self.targets) else self.boxes


@dataclass(frozen=True)
class RegionSampler:
    """Matches proposals to objects by IoU, and samples those for the losses.

    Attributes:
        iou_thresholds: ascending IoUs that separate the ranges of `iou_labels`.
        iou_labels: label of each range: 0 background, -1 ignore, 1 foreground.
        batch_size_per_image: number of sampled proposals per image; None for all.
        positive_fraction: maximum fraction of foreground proposals, in [0, 1].
        append_ground_truth: whether ground-truth boxes are added to the proposals, which helps early training.
    """

    iou_thresholds: Sequence[float] = (0.5,)
    iou_labels: Sequence[int] = (0, 1)
    batch_size_per_image: int | None = 512
    positive_fraction: float = 0.25
    append_ground_truth: bool = True

    def __post_init__(self) -> None:
        _ = self._matcher  # validates thresholds and labels

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.iou_thresholds, self.iou_labels)

    @torch.no_grad()
    def __call__(self, boxes: Tensor, targets: Targets, num_classes: int, image: int = 0) -> SampledProposals:
        """Sample the proposals, (N, 4) or rotated (N, 5), of one image.

        Args:
            boxes: boxes of the image's proposals, (N, 4) or (N, 5).
            targets: the ground truth of the image.
            num_classes: number of foreground classes, the label of the background.
            image: row of the image in the batch, which determines its random numbers.
        """
        form = geometry(boxes.shape[1])
        form.require(targets.boxes, "Targets.boxes")
        if self.append_ground_truth:
            boxes = torch.cat((boxes, targets.boxes))
        match = self._matcher(form.iou(targets.boxes, boxes))
        matched = without_crowd(match, targets)
        count = len(boxes) if self.batch_size_per_image is None else self.batch_size_per_image
        rows = torch.nonzero(sample(matched[None], count, self.positive_fraction, [image])[0]).squeeze(1)
        indices = match.matched_idxs[rows]
        labels = torch.full_like(indices, num_classes)
        if len(targets):
            labels = torch.where(matched[rows] == 1, targets.labels[indices], labels)
        return SampledProposals(boxes[rows], labels, indices, targets)
