"""Panoptic FPN (Kirillov et al., "Panoptic feature pyramid networks", 2019): Mask R-CNN and Semantic FPN in one."""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

from det_core.contracts import Backbone, Exported, Preprocess, ProposalGenerator, RegionHead, ROIHeads, SemanticHead
from det_core.errors import StructureError
from det_core.models import RPN, MaskRCNNConvUpsampleHead, StandardROIHeads
from det_core.models.parts.compilable import networks_of
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.targets import filter_targets
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Prediction, SemanticMap, Size, Targets
from torch import Tensor, nn

from det_panoptic.exporting import BeforeJoining
from det_panoptic.merging import Merging
from det_panoptic.semantic import SemSegFPNHead

__all__ = ["PanopticFPN"]


class PanopticFPN(nn.Module):
    """Detects things, classifies stuff pixels, and merges both.

    Labels count thing classes first, then stuff classes. For the semantic head all things are one class, the first.

    Args:
        backbone: network from images to feature maps.
        num_things: number of classes of things.
        num_stuff: number of classes of stuff.
        proposal_generator: first stage, built with `channels` and `strides`.
        roi_heads: second stage, built with `channels`, `strides` and `num_classes`, of things, and with `mask_head`.
        mask_head: the mask head of `roi_heads`.
        sem_seg_head: semantic branch, built with `channels`, `strides` and `num_classes`, of stuff and one more.
        merging: rules by which things and stuff become segments.
        preprocess: built with the backbone's `divisibility`; by default ImageNet's mean and deviation, for RGB.

    Attributes:
        num_classes: number of thing and stuff classes.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_things: int,
        num_stuff: int,
        *,
        proposal_generator: Factory[ProposalGenerator] = Factory(RPN),
        roi_heads: Factory[ROIHeads] = Factory(StandardROIHeads),
        mask_head: Factory[RegionHead] = Factory(MaskRCNNConvUpsampleHead),
        sem_seg_head: Factory[SemanticHead] = Factory(SemSegFPNHead, loss_weight=0.5),
        merging: Merging = Merging(),  # noqa: B008 (frozen)
        preprocess: Factory[Preprocess] = Factory(Normalize),
    ) -> None:
        super().__init__()
        self.num_things, self.num_classes, self.merging = num_things, num_things + num_stuff, merging
        self.preprocess = cast(nn.Module, Factory.of(preprocess)(divisibility=backbone.size_divisibility))
        self.backbone = cast(nn.Module, backbone)
        shapes = {"channels": backbone.channels, "strides": backbone.strides}
        self.proposal_generator = cast(nn.Module, Factory.of(proposal_generator)(**shapes))
        second = functools.partial(Factory.of(roi_heads), heads={"mask_head": mask_head})
        self.roi_heads = second(**shapes, num_classes=num_things)
        self.sem_seg_head = cast(nn.Module, Factory.of(sem_seg_head)(**shapes, num_classes=num_stuff + 1))

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`, which need `masks` and `semantic`: losses. Without: segments, detections and semantic maps.

        `semantic` is 0 on things, then counts stuff classes, and is 255 where ignored.
        """
        features = self.backbone(self.preprocess(batch))
        if targets is not None:
            targets = filter_targets(batch, targets)
            maps = [each.semantic for each in targets if each.semantic is not None]
            if len(maps) != len(targets):
                fix = "use a dataset with it, such as coco_panoptic with semantic: stuff"
                raise StructureError("targets.semantic", "is needed for training", "it is None", fix)
            proposals, losses = self.proposal_generator(features, batch.sizes, targets)
            losses |= self.roi_heads.losses(features, proposals, targets, batch.sizes)
            return cast(SemanticHead, self.sem_seg_head).losses(features, maps) | losses
        return [self.with_segments(each) for each in self.without_segments(features, batch.sizes)]

    def without_segments(self, features: Mapping[str, Tensor], sizes: Sequence[Size]) -> list[Prediction]:
        """Detections and semantic maps of each image, before the merging."""
        proposals, _ = self.proposal_generator(features, sizes)
        detections_of_images = self.roi_heads.predict(features, proposals, sizes)
        logits = self.sem_seg_head(features)
        return [
            Prediction(detections=detections, semantic=SemanticMap(logits=semantic[:, :height, :width]))
            for detections, semantic, (height, width) in zip(detections_of_images, logits, sizes, strict=True)
        ]

    def exported(self) -> Exported:
        """As `det_core.contracts.Exportable`: without the segments, which `JoinThings` computes."""
        node = {"type": "det_panoptic.exporting:JoinThings", "num_things": self.num_things}
        return Exported(BeforeJoining(self), finish=node | dataclasses.asdict(self.merging))

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.backbone, self.sem_seg_head, *networks_of(self.proposal_generator, self.roi_heads)]

    def with_segments(self, prediction: Prediction) -> Prediction:
        """As `det_core.contracts.SegmentMaker`: merges detections and semantic maps, at any size."""
        detections, semantic = prediction.detections, prediction.semantic
        if detections is None or semantic is None:
            raise StructureError("prediction", "needs detections and a semantic map to be merged")
        return replace(prediction, panoptic=self.merging(detections, semantic.logits, self.num_things))
