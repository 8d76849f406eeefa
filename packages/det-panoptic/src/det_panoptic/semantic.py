"""Semantic segmentation with a pyramid (Kirillov et al., "Panoptic feature pyramid networks", 2019)."""

import math
from collections.abc import Mapping, Sequence
from typing import cast

import torch
from det_core.contracts import Backbone, Preprocess, SemanticHead
from det_core.errors import ConfigError, StructureError
from det_core.models.parts.levels import select_levels
from det_core.models.parts.preprocess import Normalize
from det_core.models.parts.targets import filter_targets
from det_core.ops.global_batch import normalizer
from det_core.ops.layers import Conv2d, Norm, draw_weights
from det_core.recipes import Factory
from det_core.structures import ImageBatch, Prediction, SemanticMap, Size, Targets
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SemSegFPNHead", "SemanticSegmentor", "stacked"]


class SemSegFPNHead(nn.Module):
    """Resizes all levels to one stride, sums them, and classifies every pixel.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of classes of pixels.
        in_features: feature levels of the head; by default all up to stride 32.
        conv_dim: number of channels of the convolutions.
        common_stride: stride of the sum of all levels; no level may be finer.
        norm: norm layer after each convolution.
        loss_weight: factor on the loss in the sum.
        ignore: label of pixels that are ignored.
    """

    contract = "SemanticHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        conv_dim: int = 128,
        common_stride: int = 4,
        norm: Norm = "GN",
        loss_weight: float = 1.0,
        ignore: int = 255,
    ) -> None:
        super().__init__()
        names = select_levels("SemSegFPNHead", channels, in_features, strides, equal_channels=False)
        self.in_features = tuple(sorted(names, key=lambda name: strides[name]))
        self.num_classes, self.common_stride = num_classes, common_stride
        self.loss_weight, self.ignore = loss_weight, ignore
        for name in self.in_features:
            doublings = math.log2(strides[name] / common_stride)
            if doublings < 0 or doublings % 1:
                found = f"{name} has {strides[name]}, common_stride is {common_stride}"
                raise ConfigError("SemSegFPNHead.in_features", "strides must be common_stride times 2, 4, 8 ...", found)
            self.add_module(name, _scale_head(channels[name], conv_dim, int(doublings), norm))
        self.predictor = nn.Conv2d(conv_dim, num_classes, 1)
        draw_weights(self.predictor, "relu")

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Levels (B, C, H, W) to class logits, float32 (B, num_classes, H, W) at input size."""
        return self._enlarged(self.layers(features))

    def layers(self, features: Mapping[str, Tensor]) -> Tensor:
        """Logits before the upsampling of `forward`: float32 (B, num_classes, H / common_stride, W / common_stride)."""
        parts = [self.get_submodule(name)(features[name]) for name in self.in_features]
        logits: Tensor = self.predictor(torch.stack(parts).sum(dim=0) if len(parts) > 1 else parts[0])
        return logits.float()

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{"loss_sem_seg"}: cross entropy, averaged over all labelled pixels; 0 without any."""
        return self.losses_of(self.layers(features), targets)

    def losses_of(self, logits: Tensor, targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """`losses` from the logits of `layers`."""
        logits = self._enlarged(logits)
        ground_truth = stacked(targets, logits.shape[-2:], self.ignore)
        total = F.cross_entropy(logits, ground_truth, ignore_index=self.ignore, reduction="sum")
        return {"loss_sem_seg": total * self.loss_weight / normalizer((ground_truth != self.ignore).sum(), logits)}

    def _enlarged(self, logits: Tensor) -> Tensor:
        return F.interpolate(logits, scale_factor=self.common_stride, mode="bilinear", align_corners=False)


def stacked(targets: Sequence[Tensor], size: Sequence[int], ignore: int) -> Tensor:
    """The classes of each image, int64 (H_i, W_i), in a batch padded to `size` with `ignore`: int64 (B, H, W)."""
    ground_truth = targets[0].new_full((len(targets), *size), ignore)
    for row, classes in zip(ground_truth, targets, strict=True):
        row[: classes.shape[0], : classes.shape[1]] = classes
    return ground_truth


def _scale_head(in_channels: int, channels: int, doublings: int, norm: Norm) -> nn.Sequential:
    """A convolution per doubling, at least one; each doubling doubles the map."""
    layers: list[nn.Module] = []
    for _ in range(max(1, doublings)):
        conv = Conv2d(in_channels, channels, 3, norm=norm, activation=F.relu)
        draw_weights(conv, "relu")
        layers.append(conv)
        if doublings:
            layers.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False))
        in_channels = channels
    return nn.Sequential(*layers)


class SemanticSegmentor(nn.Module):
    """Semantic segmentation: a backbone and a semantic head.

    Args:
        backbone: network from images to feature maps.
        num_classes: number of classes of pixels.
        sem_seg_head: semantic head, built with `channels`, `strides` and `num_classes`.
        preprocess: built with the backbone's `divisibility`; by default ImageNet's mean and deviation, for RGB.
    """

    def __init__(
        self,
        backbone: Backbone,
        num_classes: int,
        *,
        sem_seg_head: Factory[SemanticHead] = Factory(SemSegFPNHead),
        preprocess: Factory[Preprocess] = Factory(Normalize),
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.preprocess = cast(nn.Module, Factory.of(preprocess)(divisibility=backbone.size_divisibility))
        self.backbone = cast(nn.Module, backbone)
        built = Factory.of(sem_seg_head)(channels=backbone.channels, strides=backbone.strides, num_classes=num_classes)
        self.sem_seg_head = cast(nn.Module, built)

    def forward(
        self, batch: ImageBatch, targets: Sequence[Targets] | None = None
    ) -> dict[str, Tensor] | list[Prediction]:
        """With `targets`, which need `semantic`: the loss. Without: logits at the size of the input images."""
        features = self.backbone(self.preprocess(batch))
        if targets is None:
            logits = self.sem_seg_head(features)
            return [Prediction(semantic=_of_image(each, size)) for each, size in zip(logits, batch.sizes, strict=True)]
        ground_truth = [target.semantic for target in filter_targets(batch, targets)]
        maps = [each for each in ground_truth if each is not None]
        if len(maps) != len(ground_truth):
            raise StructureError("targets.semantic", "is needed for training", "it is None", "use a dataset with it")
        return cast(SemanticHead, self.sem_seg_head).losses(features, maps)

    def networks(self) -> list[nn.Module]:
        """As `det_core.contracts.Compilable`."""
        return [self.backbone, self.sem_seg_head]


def _of_image(logits: Tensor, size: Size) -> SemanticMap:
    return SemanticMap(logits=logits[:, : size[0], : size[1]])
