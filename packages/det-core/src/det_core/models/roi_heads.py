"""The second stage of the R-CNN family: looks again at every proposal."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from det_core.config import Factory
from det_core.contracts import BoxHead, RegionHead
from det_core.errors import ConfigError
from det_core.models.box_head import FastRCNNConvFCHead, FastRCNNPredictor
from det_core.ops import boxes as box_ops
from det_core.ops.matching import Matcher
from det_core.ops.roi import Pooling, ROIPooler
from det_core.ops.sampling import sample
from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["StandardROIHeads"]


class _Sampled(NamedTuple):
    """Regions of one image to learn from: boxes (P, 4), labels (P,), the object each stands for (P,), and the truth."""

    boxes: Tensor
    labels: Tensor
    partner: Tensor
    targets: Targets


class StandardROIHeads(nn.Module):
    """A box head, and any number of further heads (masks, keypoints ...) that look at what it finds.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: without the background.
        in_features: the levels that boxes are pooled from; by default all up to stride 32.
        pooler_resolution: side of the pooled features.
        pooler_type: how they are read.
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
    ) -> None:
        super().__init__()
        names = [n for n, stride in strides.items() if stride <= 32] if in_features is None else list(in_features)
        if not names or any(name not in channels for name in names):
            found = f"got {names}; there are {', '.join(channels)}"
            raise ConfigError("StandardROIHeads.in_features", "must name levels of the backbone", found)
        if len({channels[name] for name in names}) != 1:
            raise ConfigError("StandardROIHeads.in_features", "must have equal channels", f"got {dict(channels)}")
        self.num_classes, self.in_features = num_classes, tuple(names)
        self.box_pooler = ROIPooler(
            [strides[name] for name in names], pooler_resolution, pooler_type, pooler_sampling_ratio
        )
        built = Factory.of(box_head)(in_channels=channels[names[0]], resolution=pooler_resolution)
        self.box_head = cast(nn.Module, built)
        self.box_predictor = Factory.of(box_predictor)(in_dim=built.out_dim, num_classes=num_classes)
        self._heads = tuple(heads or {})
        for name, head in (heads or {}).items():
            if hasattr(self, name):
                raise ConfigError(f"StandardROIHeads.heads.{name}", "this name is taken", fix="choose another")
            self.add_module(
                name, cast(nn.Module, Factory.of(head)(channels=channels, strides=strides, num_classes=num_classes))
            )
        self.matcher = Matcher(iou_thresholds, iou_labels)
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.append_truth = append_truth

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """The box losses, over a random sample of the proposals, and those of the further heads."""
        sampled = [self._sample(p.boxes, truth) for p, truth in zip(proposals, targets, strict=True)]
        boxes = [regions.boxes for regions in sampled]
        outputs = self._predict_boxes(features, boxes)
        labels = torch.cat([regions.labels for regions in sampled])
        truth = torch.cat([r.targets.boxes[r.partner] if len(r.targets) else r.boxes for r in sampled])
        losses: dict[str, Tensor] = self.box_predictor.losses(outputs, torch.cat(boxes), labels, truth)
        if self._heads:
            foreground = [torch.nonzero(regions.labels < self.num_classes).squeeze(1) for regions in sampled]
            regions = [r.boxes[rows] for r, rows in zip(sampled, foreground, strict=True)]
            objects = [r.targets[r.partner[rows]] for r, rows in zip(sampled, foreground, strict=True)]
            for name in self._heads:
                more = self._head(name).losses(features, regions, objects)
                if taken := sorted(losses.keys() & more):
                    raise ConfigError(
                        f"{name}.losses", "returns losses that another head returns too", ", ".join(taken)
                    )
                losses |= more
        return losses

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """The detections of each image, best first, with what the further heads say of them."""
        boxes = [p.boxes for p in proposals]
        detections: list[Detections] = self.box_predictor.detect(self._predict_boxes(features, boxes), boxes, sizes)
        for name in self._heads:
            detections = self._head(name).predict(features, detections)
        return detections

    def _head(self, name: str) -> RegionHead:
        return cast(RegionHead, self.get_submodule(name))

    def _predict_boxes(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        pooled = self.box_pooler([features[name] for name in self.in_features], boxes)
        outputs: tuple[Tensor, Tensor] = self.box_predictor(self.box_head(pooled))
        return outputs

    @torch.no_grad()
    def _sample(self, boxes: Tensor, targets: Targets) -> _Sampled:
        if self.append_truth:
            boxes = torch.cat((boxes, targets.boxes))
        match = self.matcher(box_ops.iou(targets.boxes, boxes))
        chosen = sample(match.labels, self.batch_size_per_image, self.positive_fraction)
        rows = torch.nonzero(chosen).squeeze(1)
        partner = match.partner[rows]
        labels = torch.full_like(partner, self.num_classes)
        if len(targets):
            labels = torch.where(match.labels[rows] == 1, targets.labels[partner], labels)
        return _Sampled(boxes[rows], labels, partner, targets)
