"""Two-stage detectors: a backbone, a proposal generator, and RoI heads."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from det_core.contracts import Backbone, Preprocess, ProposalGenerator, ROIHeads
from det_core.errors import StructureError
from det_core.models.heads.roi import StandardROIHeads
from det_core.models.heads.rpn import RPN
from det_core.models.parts.compilable import networks_of
from det_core.models.parts.nms import NMS
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.targets import filter_targets
from det_core.recipes import Factory
from det_core.structures import Detections, ImageBatch, Prediction, Proposals, Targets

__all__ = ["RCNN", "ProposalNetwork", "faster_rcnn"]


class RCNN(nn.Module):
    """A two-stage detector: Faster R-CNN (Ren et al., 2015) and its descendants.

    Args:
        backbone: network from images to feature maps.
        proposal_generator: first stage, built with `channels` and `strides`; None for precomputed proposals of the
            images, as in Fast R-CNN (Girshick, 2015).
        roi_heads: second stage, built with `channels`, `strides` and `num_classes`.
        num_classes: number of foreground classes, without background.
        preprocess: built with the backbone's `divisibility`; by default ImageNet's mean and deviation, for RGB.
    """

    def __init__(
        self,
        backbone: Backbone,
        proposal_generator: Factory[ProposalGenerator] | None,
        roi_heads: Factory[ROIHeads],
        num_classes: int,
        *,
        preprocess: Factory[Preprocess] = Factory(Normalize),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.preprocess = cast(nn.Module, Factory.of(preprocess)(divisibility=backbone.size_divisibility))
        self.backbone = cast(nn.Module, backbone)
        shapes = {"channels": backbone.channels, "strides": backbone.strides}
        self.proposal_generator: nn.Module | None = None
        if proposal_generator is not None:
            self.proposal_generator = cast(nn.Module, Factory.of(proposal_generator)(**shapes))
        self.roi_heads = cast(nn.Module, Factory.of(roi_heads)(**shapes, num_classes=num_classes))

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: losses of both stages. Without: detections in the coordinates of the input images."""
        features = self.backbone(self.preprocess(batch))
        if targets is None:
            proposals, _ = self._propose(features, batch)
            detected = self._second.predict(features, proposals, batch.sizes)
            return [Prediction(detections=detections) for detections in detected]
        targets = filter_targets(batch, targets)
        proposals, losses = self._propose(features, batch, targets)
        return {**losses, **self._second.losses(features, proposals, targets, batch.sizes)}

    def predict_given_boxes(self, batch: ImageBatch, detections: Sequence[Detections]) -> list[Detections]:
        """The detections of each image with masks, keypoints and extras predicted by the second stage."""
        return self._second.predict_given_boxes(self.backbone(self.preprocess(batch)), detections)

    @property
    def nms(self) -> NMS:
        """NMS settings; AttributeError if the second stage has none."""
        return cast(NMS, self.roi_heads.nms)

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`: the backbone, and the networks of both stages."""
        return [self.backbone, *networks_of(self.proposal_generator, self.roi_heads)]

    @property
    def _second(self) -> ROIHeads:
        return cast(ROIHeads, self.roi_heads)

    def _propose(
        self, features: dict[str, Tensor], batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> tuple[Sequence[Proposals], dict[str, Tensor]]:
        if self.proposal_generator is not None:
            result: tuple[list[Proposals], dict[str, Tensor]] = self.proposal_generator(features, batch.sizes, targets)
            return result
        if batch.proposals is None:
            fix = "use a dataset with proposals, or a proposal_generator"
            raise StructureError("ImageBatch.proposals", "are needed: this model has no proposal generator", fix=fix)
        return batch.proposals, {}


class ProposalNetwork(nn.Module):
    """A proposal generator alone, trained to detect objects of any class.

    Args:
        backbone: network from images to feature maps.
        proposal_generator: built with `channels` and `strides`.
        num_classes: number of classes of the data; proposals have none.
        preprocess: built with the backbone's `divisibility`; by default ImageNet's mean and deviation, for RGB.
    """

    def __init__(
        self,
        backbone: Backbone,
        proposal_generator: Factory[ProposalGenerator] = Factory(RPN),
        num_classes: int = 1,
        *,
        preprocess: Factory[Preprocess] = Factory(Normalize),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.preprocess = cast(nn.Module, Factory.of(preprocess)(divisibility=backbone.size_divisibility))
        self.backbone = cast(nn.Module, backbone)
        built = Factory.of(proposal_generator)(channels=backbone.channels, strides=backbone.strides)
        self.proposal_generator = cast(nn.Module, built)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`: losses. Without: proposals in the coordinates of the input images."""
        features = self.backbone(self.preprocess(batch))
        if targets is None:
            proposals, _ = self.proposal_generator(features, batch.sizes)
            return [Prediction(proposals=each) for each in proposals]
        losses: dict[str, Tensor]
        _, losses = self.proposal_generator(features, batch.sizes, filter_targets(batch, targets))
        return losses

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.backbone, *networks_of(self.proposal_generator)]


def faster_rcnn(
    backbone: Backbone,
    num_classes: int,
    *,
    proposal_generator: Factory[ProposalGenerator] | None = Factory(RPN),
    roi_heads: Factory[ROIHeads] = Factory(StandardROIHeads),
    preprocess: Factory[Preprocess] = Factory(Normalize),
) -> RCNN:
    """Faster R-CNN as published with a feature pyramid; the arguments are those of `RCNN`."""
    return RCNN(backbone, proposal_generator, roi_heads, num_classes, preprocess=preprocess)
