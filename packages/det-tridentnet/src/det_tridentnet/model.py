"""TridentNet and TridentNet-Fast (Li et al., "Scale-aware trident networks for object detection", 2019)."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

import torch
from det_core.contracts import Backbone, Preprocess, ProposalGenerator, ROIHeads
from det_core.errors import ConfigError
from det_core.models import NMS, RPN, Res5ROIHeads
from det_core.models.parts.networks import networks_of
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.targets import filter_targets
from det_core.ops import boxes as box_ops
from det_core.ops.nms import nms_by_group
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, Prediction, Proposals, Targets
from torch import Tensor, nn

__all__ = ["TridentRCNN"]

Range = tuple[float, float | None]
"""The least and the greatest size of an object, the square root of its box's area in pixels; None for no limit."""
_Found = TypeVar("_Found", Proposals, Detections)


@runtime_checkable
class BranchedBackbone(Backbone, Protocol):
    """A backbone that can run in several branches, such as `TridentResNet`.

    Attributes:
        dilations: of each branch.
        branch: the branch that is run where nobody asks for any.
    """

    dilations: Sequence[int]
    branch: int


class TridentRCNN(nn.Module):
    """A two-stage detector that learns from all branches of its backbone at once, each with objects of its own sizes.

    The proposal generator and the second stage see the features of all branches as if they were more images, so that
    any of them will do, and all branches have one set of weights.

    Args:
        backbone: a `trident_resnet`.
        proposal_generator: built with `channels` and `strides`.
        roi_heads: built with `channels`, `strides` and `num_classes`.
        num_classes: without the background.
        fast: at inference run one branch alone, the `branch` of the backbone (TridentNet-Fast); else all of them, whose
            detections go through one more suppression.
        valid_ranges: sizes of the objects that each branch is for, as in the paper ((0, 90), (30, 160), (90, null)).
            Objects of other sizes are neither learnt nor taken for background, and proposals of other sizes are left
            out; so are detections of other sizes where all branches are run. None: each branch is for all sizes, which
            is how TridentNet-Fast was published.
        nms: which detections of all branches together stay; their score threshold is that of `roi_heads`.
        preprocess: built with `divisibility`, the backbone's; by default ImageNet's mean and deviation, for RGB.
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
        known = {"channels": backbone.channels, "strides": backbone.strides}
        self.proposal_generator: Any = Factory.of(proposal_generator)(**known)
        self.roi_heads = Factory.of(roi_heads)(**known, num_classes=num_classes)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: the losses of both stages over all branches. Without: detections, of one branch or of all."""
        pixels = self.preprocess(batch)
        if targets is None:
            branches = (self.branch,) if self.fast else self.branches
            return [Prediction(detections=found) for found in self._detect(pixels, batch, branches)]
        features, sizes = self.backbone(pixels, self.branches), batch.sizes * len(self.branches)
        truth = [self._own(each, branch) for branch in self.branches for each in filter_targets(batch, targets)]
        proposals, losses = self.proposal_generator(features, sizes, truth)
        proposals = self._of_valid_size(proposals, self.branches)
        return {**losses, **self.roi_heads.losses(features, proposals, truth, sizes)}

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.backbone, *networks_of(self.proposal_generator, self.roi_heads)]

    def _detect(self, pixels: Tensor, batch: ImageBatch, branches: Sequence[int]) -> Iterator[Detections]:
        features, sizes = self.backbone(pixels, branches), batch.sizes * len(branches)
        proposals, _ = self.proposal_generator(features, sizes)
        found = self.roi_heads.predict(features, proposals, sizes)
        if self.fast:
            yield from found
            return
        found = self._of_valid_size(found, branches)
        for i in range(len(batch)):
            yield self._merge(found[i :: len(batch)])

    def _merge(self, found: Sequence[Detections]) -> Detections:
        """What the branches found in one image; the best of those that overlap stays."""
        boxes, labels, scores = (
            torch.cat([getattr(each, name) for each in found]) for name in ("boxes", "labels", "scores")
        )
        keep = nms_by_group(boxes, scores, labels, self.nms.iou_threshold)[: self.nms.max_detections]
        return Detections(boxes=boxes[keep], labels=labels[keep], scores=scores[keep], size=found[0].size)

    def _own(self, truth: Targets, branch: int) -> Targets:
        """The truth for a branch: objects of sizes that it is not for are left out as crowds are."""
        if self.valid_ranges is None:
            return truth
        return replace(truth, crowd=~_within(truth.boxes, self.valid_ranges[branch]))

    def _of_valid_size(self, found: Sequence[_Found], branches: Sequence[int]) -> list[_Found]:
        """What lies in the range of its branch; all images of the first of `branches` come first."""
        if self.valid_ranges is None:
            return list(found)
        images = len(found) // len(branches)
        return [each[_within(each.boxes, self.valid_ranges[branches[i // images]])] for i, each in enumerate(found)]


def _check(ranges: Sequence[Range] | None, branches: int) -> None:
    where = "TridentRCNN.valid_ranges"
    if ranges is not None and len(ranges) != branches:
        raise ConfigError(where, "must be one for each branch", f"got {len(ranges)} for {branches} branches")
    for least, greatest in ranges or ():
        if least < 0 or (greatest is not None and greatest < least):
            raise ConfigError(where, "must each be a least size and a greatest one", f"got {[least, greatest]}")


def _within(boxes: Tensor, limits: Range) -> Tensor:
    """Which boxes (N, 4) are of these sizes, both ends included: bool (N,)."""
    sizes = box_ops.area(boxes).sqrt()
    least, greatest = limits
    return (sizes >= least) & (sizes <= (float("inf") if greatest is None else greatest))
