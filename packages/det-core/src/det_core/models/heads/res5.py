"""The second stage of the C4 models: the last stage of the ResNet, run on every region (He et al., 2016)."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from det_core.contracts import RegionHead
from det_core.errors import ConfigError
from det_core.models.heads.box import FastRCNNPredictor
from det_core.models.heads.regions import (
    FurtherHeads,
    RegionSampler,
    foreground,
    join_losses,
    pooled_levels,
    require_one_form,
)
from det_core.ops.layers import Norm
from det_core.ops.matching import Matcher
from det_core.ops.residual import BottleneckBlock, initialise
from det_core.ops.roi import Pooling, ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["Res5ROIHeads"]

_BLOCKS = 3


class _PooledHead(Protocol):
    """A further head that takes what the stage has pooled, such as `MaskRCNNConvUpsampleHead`."""

    def pooled_losses(
        self, pooled: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]: ...

    def pooled_predict(self, pooled: Tensor, detections: Sequence[Detections]) -> list[Detections]: ...


class Res5ROIHeads(nn.Module):
    """Pools regions from one level, runs res5 on each, and judges them by its mean; further heads see res5's maps.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: without the background.
        in_features: the one level that regions are pooled from, by default the only one up to stride 32.
        pooler_resolution: side of the pooled features; res5 halves it.
        pooler_type: how they are read.
        pooler_sampling_ratio: samples per bin and axis; 0 for as many as the bin is pixels wide.
        out_channels: of res5.
        norm: of res5, as of the backbone.
        stride_in_1x1: of res5, as of the backbone.
        groups: of res5's 3 x 3 convolutions, as of the backbone.
        width_per_group: as of the backbone, in res2.
        box_predictor: built with `in_dim` and `num_classes`.
        heads: name -> further head, built with `channels`, `strides` (of res5 alone) and `num_classes` and kept under
            that name; it must offer `pooled_losses` and `pooled_predict`.
        iou_thresholds: overlaps that part proposals into the ranges of `iou_labels`.
        iou_labels: 0 background, -1 left out, 1 foreground.
        batch_size_per_image: proposals that the losses look at, drawn at random.
        positive_fraction: how many of them may be foreground.
        append_truth: add the true boxes to the proposals in training.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler_resolution: int = 14,
        pooler_type: Pooling = "ROIAlignV2",
        pooler_sampling_ratio: int = 0,
        out_channels: int = 2048,
        norm: Norm = "FrozenBN",
        stride_in_1x1: bool = True,
        groups: int = 1,
        width_per_group: int = 64,
        box_predictor: Factory[FastRCNNPredictor] = Factory(FastRCNNPredictor),
        heads: Mapping[str, Factory[RegionHead]] | None = None,
        iou_thresholds: Sequence[float] = (0.5,),
        iou_labels: Sequence[int] = (0, 1),
        batch_size_per_image: int = 512,
        positive_fraction: float = 0.25,
        append_truth: bool = True,
    ) -> None:
        super().__init__()
        names = pooled_levels("Res5ROIHeads", channels, strides, in_features)
        if len(names) != 1:
            raise ConfigError("Res5ROIHeads.in_features", "must name one level", f"got {list(names)}")
        self.num_classes, self.in_features = num_classes, names
        self.pooler = ROIPooler([strides[names[0]]], pooler_resolution, pooler_type, pooler_sampling_ratio)
        block = partial(
            BottleneckBlock,
            out_channels=out_channels,
            bottleneck=groups * width_per_group * 8,
            norm=norm,
            groups=groups,
            stride_in_1x1=stride_in_1x1,
        )
        first, later = block(channels[names[0]], stride=2), [block(out_channels, stride=1) for _ in range(_BLOCKS - 1)]
        self.res5 = nn.Sequential(first, *later)
        initialise(self.res5)
        self.box_predictor = Factory.of(box_predictor)(in_dim=out_channels, num_classes=num_classes)
        require_one_form("Res5ROIHeads", self.pooler, self.box_predictor)
        known = {"channels": {"res5": out_channels}, "strides": {"res5": strides[names[0]]}}
        self._heads = FurtherHeads(self, heads, **known, num_classes=num_classes)
        for name in self._heads.names:
            if not hasattr(self.get_submodule(name), "pooled_predict"):
                found = f"{type(self.get_submodule(name)).__name__} has no pooled_losses and pooled_predict"
                raise ConfigError(f"Res5ROIHeads.heads.{name}", "must take pooled features", found)
        matcher = Matcher(iou_thresholds, iou_labels)
        self._sample = RegionSampler(num_classes, matcher, batch_size_per_image, positive_fraction, append_truth)

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
        labels = torch.cat([regions.labels for regions in sampled])
        truth = torch.cat([regions.truth() for regions in sampled])
        x = self._shared(features, boxes)
        outputs = self.box_predictor(x.mean(dim=(2, 3)))
        losses: dict[str, Tensor] = self.box_predictor.losses(outputs, torch.cat(boxes), labels, truth)
        if self._heads.names:
            own, objects = foreground(sampled, self.num_classes)
            seen = x[labels < self.num_classes]
            for name in self._heads.names:
                join_losses(losses, self._head(name).pooled_losses(seen, own, objects), name)
        return losses

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """The detections of each image, best first, with what the further heads say of them."""
        boxes = [p.boxes for p in proposals]
        outputs = self.box_predictor(self._shared(features, boxes).mean(dim=(2, 3)))
        detections: list[Detections] = self.box_predictor.detect(outputs, boxes, sizes)
        return self.predict_at(features, detections)

    def predict_at(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with what the further heads say of them, whoever found them."""
        found = list(detections)
        if self._heads.names:
            seen = self._shared(features, [each.boxes for each in found])
            for name in self._heads.names:
                found = self._head(name).pooled_predict(seen, found)
        return found

    def _head(self, name: str) -> _PooledHead:
        return cast(_PooledHead, self.get_submodule(name))

    def _shared(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        x: Tensor = self.res5(self.pooler([features[self.in_features[0]]], boxes))
        return x
