"""PointRend for semantic segmentation (Kirillov et al., "PointRend: image segmentation as rendering", 2020)."""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from det_core.errors import ConfigError
from det_core.ops.global_batch import normalizer
from det_core.recipes import Factory
from det_panoptic.semantic import SemSegFPNHead, stacked
from torch import Tensor, nn
from torch.nn import functional as F

from det_pointrend.layers import StandardPointHead
from det_pointrend.mask_heads import PointHead
from det_pointrend.points import PointFeatures, at_points, most_uncertain_cells, sample_uncertain_points

__all__ = ["PointRendSemSegHead"]


class PointRendSemSegHead(nn.Module):
    """A coarse semantic map, and a point head that refines it where two classes are nearly equally likely.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of classes of pixels.
        coarse_head: coarse semantic head, built with `channels`, `strides` and `num_classes`.
        point_head: built with `in_channels` and `num_classes`.
        point_features: feature levels of the point head; null for the finest.
        num_points: number of training points per image.
        oversample: number of candidates as a multiple of `num_points`, at least 1.
        importance: fraction of the points that are the most uncertain candidates, in [0, 1].
        subdivision_steps: number of doublings of the coarse map at inference.
        subdivision_points: number of pixels predicted again after each doubling.
    """

    contract = "SemanticHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        coarse_head: Factory[SemSegFPNHead] = Factory(SemSegFPNHead),
        point_head: Factory[PointHead] = Factory(StandardPointHead, coarse_each_layer=False),
        point_features: Sequence[str] | None = None,
        num_points: int = 2048,
        oversample: float = 3.0,
        importance: float = 0.75,
        subdivision_steps: int = 2,
        subdivision_points: int = 8192,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise ConfigError(
                "PointRendSemSegHead.num_classes", "must be at least 2, as uncertainty compares two classes"
            )
        self.coarse_sem_seg_head = Factory.of(coarse_head)(channels=channels, strides=strides, num_classes=num_classes)
        where = "PointRendSemSegHead.point_features"
        self.features = PointFeatures(where, channels, strides, point_features)
        arguments = {"in_channels": self.features.channels, "num_classes": num_classes}
        self.point_head = cast(nn.Module, Factory.of(point_head)(**arguments))
        self.num_points, self.oversample, self.importance = num_points, oversample, importance
        self.subdivision_steps, self.subdivision_points = subdivision_steps, subdivision_points

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """Levels (B, C, H, W) to class logits, float32 (B, num_classes, H, W) at input size."""
        coarse = self.coarse_sem_seg_head.layers(features)
        logits = coarse
        for _ in range(self.subdivision_steps):
            logits = F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
            places, points = most_uncertain_cells(_uncertainty(logits), self.subdivision_points)
            point_logits = self._point_logits(features, coarse, points)
            places = places[:, None].expand(-1, logits.shape[1], -1)
            logits = logits.flatten(2).scatter(2, places, point_logits).reshape(logits.shape)
        left = self.coarse_sem_seg_head.common_stride / 2**self.subdivision_steps
        if left != 1:
            logits = F.interpolate(logits, scale_factor=left, mode="bilinear", align_corners=False)
        return logits

    def losses(self, features: Mapping[str, Tensor], targets: Sequence[Tensor]) -> dict[str, Tensor]:
        """{"loss_sem_seg", "loss_sem_seg_point"}: of the coarse head, and the mean over labelled points."""
        coarse = self.coarse_sem_seg_head.layers(features)
        losses = self.coarse_sem_seg_head.losses_of(coarse, targets)
        with torch.no_grad():
            images = range(len(coarse))
            points = sample_uncertain_points(
                coarse, _uncertainty, self.num_points, self.oversample, self.importance, images
            )
            stride, ignore = self.coarse_sem_seg_head.common_stride, self.coarse_sem_seg_head.ignore
            ground_truth = _classes_at(stacked(targets, [stride * side for side in coarse.shape[-2:]], ignore), points)
        total = F.cross_entropy(
            self._point_logits(features, coarse, points), ground_truth, ignore_index=ignore, reduction="sum"
        )
        return {**losses, "loss_sem_seg_point": total / normalizer((ground_truth != ignore).sum(), total)}

    def _point_logits(self, features: Mapping[str, Tensor], coarse: Tensor, points: Tensor) -> Tensor:
        """Logits, float32 (B, num_classes, P), at relative coordinates (B, P, 2) in the images."""
        logits: Tensor = self.point_head(self.features.of_images(features, points), at_points(coarse, points))
        return logits.float()


def _uncertainty(logits: Tensor) -> Tensor:
    """(N, C, ...) to (N, ...): the second largest logit minus the largest."""
    first, second = logits.topk(2, dim=1).values.unbind(1)
    return second - first


def _classes_at(classes: Tensor, points: Tensor) -> Tensor:
    """Class of the pixel at each relative coordinate (B, P, 2) in maps (B, H, W)."""
    height, width = classes.shape[1:]
    x = (points[..., 0] * width).long().clamp(max=width - 1)
    y = (points[..., 1] * height).long().clamp(max=height - 1)
    return classes.flatten(1).gather(1, y * width + x)
