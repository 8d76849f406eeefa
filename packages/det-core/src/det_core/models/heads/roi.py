"""The second stage of the R-CNN family: classifies and refines proposals."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from det_core.contracts import BoxHead, BoxPredictor, Pooler, RefinesRegions, RegionHead
from det_core.errors import ConfigError
from det_core.models.heads.box import FastRCNNConvFCHead, FastRCNNPredictor
from det_core.models.heads.second_stage import ExtraHeads, Regions, SecondStage, join_losses, require_box_dim
from det_core.models.parts.levels import select_levels
from det_core.models.parts.samplers import RegionSampler, SampledProposals
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["StandardROIHeads"]


class StandardROIHeads(SecondStage):
    """A box head, and any number of extra RoI heads (masks, keypoints ...) on its detections.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the box pooler; by default all up to stride 32.
        pooler: built with `strides` of those levels.
        box_head: built with `in_channels` and `resolution`.
        box_predictor: built with `in_dim` and `num_classes`.
        heads: extra RoI heads by name, built with `channels`, `strides` and `num_classes`. They take the foreground
            proposals in training and the final detections at inference.
        sampler: selection of the proposals for training.
        train_on_predicted_boxes: whether extra heads are trained on the refined boxes of the proposals, as at
            inference, in place of the proposals. Needs a `box_predictor` that refines regions.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=7),
        box_head: Factory[BoxHead] = Factory(FastRCNNConvFCHead),
        box_predictor: Factory[BoxPredictor] = Factory(FastRCNNPredictor),
        heads: Mapping[str, Factory[RegionHead]] | None = None,
        sampler: RegionSampler = RegionSampler(),  # noqa: B008 (frozen)
        train_on_predicted_boxes: bool = False,
    ) -> None:
        super().__init__()
        names = select_levels("StandardROIHeads", channels, in_features, strides)
        self.num_classes, self.in_features = num_classes, names
        box_pooler = Factory.of(pooler)(strides=[strides[name] for name in names])
        self.box_pooler = cast(nn.Module, box_pooler)
        built = Factory.of(box_head)(in_channels=channels[names[0]], resolution=box_pooler.resolution)
        self.box_head = cast(nn.Module, built)
        predictor = Factory.of(box_predictor)(in_dim=built.out_dim, num_classes=num_classes)
        require_box_dim("StandardROIHeads", box_pooler, predictor)
        if train_on_predicted_boxes and not isinstance(predictor, RefinesRegions):
            found = f"{type(predictor).__name__} has no predict_boxes_for_labels"
            raise ConfigError("StandardROIHeads.train_on_predicted_boxes", "needs boxes of the predictor", found)
        self.box_predictor = cast(nn.Module, predictor)
        self._heads = ExtraHeads(self, heads, channels=channels, strides=strides, num_classes=num_classes)
        self.sampler = sampler
        self.train_on_predicted_boxes = train_on_predicted_boxes

    def losses(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        targets: Sequence[Targets],
        sizes: Sequence[Size],
    ) -> dict[str, Tensor]:
        """Box losses over a random sample of the proposals, and the losses of the extra heads."""
        sampled = self.sample(proposals, targets)
        boxes, labels, matched_gt = Regions.of(sampled)
        box_features = self._box_features(features, boxes)
        outputs = self.box_predictor(box_features)
        losses = self._predictor.losses(outputs, torch.cat(boxes), labels, matched_gt)
        losses |= self.further_losses(box_features, sampled)
        if self.train_on_predicted_boxes:
            with torch.no_grad():
                predicted = cast(RefinesRegions, self.box_predictor).predict_boxes_for_labels(
                    outputs, torch.cat(boxes), labels
                )
            per_image = predicted.split([len(each) for each in boxes])
            sampled = [regions._replace(boxes=refined) for regions, refined in zip(sampled, per_image, strict=True)]
        more = self._heads.losses(self, features, sampled, self.num_classes)
        join_losses(losses, more, next(iter(self._heads.names), ""))
        return losses

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """Detections of each image, best first, with the predictions of the extra heads."""
        boxes = [p.boxes for p in proposals]
        box_features = self._box_features(features, boxes)
        outputs = self.box_predictor(box_features)
        detections = self._predictor.detect(outputs, boxes, sizes)
        return self.predict_given_boxes(features, self.further_predictions(box_features, outputs, boxes, detections))

    def further_losses(self, box_features: Tensor, sampled: Sequence[SampledProposals]) -> dict[str, Tensor]:
        """Losses of a subclass from the box features (P, D) of all sampled regions."""
        return {}

    def further_predictions(
        self, box_features: Tensor, outputs: Any, boxes: Sequence[Tensor], detections: list[Detections]
    ) -> list[Detections]:
        """The detections of each image with what a subclass predicts from the box features (P, D) of all regions."""
        return detections

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.box_head]

    def _box_features(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        pooled = self.box_pooler([features[name] for name in self.in_features], boxes)
        box_features: Tensor = self.box_head(pooled)
        return box_features
