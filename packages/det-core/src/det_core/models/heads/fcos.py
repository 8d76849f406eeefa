"""FCOS (Tian et al., "FCOS: a simple and strong anchor-free object detector", 2020)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core.models.heads.dense import (
    MovingAverage,
    TowerLayers,
    best_candidates,
    per_anchor,
    predictor,
    suppress,
)
from det_core.models.parts.levels import select_levels
from det_core.models.parts.nms import DenseNMS
from det_core.ops import boxes as box_ops
from det_core.ops import coding
from det_core.ops.layers import Norm
from det_core.ops.losses import FocalLoss, iou_loss
from det_core.structures import Detections, Size, Targets

__all__ = ["FCOSNMS", "FCOSHead", "FCOSOutputs", "FCOSTower"]


class FCOSOutputs(NamedTuple):
    """Per level: `logits` (B, H * W, C), `distances` (B, H * W, 4) in strides, `centerness` (B, H * W), and `points`.

    `points` (H * W, 2) are x and y of the feature pixels, by default their centres, in image coordinates.
    """

    logits: list[Tensor]
    distances: list[Tensor]
    centerness: list[Tensor]
    points: list[Tensor]


@dataclass(frozen=True)
class FCOSTower(TowerLayers):
    """As `TowerLayers`, with group norm by default."""

    norm: Norm = "GN"


@dataclass(frozen=True)
class FCOSNMS(DenseNMS):
    """As `DenseNMS`, with defaults for FCOS, whose scores are geometric means with the centerness."""

    score_threshold: float = 0.2
    iou_threshold: float = 0.6


class FCOSHead(nn.Module):
    """Classifies every feature pixel and predicts the distances to the sides of its object; shared by all levels.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the head; None for all.
        tower: convolutions before the predictions; one tower per branch.
        prior_probability: initial probability of every class at every pixel, in (0, 1).
        offset: reference point in a feature pixel: 0.5 for the centre, 0 for the top left corner, as in torchvision.
        center_radius: centre sampling radius in strides, by the larger coordinate.
        focal_loss: sigmoid focal loss of the classification.
        nms: score threshold, pre-NMS top-k and NMS.
    """

    contract = "DenseHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        tower: FCOSTower = FCOSTower(),
        prior_probability: float = 0.01,
        offset: float = 0.5,
        center_radius: float = 1.5,
        focal_loss: FocalLoss = FocalLoss(),  # noqa: B008 (frozen)
        nms: FCOSNMS = FCOSNMS(),
    ) -> None:
        super().__init__()
        self.num_classes, self.in_features = num_classes, select_levels("FCOSHead", channels, in_features)
        self.strides = tuple(strides[name] for name in self.in_features)
        size = (channels[self.in_features[0]], len(self.in_features))
        self.cls_subnet, self.bbox_subnet = tower.build(*size), tower.build(*size)
        width = self.cls_subnet.out_channels
        self.cls_score = predictor(width, num_classes, prior_probability)
        self.bbox_pred = predictor(width, 4)
        self.ctrness = predictor(width, 1)
        self.normalizer = MovingAverage(start=300)
        self.offset, self.center_radius = offset, center_radius
        self.focal_loss, self.nms, self.suppress = focal_loss, nms, suppress

    def forward(self, features: Mapping[str, Tensor]) -> FCOSOutputs:
        """Levels (B, C, H, W) to predictions for every feature pixel, by row, then column."""
        levels = [features[name] for name in self.in_features]
        regions = self.bbox_subnet(levels)
        return FCOSOutputs(
            [per_anchor(self.cls_score(x), self.num_classes) for x in self.cls_subnet(levels)],
            [per_anchor(self.bbox_pred(x), 4) for x in regions],
            [per_anchor(self.ctrness(x), 1).squeeze(2) for x in regions],
            [_points(x, stride, self.offset) for x, stride in zip(levels, self.strides, strict=True)],
        )

    def losses(self, outputs: FCOSOutputs, sizes: Sequence[Size], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """{"loss_fcos_cls", "loss_fcos_loc", "loss_fcos_ctr"}, divided by a moving average of the foreground pixels."""
        points, strides = torch.cat(outputs.points), self._stride_of_points(outputs.points)
        matched = [self._match(points, strides, outputs.points, target) for target in targets]
        labels, boxes = torch.stack([m[0] for m in matched]), torch.stack([m[1] for m in matched])
        image, point = torch.nonzero(labels < self.num_classes, as_tuple=True)
        normalizer = self.normalizer(labels.new_tensor(len(image)))
        target = (labels[..., None] == torch.arange(self.num_classes, device=labels.device)).float()
        classification = self.focal_loss(torch.cat(outputs.logits, 1), target)
        true = boxes[image, point]
        distances = torch.cat(outputs.distances, dim=1)[image, point]
        decoded = coding.decode_distances(F.relu(distances.float()) * strides[point, None], points[point])
        centerness = torch.cat(outputs.centerness, dim=1)[image, point].float()
        closeness = _centerness(coding.encode_distances(true, points[point]))
        certainty = F.binary_cross_entropy_with_logits(centerness, closeness, reduction="sum")
        return {
            "loss_fcos_cls": classification / normalizer,
            "loss_fcos_loc": iou_loss(decoded, true, "giou") / normalizer,
            "loss_fcos_ctr": certainty / normalizer,
        }

    def _stride_of_points(self, points: Sequence[Tensor]) -> Tensor:
        return torch.cat([p.new_full((len(p),), stride) for p, stride in zip(points, self.strides, strict=True)])

    @torch.no_grad()
    def _match(
        self, points: Tensor, strides: Tensor, levels: Sequence[Tensor], target: Targets
    ) -> tuple[Tensor, Tensor]:
        """Class of each pixel (R,), `num_classes` for background, and its ground-truth box (R, 4).

        A pixel matches an object if it is inside of it and near its centre, and if the largest distance to a side is 4
        to 8 strides (any smaller one at the finest level, any larger one at the coarsest); of several objects, the
        smallest.
        """
        boxes = target.boxes
        if not len(target):
            nowhere = torch.full(points.shape[:1], self.num_classes, dtype=torch.int64, device=points.device)
            return nowhere, points.new_zeros(len(points), 4)
        distances = coding.encode_distances(boxes[:, None], points)  # (N, R, 4)
        centers = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
        near = (points - centers).abs().amax(dim=2) < self.center_radius * strides
        lower, upper = 4 * strides, 8 * strides
        lower[: len(levels[0])] = 0
        upper[len(points) - len(levels[-1]) :] = float("inf")
        furthest = distances.amax(dim=2)
        fits = near & (distances.amin(dim=2) > 0) & (furthest > lower) & (furthest < upper)
        size, matched_idxs = torch.where(fits, box_ops.area(boxes)[:, None], float("inf")).min(dim=0)
        return torch.where(size.isfinite(), target.labels[matched_idxs], self.num_classes), boxes[matched_idxs]

    @torch.no_grad()
    def decode(self, outputs: FCOSOutputs, sizes: Sequence[Size]) -> list[Detections]:
        """Detections of each image, best first; a pixel may be detected as several classes."""
        boxes, labels, scores = [], [], []
        for (logits, distances, centerness, points), stride in zip(
            zip(*outputs, strict=True), self.strides, strict=True
        ):
            score = (logits.float().sigmoid() * centerness.float().sigmoid()[..., None]).sqrt()
            best = best_candidates(score, self.nms.score_threshold, self.nms.topk_candidates)
            selected = distances.float().gather(1, best.anchor[..., None].expand(-1, -1, 4))
            boxes.append(coding.decode_distances(F.relu(selected) * stride, points[best.anchor]))
            labels.append(best.label)
            scores.append(best.score)
        return self.suppress(torch.cat(boxes, 1), torch.cat(labels, 1), torch.cat(scores, 1), sizes, self.nms)


def _points(level: Tensor, stride: int, offset: float) -> Tensor:
    """x and y of each pixel of (B, C, H, W), in image coordinates: float32 (H * W, 2)."""
    y, x = (
        (torch.arange(side, device=level.device, dtype=torch.float32) + offset) * stride for side in level.shape[-2:]
    )
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1).reshape(-1, 2)


def _centerness(distances: Tensor) -> Tensor:
    """1 at the centre of the object and 0 at its border: (N, 4) distances, all above 0, to (N,)."""
    across, along = distances[:, 0::2], distances[:, 1::2]
    return ((across.amin(1) / across.amax(1)) * (along.amin(1) / along.amax(1))).sqrt()
