"""Mask heads that predict point by point, with a finer grid where the prediction is uncertain.

PointRend (Kirillov et al., "PointRend: image segmentation as rendering", 2020) and Implicit PointRend (Cheng et al.,
"Pointly-supervised instance segmentation", 2022).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

import torch
from det_core.errors import ConfigError
from det_core.models.heads.mask import mask_loss, of_label, with_masks
from det_core.ops.global_batch import normalizer
from det_core.recipes import Factory
from det_core.structures import Detections, Targets
from torch import Tensor, nn
from torch.nn import functional as F

from det_pointrend.layers import ImplicitPointHead, RegionLayers, StandardPointHead
from det_pointrend.point_targets import DrawnPoints, PointSource, mask_labels_at, point_loss
from det_pointrend.points import (
    PointFeatures,
    PointSampler,
    Subdivision,
    at_points,
    grid,
    most_uncertain_cells,
    points_in_image,
    rows_of,
)

__all__ = ["ImplicitPointRendMaskHead", "PointHead", "PointRendMaskHead", "pooled", "subdivided"]


class PointHead(Protocol):
    """Classifies points. Built with `in_channels` and `num_classes`."""

    def __call__(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Features (R, in_channels, P) and coarse logits (R, num_classes, P) to logits (R, num_classes or 1, P)."""
        ...


class PointRendMaskHead(nn.Module):
    """A coarse mask from fully connected layers, and a point head that refines it.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the coarse mask; null for the finest.
        region_layers: layers of the coarse head.
        coarse_resolution: side of the coarse mask, in cells.
        point_head: built with `in_channels` and `num_classes`; null to use the coarse mask alone.
        point_features: feature levels of the point head; null for the finest.
        sampler: sampling of the training points in each region.
        subdivision: refinement of the coarse mask at inference.
    """

    contract = "RegionHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        region_layers: RegionLayers = RegionLayers(),  # noqa: B008 (frozen)
        coarse_resolution: int = 7,
        point_head: Factory[PointHead] | None = Factory(StandardPointHead),
        point_features: Sequence[str] | None = None,
        sampler: PointSampler = PointSampler(),  # noqa: B008 (frozen)
        subdivision: Subdivision = Subdivision(steps=5),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        where = "PointRendMaskHead.in_features"
        self.features = PointFeatures(where, channels, strides, in_features)
        self.resolution = region_layers.resolution
        size = (num_classes, coarse_resolution, coarse_resolution)
        self.coarse_head = region_layers.build(self.features.channels, size)
        where = "PointRendMaskHead.point_features"
        self.point_features = PointFeatures(where, channels, strides, point_features)
        self.point_head: nn.Module | None = None
        if point_head is not None:
            arguments = {"in_channels": self.point_features.channels, "num_classes": num_classes}
            self.point_head = cast(nn.Module, Factory.of(point_head)(**arguments))
        self.sampler = sampler
        # Subdivision steps that would refine all points are equivalent to a larger initial mask.
        self.side, self.steps, self.subdivision_points = coarse_resolution, subdivision.steps, subdivision.points
        while self.steps > 0 and 4 * self.side**2 <= subdivision.points:
            self.side, self.steps = 2 * self.side, self.steps - 1

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_mask", "loss_mask_point"}: over the cells of the coarse mask, and over mostly uncertain points."""
        coarse = self._coarse(features, proposals)
        losses = {"loss_mask": mask_loss(coarse, proposals, targets)}
        if self.point_head is not None:
            labels = torch.cat([each.labels for each in targets])
            with torch.no_grad():
                points = self.sampler(coarse, lambda logits: -of_label(logits, labels).abs(), rows_of(proposals))
            ground_truth = mask_labels_at(targets, points_in_image(torch.cat(list(proposals)), points))
            logits = self._point_logits(features, proposals, coarse, points)
            losses["loss_mask_point"] = point_loss(of_label(logits, labels), ground_truth)
        return losses

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with `masks`: float32 (N, S, S), probabilities within each box; S is 224 as published."""
        boxes, labels = [each.boxes for each in detections], torch.cat([each.labels for each in detections])
        coarse = self._coarse(features, boxes)
        if self.point_head is None:
            return with_masks(detections, coarse)

        def point_logits(points: Tensor) -> Tensor:
            return of_label(self._point_logits(features, boxes, coarse, points), labels)

        logits = subdivided(point_logits, len(labels), self.side, self.steps, self.subdivision_points, coarse)
        return with_masks(detections, logits[:, None])

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """As `det_core.contracts.OlderWeights`: keys of the first release, with both heads beside the mask head."""
        beside = path.rpartition(".")[0] + "." if "." in path else ""
        older = {
            f"{beside}mask_coarse_head.coarse_mask_fc": f"{path}.coarse_head.fc",
            f"{beside}mask_coarse_head.": f"{path}.coarse_head.",
            f"{beside}mask_point_head.": f"{path}.point_head.",
        }
        renamed = {}
        for key, value in state.items():
            first = next((old for old in older if key.startswith(old)), None)
            renamed[key if first is None else older[first] + key.removeprefix(first)] = value
        return None if renamed.keys() == state.keys() else ("PointRend's first names", renamed)

    def _coarse(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        coarse: Tensor = self.coarse_head(pooled(self.features, features, boxes, self.resolution))
        return coarse

    def _point_logits(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], coarse: Tensor, points: Tensor
    ) -> Tensor:
        fine = self.point_features(features, boxes, points)
        logits: Tensor = cast(nn.Module, self.point_head)(fine, at_points(coarse, points))
        return logits


class ImplicitPointRendMaskHead(nn.Module):
    """Predicts the weights of a small MLP per region, which classifies any point of the region.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the weights; null for the finest.
        region_layers: layers of the head that predicts the weights.
        point_head: built with `in_channels` and `num_classes`.
        point_features: feature levels of the point head; null for the finest.
        points: source of the training points; null for 196 uniform samples per region.
        regularization: weight of the mean squared MLP weight in the loss.
        subdivision: refinement of the mask at inference; its number of points, a square, is also that of the first
            grid.
    """

    contract = "RegionHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        region_layers: RegionLayers = RegionLayers(),  # noqa: B008 (frozen)
        point_head: Factory[ImplicitPointHead] = Factory(ImplicitPointHead),
        point_features: Sequence[str] | None = None,
        points: PointSource | None = None,
        regularization: float = 1e-5,
        subdivision: Subdivision = Subdivision(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.side, self.steps, self.subdivision_points = (
            math.isqrt(subdivision.points),
            subdivision.steps,
            subdivision.points,
        )
        if self.side**2 != subdivision.points:
            where = "ImplicitPointRendMaskHead.subdivision.points"
            raise ConfigError(where, "must be a square number", f"got {subdivision.points}")
        where = "ImplicitPointRendMaskHead.in_features"
        self.features = PointFeatures(where, channels, strides, in_features)
        where = "ImplicitPointRendMaskHead.point_features"
        self.point_features = PointFeatures(where, channels, strides, point_features)
        arguments = {"in_channels": self.point_features.channels, "num_classes": num_classes}
        self.point_head = Factory.of(point_head)(**arguments)
        self.resolution = region_layers.resolution
        self.parameter_head = region_layers.build(self.features.channels, (self.point_head.num_params,))
        self.points, self.regularization = points or DrawnPoints(), regularization

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_l2", "loss_mask_point"}: over the predicted weights, and over their logits at the training points."""
        parameters = self._weights(features, proposals)
        points, ground_truth = self.points(proposals, targets)
        labels = torch.cat([each.labels for each in targets])
        logits = self.point_head(self.point_features(features, proposals, points), points, parameters)
        weights = normalizer(parameters.numel(), parameters)
        return {
            "loss_l2": self.regularization * parameters.float().square().sum() / weights,
            "loss_mask_point": point_loss(of_label(logits, labels), ground_truth),
        }

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with `masks`: float32 (N, S, S), probabilities within each box; S is 224 as published."""
        boxes, labels = [each.boxes for each in detections], torch.cat([each.labels for each in detections])
        parameters = self._weights(features, boxes)

        def point_logits(points: Tensor) -> Tensor:
            fine = self.point_features(features, boxes, points)
            return of_label(self.point_head(fine, points, parameters), labels)

        logits = subdivided(point_logits, len(labels), self.side, self.steps, self.subdivision_points, parameters)
        return with_masks(detections, logits[:, None])

    def _weights(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        parameters: Tensor = self.parameter_head(pooled(self.features, features, boxes, self.resolution))
        return parameters


def pooled(levels: PointFeatures, features: Mapping[str, Tensor], boxes: Sequence[Tensor], side: int) -> Tensor:
    """Features on a grid in each box, (R, channels, side, side): ROIAlign with one sample per cell."""
    points = grid(side, boxes[0]).expand(sum(map(len, boxes)), -1, -1)
    return levels(features, boxes, points).unflatten(2, (side, side))


def subdivided(
    point_logits: Callable[[Tensor], Tensor], regions: int, side: int, steps: int, count: int, like: Tensor
) -> Tensor:
    """Masks from a grid of `side`, doubled `steps` times with new predictions at the most uncertain points.

    Args:
        point_logits: function from relative coordinates (R, P, 2) in the regions to logits (R, P).
        regions: number R of regions.
        side: side of the first masks, whose cells are all predicted.
        steps: number of doublings, by interpolation.
        count: number of cells nearest to 0 that are predicted again after each.
        like: a tensor on the device of the result.

    Returns:
        Logits (R, S, S), where S is `side` times 2 to the power of `steps`.
    """
    logits = point_logits(grid(side, like).expand(regions, -1, -1)).unflatten(1, (side, side))
    for _ in range(steps):
        logits = F.interpolate(logits[:, None], scale_factor=2.0, mode="bilinear", align_corners=False)[:, 0]
        places, points = most_uncertain_cells(-logits.abs(), count)
        logits = logits.flatten(1).scatter(1, places, point_logits(points)).reshape(logits.shape)
    return logits
