"""Which anchors and proposals a loss is computed on: matching to ground-truth boxes, then random sampling."""

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
    """Labels the anchors of an RPN by the objects they overlap, and draws those that the losses are computed on.

    Attributes:
        iou_thresholds: IoUs, rising, that separate the ranges of `iou_labels`.
        iou_labels: 0 background, -1 ignore, 1 foreground; an object's best anchor is always foreground.
        batch_size_per_image: anchors drawn of each image.
        positive_fraction: share of these that may be foreground, in [0, 1].
        boundary_threshold: anchors that reach further out of the image, in pixels, are ignored; negative for no limit.
    """

    iou_thresholds: Sequence[float] = (0.3, 0.7)
    iou_labels: Sequence[int] = (0, -1, 1)
    batch_size_per_image: int = 256
    positive_fraction: float = 0.5
    boundary_threshold: float = -1.0

    def __post_init__(self) -> None:
        _ = self._matcher  # thresholds and labels that do not fit are refused at once

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.iou_thresholds, self.iou_labels, keep_best=True)

    def draw(self, labels: Tensor) -> Tensor:
        """The anchors that are drawn, by their labels int8 (B, A): bool (B, A)."""
        return sample(labels, self.batch_size_per_image, self.positive_fraction)

    @torch.no_grad()
    def match(self, anchors: Tensor, size: Size, targets: Targets) -> tuple[Tensor, Tensor]:
        """The label of each anchor, int8 (A,), and the ground-truth box of the foreground ones (A, box_dim)."""
        form = geometry(anchors.shape[1])
        form.require(targets.boxes, "Targets.boxes")
        match = self._matcher(form.iou(targets.boxes, anchors))
        labels = without_crowd(match, targets)
        if self.boundary_threshold >= 0:
            labels = labels.masked_fill(~form.within(anchors, size, self.boundary_threshold), -1)
        return labels, targets.boxes[match.partner] if len(targets) else anchors


class SampledProposals(NamedTuple):
    """Regions of one image to train on: boxes (P, 4 or 5), labels (P,), matched indices (P,), and the ground truth."""

    boxes: Tensor
    labels: Tensor
    matched_idxs: Tensor
    targets: Targets

    def matched_gt_boxes(self) -> Tensor:
        """The ground-truth box of each region, shaped like `boxes`; without objects the regions themselves."""
        return self.targets.boxes[self.matched_idxs] if len(self.targets) else self.boxes


@dataclass(frozen=True)
class RegionSampler:
    """Labels proposals by the objects they overlap, and draws those that the losses are computed on.

    Attributes:
        iou_thresholds: IoUs, rising, that separate the ranges of `iou_labels`.
        iou_labels: 0 background, -1 ignore, 1 foreground.
        batch_size_per_image: proposals drawn of each image; None takes all.
        positive_fraction: share of these that may be foreground, in [0, 1].
        append_ground_truth: add the ground-truth boxes to the proposals, so that early training has good ones.
    """

    iou_thresholds: Sequence[float] = (0.5,)
    iou_labels: Sequence[int] = (0, 1)
    batch_size_per_image: int | None = 512
    positive_fraction: float = 0.25
    append_ground_truth: bool = True

    def __post_init__(self) -> None:
        _ = self._matcher  # thresholds and labels that do not fit are refused at once

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self.iou_thresholds, self.iou_labels)

    @torch.no_grad()
    def __call__(self, boxes: Tensor, targets: Targets, num_classes: int, image: int = 0) -> SampledProposals:
        """Draw from the proposals, (N, 4) or rotated (N, 5), of one image.

        Args:
            boxes: the proposals.
            targets: the ground truth of the image.
            num_classes: the label of the background.
            image: the image's row in the batch, which its random numbers follow from.
        """
        form = geometry(boxes.shape[1])
        form.require(targets.boxes, "Targets.boxes")
        if self.append_ground_truth:
            boxes = torch.cat((boxes, targets.boxes))
        match = self._matcher(form.iou(targets.boxes, boxes))
        matched = without_crowd(match, targets)
        count = len(boxes) if self.batch_size_per_image is None else self.batch_size_per_image
        rows = torch.nonzero(sample(matched[None], count, self.positive_fraction, [image])[0]).squeeze(1)
        indices = match.partner[rows]
        labels = torch.full_like(indices, num_classes)
        if len(targets):
            labels = torch.where(matched[rows] == 1, targets.labels[indices], labels)
        return SampledProposals(boxes[rows], labels, indices, targets)
