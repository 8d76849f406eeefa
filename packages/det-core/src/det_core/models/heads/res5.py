"""The second stage of C4 models: the last ResNet stage, run on every region (He et al., 2016)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from det_core.contracts import BoxPredictor, PooledRegionHead, Pooler
from det_core.errors import ConfigError
from det_core.models.heads.box import FastRCNNPredictor
from det_core.models.heads.second_stage import (
    ExtraHeads,
    Regions,
    SecondStage,
    foreground,
    join_losses,
    require_box_dim,
)
from det_core.models.parts.levels import select_levels
from det_core.models.parts.samplers import RegionSampler
from det_core.ops.layers import Norm
from det_core.ops.resnet_blocks import BottleneckBlock, initialize
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Proposals, Size, Targets

__all__ = ["Res5Blocks", "Res5ROIHeads"]

_BLOCKS = 3


@dataclass(frozen=True)
class Res5Blocks:
    """The three bottleneck blocks of res5; all but `out_channels` are as in the backbone.

    Attributes:
        out_channels: number of output channels per region.
        norm: norm layer after each convolution.
        stride_in_1x1: whether the stride is in the first 1 x 1 convolution of a block, not in the 3 x 3 one.
        groups: groups of the 3 x 3 convolutions.
        width_per_group: channels of a group in res2; res5 has eight times as many.
    """

    out_channels: int = 2048
    norm: Norm = "FrozenBN"
    stride_in_1x1: bool = True
    groups: int = 1
    width_per_group: int = 64

    def build(self, in_channels: int) -> nn.Sequential:
        """The blocks, the first of stride 2, for maps (P, in_channels, R, R)."""
        block = partial(
            BottleneckBlock,
            out_channels=self.out_channels,
            bottleneck=self.groups * self.width_per_group * 8,
            norm=self.norm,
            groups=self.groups,
            stride_in_1x1=self.stride_in_1x1,
        )
        later = [block(self.out_channels, stride=1) for _ in range(_BLOCKS - 1)]
        blocks = nn.Sequential(block(in_channels, stride=2), *later)
        initialize(blocks)
        return blocks


class Res5ROIHeads(SecondStage):
    """Pools regions from one level, runs res5 on each, and predicts from its mean; extra heads take res5's features.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: the one feature level of the pooler, by default the only one up to stride 32.
        pooler: built with `strides` of that level; res5 halves its resolution.
        res5: the blocks of the stage, built with `in_channels`.
        box_predictor: built with `in_dim` and `num_classes`.
        heads: extra RoI heads by name, built with `channels`, `strides` (of res5 alone) and `num_classes`.
        sampler: selection of the proposals for training.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=14),
        res5: Res5Blocks = Res5Blocks(),
        box_predictor: Factory[BoxPredictor] = Factory(FastRCNNPredictor),
        heads: Mapping[str, Factory[PooledRegionHead]] | None = None,
        sampler: RegionSampler = RegionSampler(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        names = select_levels("Res5ROIHeads", channels, in_features, strides)
        if len(names) != 1:
            raise ConfigError("Res5ROIHeads.in_features", "must name one level", f"got {list(names)}")
        self.num_classes, self.in_features = num_classes, names
        built = Factory.of(pooler)(strides=[strides[names[0]]])
        self.pooler = cast(nn.Module, built)
        self.res5 = res5.build(channels[names[0]])
        predictor = Factory.of(box_predictor)(in_dim=res5.out_channels, num_classes=num_classes)
        require_box_dim("Res5ROIHeads", built, predictor)
        self.box_predictor = cast(nn.Module, predictor)
        arguments = {"channels": {"res5": res5.out_channels}, "strides": {"res5": strides[names[0]]}}
        self._heads = ExtraHeads(self, heads, **arguments, num_classes=num_classes)
        for name in self._heads.names:
            if not isinstance(self.get_submodule(name), PooledRegionHead):
                found = f"{type(self.get_submodule(name)).__name__} has no pooled_losses and pooled_predict"
                raise ConfigError(f"Res5ROIHeads.heads.{name}", "must accept pooled features", found)
        self.sampler = sampler

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
        x = self._shared(features, boxes)
        outputs = self.box_predictor(x.mean(dim=(2, 3)))
        losses = self._predictor.losses(outputs, torch.cat(boxes), labels, matched_gt)
        if self._heads.names:
            foreground_boxes, objects = foreground(sampled, self.num_classes)
            foreground_maps = x[labels < self.num_classes]
            for name in self._heads.names:
                join_losses(losses, self._head(name).pooled_losses(foreground_maps, foreground_boxes, objects), name)
        return losses

    def predict(
        self, features: Mapping[str, Tensor], proposals: Sequence[Proposals], sizes: Sequence[Size]
    ) -> list[Detections]:
        """Detections of each image, best first, with the predictions of the extra heads."""
        boxes = [p.boxes for p in proposals]
        outputs = self.box_predictor(self._shared(features, boxes).mean(dim=(2, 3)))
        detections = self._predictor.detect(outputs, boxes, sizes)
        return self.predict_given_boxes(features, detections)

    def predict_given_boxes(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections of any source with the predictions of the extra heads."""
        results = list(detections)
        if self._heads.names:
            maps = self._shared(features, [each.boxes for each in results])
            for name in self._heads.names:
                results = self._head(name).pooled_predict(maps, results)
        return results

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.res5]

    def _head(self, name: str) -> PooledRegionHead:
        return cast(PooledRegionHead, self.get_submodule(name))

    def _shared(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        x: Tensor = self.res5(self.pooler([features[self.in_features[0]]], boxes))
        return x
