"""Mask heads that answer point by point, and look closer where they are least certain.

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
from det_pointrend.truth import DrawnPoints, PointSource, point_loss, truth_at

__all__ = ["ImplicitPointRendMaskHead", "PointHead", "PointRendMaskHead", "pooled", "subdivided"]


class PointHead(Protocol):
    """Answers for single points. Built with `in_channels` and `num_classes`."""

    def __call__(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Features (R, in_channels, P) and coarse answers (R, num_classes, P) to logits (R, num_classes or 1, P)."""
        ...


class PointRendMaskHead(nn.Module):
    """A coarse mask from fully connected layers, and a point head that renders it finer.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: without the background.
        in_features: the levels that the coarse mask is made of; null is the finest.
        region_layers: the layers of the coarse head.
        coarse_resolution: side of the coarse mask.
        point_head: built with `in_channels` and `num_classes`; null leaves it at the coarse mask.
        point_features: the levels that the point head looks at; null is the finest.
        sampler: the points of each region that the loss is computed on.
        subdivision: how the coarse mask is made finer at inference.
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
            known = {"in_channels": self.point_features.channels, "num_classes": num_classes}
            self.point_head = cast(nn.Module, Factory.of(point_head)(**known))
        self.sampler = sampler
        # While all points would be decided anew, to begin with the larger mask is the same.
        self.side, self.steps, self.subdivision_points = coarse_resolution, subdivision.steps, subdivision.points
        while self.steps > 0 and 4 * self.side**2 <= subdivision.points:
            self.side, self.steps = 2 * self.side, self.steps - 1

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_mask", "loss_mask_point"}: of the coarse mask's cells, and of points, most of them uncertain ones."""
        coarse = self._coarse(features, proposals)
        losses = {"loss_mask": mask_loss(coarse, proposals, targets)}
        if self.point_head is not None:
            labels = torch.cat([truth.labels for truth in targets])
            with torch.no_grad():
                points = self.sampler(coarse, lambda logits: -of_label(logits, labels).abs(), rows_of(proposals))
            truth = truth_at(targets, points_in_image(torch.cat(list(proposals)), points))
            logits = self._decide(features, proposals, coarse, points)
            losses["loss_mask_point"] = point_loss(of_label(logits, labels), truth)
        return losses

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with `masks`: float32 (N, S, S), the probabilities within each box; S is 224 as published."""
        boxes, labels = [found.boxes for found in detections], torch.cat([found.labels for found in detections])
        coarse = self._coarse(features, boxes)
        if self.point_head is None:
            return with_masks(detections, coarse)

        def decide(points: Tensor) -> Tensor:
            return of_label(self._decide(features, boxes, coarse, points), labels)

        logits = subdivided(decide, len(labels), self.side, self.steps, self.subdivision_points, coarse)
        return with_masks(detections, logits[:, None])

    def older_weights(self, state: Mapping[str, Tensor], path: str) -> tuple[str, dict[str, Tensor]] | None:
        """As `det_core.contracts.OlderWeights`: the two heads first stood beside where the mask head is now."""
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

    def _decide(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], coarse: Tensor, points: Tensor
    ) -> Tensor:
        fine = self.point_features(features, boxes, points)
        logits: Tensor = cast(nn.Module, self.point_head)(fine, at_points(coarse, points))
        return logits


class ImplicitPointRendMaskHead(nn.Module):
    """Makes the weights of a small network for each region, which decides for any point of it.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: without the background.
        in_features: the levels that the weights are made of; null is the finest.
        region_layers: the layers of the head that makes the weights.
        point_head: built with `in_channels` and `num_classes`.
        point_features: the levels that the point head looks at; null is the finest.
        points: where the points come from that are learnt from; null draws 196 of each region evenly.
        regularisation: how much the mean square of the weights adds to the loss.
        subdivision: how the mask is made finer at inference; its points, a square number, are decided at first too.
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
        regularisation: float = 1e-5,
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
        known = {"in_channels": self.point_features.channels, "num_classes": num_classes}
        self.point_head = Factory.of(point_head)(**known)
        self.resolution = region_layers.resolution
        self.parameter_head = region_layers.build(self.features.channels, (self.point_head.num_params,))
        self.points, self.regularisation = points or DrawnPoints(), regularisation

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_l2", "loss_mask_point"}: of the weights that were made, and of what they decide at the points."""
        parameters = self._weights(features, proposals)
        points, truth = self.points(proposals, targets)
        labels = torch.cat([own.labels for own in targets])
        logits = self.point_head(self.point_features(features, proposals, points), points, parameters)
        weights = normalizer(parameters.numel(), parameters)
        return {
            "loss_l2": self.regularisation * parameters.float().square().sum() / weights,
            "loss_mask_point": point_loss(of_label(logits, labels), truth),
        }

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with `masks`: float32 (N, S, S), the probabilities within each box; S is 224 as published."""
        boxes, labels = [found.boxes for found in detections], torch.cat([found.labels for found in detections])
        parameters = self._weights(features, boxes)

        def decide(points: Tensor) -> Tensor:
            fine = self.point_features(features, boxes, points)
            return of_label(self.point_head(fine, points, parameters), labels)

        logits = subdivided(decide, len(labels), self.side, self.steps, self.subdivision_points, parameters)
        return with_masks(detections, logits[:, None])

    def _weights(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        parameters: Tensor = self.parameter_head(pooled(self.features, features, boxes, self.resolution))
        return parameters


def pooled(levels: PointFeatures, features: Mapping[str, Tensor], boxes: Sequence[Tensor], side: int) -> Tensor:
    """What the levels show on a grid in each box, (R, channels, side, side): ROIAlign with one sample for each cell."""
    points = grid(side, boxes[0]).expand(sum(map(len, boxes)), -1, -1)
    return levels(features, boxes, points).unflatten(2, (side, side))


def subdivided(
    decide: Callable[[Tensor], Tensor], regions: int, side: int, steps: int, count: int, like: Tensor
) -> Tensor:
    """Masks that begin as a grid of `side` and are doubled `steps` times, each time correct where it matters most.

    Args:
        decide: says the logits (R, P) of shares (R, P, 2) of the regions.
        regions: how many there are.
        side: of the first masks, whose cells are all decided.
        steps: doublings, by interpolation.
        count: the cells nearest to 0 that are decided anew after each.
        like: a tensor on the device of the result.

    Returns:
        Logits (R, S, S), where S is `side` times 2 to the power of `steps`.
    """
    logits = decide(grid(side, like).expand(regions, -1, -1)).unflatten(1, (side, side))
    for _ in range(steps):
        logits = F.interpolate(logits[:, None], scale_factor=2.0, mode="bilinear", align_corners=False)[:, 0]
        places, points = most_uncertain_cells(-logits.abs(), count)
        logits = logits.flatten(1).scatter(1, places, decide(points)).reshape(logits.shape)
    return logits
