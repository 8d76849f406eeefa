"""The second stage of the R-CNN family: looks again at every proposal."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn

from det_core.contracts import BoxHead, RegionHead
from det_core.models.heads.box import FastRCNNConvFCHead, FastRCNNPredictor
from det_core.models.heads.regions import FurtherHeads, RegionSampler, join_losses, pooled_levels, require_one_form
from det_core.ops.matching import Matcher
from det_core.ops.roi import Pooling, ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["StandardROIHeads"]


class StandardROIHeads(nn.Module):
    """A box head, and any number of further heads (masks, keypoints ...) that look at what it finds.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: without the background.
        in_features: the levels that boxes are pooled from; by default all up to stride 32.
        pooler_resolution: side of the pooled features.
        pooler_type: how they are read; "ROIAlignRotated" for rotated boxes.
        pooler_sampling_ratio: samples per bin and axis; 0 for as many as the bin is pixels wide.
        box_head: built with `in_channels` and `resolution`; must tell its `out_dim`.
        box_predictor: built with `in_dim` and `num_classes`.
        heads: name -> further head, built with `channels`, `strides` and `num_classes` and kept under that name. They
            see the foreground proposals in training and the final detections at inference.
        iou_thresholds: overlaps that part proposals into the ranges of `iou_labels`.
        iou_labels: 0 background, -1 left out, 1 foreground.
        batch_size_per_image: proposals that the losses look at, drawn at random.
        positive_fraction: how many of them may be foreground.
        append_truth: add the true boxes to the proposals in training, so that early training has good ones.
        train_on_predicted_boxes: let the further heads learn from the boxes that the box head makes of the proposals,
            as they will see them at inference, instead of from the proposals.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler_resolution: int = 7,
        pooler_type: Pooling = "ROIAlignV2",
        pooler_sampling_ratio: int = 0,
        box_head: Factory[BoxHead] = Factory(FastRCNNConvFCHead),
        box_predictor: Factory[FastRCNNPredictor] = Factory(FastRCNNPredictor),
        heads: Mapping[str, Factory[RegionHead]] | None = None,
        iou_thresholds: Sequence[float] = (0.5,),
        iou_labels: Sequence[int] = (0, 1),
        batch_size_per_image: int = 512,
        positive_fraction: float = 0.25,
        append_truth: bool = True,
        train_on_predicted_boxes: bool = False,
    ) -> None:
        super().__init__()
        names = pooled_levels("StandardROIHeads", channels, strides, in_features)
        self.num_classes, self.in_features = num_classes, names
        self.box_pooler = ROIPooler(
            [strides[name] for name in names], pooler_resolution, pooler_type, pooler_sampling_ratio
        )
        built = Factory.of(box_head)(in_channels=channels[names[0]], resolution=pooler_resolution)
        self.box_head = cast(nn.Module, built)
        self.box_predictor = Factory.of(box_predictor)(in_dim=built.out_dim, num_classes=num_classes)
        require_one_form("StandardROIHeads", self.box_pooler, self.box_predictor)
        self._heads = FurtherHeads(self, heads, channels=channels, strides=strides, num_classes=num_classes)
        matcher = Matcher(iou_thresholds, iou_labels)
        self._sample = RegionSampler(num_classes, matcher, batch_size_per_image, positive_fraction, append_truth)
        self.train_on_predicted_boxes = train_on_predicted_boxes

    def losses(
        self,
        features: Mapping[str, Tensor],
        proposals: Sequence[Proposals],
        targets: Sequence[Targets],
        sizes: Sequence[Size] = (),
    ) -> dict[str, Tensor]:
        """The box losses, over a random sample of the proposals, and those of the further heads."""
        pairs = zip(proposals, targets, strict=True)
        sampled = [self._sample(p.boxes, truth, image) for image, (p, truth) in enumerate(pairs)]
        boxes = [regions.boxes for regions in sampled]
        outputs = self._predict_boxes(features, boxes)
        labels = torch.cat([regions.labels for regions in sampled])
        truth = torch.cat([regions.truth() for regions in sampled])
        losses: dict[str, Tensor] = self.box_predictor.losses(outputs, torch.cat(boxes), labels, truth)
        if self.train_on_predicted_boxes:
            with torch.no_grad():
                predicted = self.box_predictor.boxes_of(outputs, torch.cat(boxes), labels)
            per_image = predicted.split([len(each) for each in boxes])
            sampled = [regions._replace(boxes=own) for regions, own in zip(sampled, per_image, strict=True)]
        more = self._heads.losses(self, features, sampled, self.num_classes)
        join_losses(losses, more, next(iter(self._heads.names), ""))
        return losses

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """The detections of each image, best first, with what the further heads say of them."""
        boxes = [p.boxes for p in proposals]
        detections: list[Detections] = self.box_predictor.detect(self._predict_boxes(features, boxes), boxes, sizes)
        return self.predict_at(features, detections)

    def predict_at(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with what the further heads say of them, whoever found them."""
        return self._heads.predict(self, features, detections)

    def _predict_boxes(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        pooled = self.box_pooler([features[name] for name in self.in_features], boxes)
        outputs: tuple[Tensor, Tensor] = self.box_predictor(self.box_head(pooled))
        return outputs
