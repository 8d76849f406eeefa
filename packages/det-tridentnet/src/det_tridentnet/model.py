"""TridentNet and TridentNet-Fast (Li et al., "Scale-aware trident networks for object detection", 2019)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from det_core.contracts import Backbone, Preprocess, ProposalGenerator, ROIHeads
from det_core.errors import ConfigError
from det_core.models import NMS, RPN, Res5ROIHeads
from det_core.models.parts.compilable import networks_of
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.targets import filter_targets
from det_core.ops import boxes as box_ops
from det_core.ops.nms import nms_by_group
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, Prediction, Proposals, Targets
from torch import Tensor, nn

__all__ = ["TridentRCNN"]

Range = tuple[float, float | None]
"""Minimum and maximum object size, the square root of the box area in pixels; a maximum of None is unlimited."""
_Boxes = TypeVar("_Boxes", Proposals, Detections)


@runtime_checkable
class BranchedBackbone(Backbone, Protocol):
    """A backbone with several branches, such as `TridentResNet`.

    Attributes:
        dilations: dilation of each branch's convolutions.
        branch: index of the branch to run where the caller requests none.
    """

    dilations: Sequence[int]
    branch: int


class TridentRCNN(nn.Module):
    """A two-stage detector trained on all branches of its backbone at once, each with objects of its size range.

    The branches enter the proposal generator and the second stage as additional images of the batch, so any proposal
    generator and any RoI heads fit, and all branches share one set of weights.

    Args:
        backbone: feature extractor with branches, such as `trident_resnet`.
        proposal_generator: first stage, built with `channels` and `strides`.
        roi_heads: second stage, built with `channels`, `strides` and `num_classes`.
        num_classes: number of foreground classes, without background.
        fast: whether inference runs one branch alone, the `branch` of the backbone (TridentNet-Fast); otherwise it runs
            all branches and merges their detections by NMS.
        valid_ranges: object sizes of each branch, as in the paper ((0, 90), (30, 160), (90, null)). Objects outside of
            the range are ignored in training, neither foreground nor background; proposals outside of it are dropped,
            and so are detections where all branches run. None: no limits, as published for TridentNet-Fast.
        nms: suppression over the detections of all branches; the score threshold is that of `roi_heads`.
        preprocess: built with the backbone's `divisibility`; by default ImageNet's mean and deviation, for RGB.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        proposal_generator: Factory[ProposalGenerator] = Factory(RPN),
        roi_heads: Factory[ROIHeads] = Factory(Res5ROIHeads),
        fast: bool = True,
        valid_ranges: Sequence[Range] | None = None,
        nms: NMS = NMS(),  # noqa: B008 (frozen)
        preprocess: Factory[Preprocess] = Factory(Normalize),
    ) -> None:
        super().__init__()
        if not isinstance(backbone, BranchedBackbone):
            fix = "name a trident_resnet"
            raise ConfigError("TridentRCNN.backbone", "must have branches", f"got {type(backbone).__name__}", fix)
        self.branches = tuple(range(len(backbone.dilations)))
        _check(valid_ranges, len(self.branches))
        self.num_classes, self.fast = num_classes, fast
        self.valid_ranges = None if valid_ranges is None else tuple(valid_ranges)
        self.nms = nms
        self.preprocess = cast(nn.Module, Factory.of(preprocess)(divisibility=backbone.size_divisibility))
        self.branch, self.backbone = backbone.branch, cast(nn.Module, backbone)
        shapes = {"channels": backbone.channels, "strides": backbone.strides}
        self.proposal_generator: Any = Factory.of(proposal_generator)(**shapes)
        self.roi_heads = Factory.of(roi_heads)(**shapes, num_classes=num_classes)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: losses of both stages over all branches. Without: detections of one branch or of all."""
        pixels = self.preprocess(batch)
        if targets is None:
            branches = (self.branch,) if self.fast else self.branches
            return [Prediction(detections=detections) for detections in self._detect(pixels, batch, branches)]
        features, sizes = self.backbone(pixels, self.branches), batch.sizes * len(self.branches)
        ground_truth = [
            self._branch_targets(each, branch) for branch in self.branches for each in filter_targets(batch, targets)
        ]
        proposals, losses = self.proposal_generator(features, sizes, ground_truth)
        proposals = self._within_ranges(proposals, self.branches)
        return {**losses, **self.roi_heads.losses(features, proposals, ground_truth, sizes)}

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.backbone, *networks_of(self.proposal_generator, self.roi_heads)]

    def _detect(self, pixels: Tensor, batch: ImageBatch, branches: Sequence[int]) -> Iterator[Detections]:
        features, sizes = self.backbone(pixels, branches), batch.sizes * len(branches)
        proposals, _ = self.proposal_generator(features, sizes)
        detections = self.roi_heads.predict(features, proposals, sizes)
        if self.fast:
            yield from detections
            return
        detections = self._within_ranges(detections, branches)
        for i in range(len(batch)):
            yield self._merge(detections[i :: len(batch)])

    def _merge(self, detections: Sequence[Detections]) -> Detections:
        """Detections of one image, merged over the branches by NMS."""
        boxes, labels, scores = (
            torch.cat([getattr(each, name) for each in detections]) for name in ("boxes", "labels", "scores")
        )
        keep = nms_by_group(boxes, scores, labels, self.nms.iou_threshold)[: self.nms.max_detections]
        return Detections(boxes=boxes[keep], labels=labels[keep], scores=scores[keep], size=detections[0].size)

    def _branch_targets(self, targets: Targets, branch: int) -> Targets:
        """The targets of a branch: objects outside of its size range are ignored, like crowds."""
        if self.valid_ranges is None:
            return targets
        return replace(targets, crowd=~_within(targets.boxes, self.valid_ranges[branch]))

    def _within_ranges(self, boxes: Sequence[_Boxes], branches: Sequence[int]) -> list[_Boxes]:
        """Boxes within the size range of their branch; `boxes` holds all images of one branch after another."""
        if self.valid_ranges is None:
            return list(boxes)
        images = len(boxes) // len(branches)
        return [each[_within(each.boxes, self.valid_ranges[branches[i // images]])] for i, each in enumerate(boxes)]


def _check(ranges: Sequence[Range] | None, branches: int) -> None:
    where = "TridentRCNN.valid_ranges"
    if ranges is not None and len(ranges) != branches:
        raise ConfigError(where, "must be one for each branch", f"got {len(ranges)} for {branches} branches")
    for smallest, largest in ranges or ():
        if smallest < 0 or (largest is not None and largest < smallest):
            raise ConfigError(where, "must each be a minimum and a maximum size", f"got {[smallest, largest]}")


def _within(boxes: Tensor, limits: Range) -> Tensor:
    """Mask bool (N,) of the boxes (N, 4) within these sizes, both ends included."""
    sizes = box_ops.area(boxes).sqrt()
    smallest, largest = limits
    return (sizes >= smallest) & (sizes <= (float("inf") if largest is None else largest))
