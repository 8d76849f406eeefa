"""RetinaNet (Lin et al., "Focal loss for dense object detection", 2017)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from det_core import contracts
from det_core.errors import ConfigError
from det_core.models.heads.dense import (
    MovingAverage,
    TowerLayers,
    best_candidates,
    per_anchor,
    predictor,
    suppress,
)
from det_core.models.parts.anchors import AnchorGenerator, anchors_per_pixel
from det_core.models.parts.levels import select_levels
from det_core.models.parts.nms import DenseNMS
from det_core.models.parts.regression import BoxRegression
from det_core.ops import boxes as box_ops
from det_core.ops import coding
from det_core.ops.losses import FocalLoss
from det_core.ops.matching import Matcher
from det_core.recipes import Factory
from det_core.structures import Detections, Size, Targets

__all__ = ["AnchorMatching", "RetinaNetHead", "RetinaNetOutputs"]

_THREE_PER_OCTAVE = tuple(4 * 2 ** (i / 3) for i in range(3))


class RetinaNetOutputs(NamedTuple):
    """Per level: `logits` (B, H * W * A, C) and `offsets` (B, H * W * A, 4) of each anchor (H * W * A, 4)."""

    logits: list[Tensor]
    offsets: list[Tensor]
    anchors: list[Tensor]


@dataclass(frozen=True)
class AnchorMatching:
    """IoU thresholds of the anchors; the best anchor of an object is always foreground.

    Attributes:
        iou_thresholds: ascending IoUs that separate the ranges of `iou_labels`.
        iou_labels: label of each range: 0 background, -1 ignore, 1 foreground.
    """

    iou_thresholds: Sequence[float] = (0.4, 0.5)
    iou_labels: Sequence[int] = (0, -1, 1)

    def matcher(self) -> Matcher:
        """A matcher with these thresholds."""
        return Matcher(self.iou_thresholds, self.iou_labels, keep_best=True)


class RetinaNetHead(nn.Module):
    """Classifies every anchor and regresses its box; shared by all levels.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the head; None for all.
        anchor_generator: built with `strides` of those levels; by default three sizes per level, from 4 strides.
        tower: convolutions before either prediction; one tower per branch.
        prior_probability: initial probability of every class at every anchor, in (0, 1).
        matching: IoU thresholds of the anchors.
        focal_loss: sigmoid focal loss of the classification.
        box_weights: weights of the box offsets (dx, dy, dw, dh).
        box_regression: loss of box offsets, and its weight.
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
        anchor_generator: Factory[contracts.AnchorGenerator] = Factory(AnchorGenerator, scales=_THREE_PER_OCTAVE),
        tower: TowerLayers = TowerLayers(),  # noqa: B008 (frozen)
        prior_probability: float = 0.01,
        matching: AnchorMatching = AnchorMatching(),
        focal_loss: FocalLoss = FocalLoss(),  # noqa: B008 (frozen)
        box_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
        box_regression: BoxRegression = BoxRegression(),  # noqa: B008 (frozen)
        nms: DenseNMS = DenseNMS(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        self.num_classes, self.in_features = num_classes, select_levels("RetinaNetHead", channels, in_features)
        generator = Factory.of(anchor_generator)(strides={name: strides[name] for name in self.in_features})
        if generator.box_dim != 4:
            raise ConfigError("RetinaNetHead.anchor_generator", "must generate upright anchors", "they have angles")
        self.anchor_generator = cast(nn.Module, generator)
        size = (channels[self.in_features[0]], len(self.in_features))
        self.cls_subnet, self.bbox_subnet = tower.build(*size), tower.build(*size)
        anchors, width = anchors_per_pixel("RetinaNetHead", generator), self.cls_subnet.out_channels
        self.cls_score = predictor(width, anchors * num_classes, prior_probability)
        self.bbox_pred = predictor(width, anchors * 4)
        self.matcher = matching.matcher()
        self.normalizer = MovingAverage(start=100)
        self.focal_loss, self.box_weights, self.box_regression = focal_loss, box_weights, box_regression
        self.nms, self.suppress = nms, suppress

    def forward(self, features: Mapping[str, Tensor]) -> RetinaNetOutputs:
        """Levels (B, C, H, W) to logits and box offsets of every anchor."""
        levels = [features[name] for name in self.in_features]
        logits = [per_anchor(self.cls_score(x), self.num_classes) for x in self.cls_subnet(levels)]
        offsets = [per_anchor(self.bbox_pred(x), 4) for x in self.bbox_subnet(levels)]
        return RetinaNetOutputs(logits, offsets, self.anchor_generator(levels))

    def losses(self, outputs: RetinaNetOutputs, sizes: Sequence[Size], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """{"loss_cls", "loss_box_reg"}: sums over the batch, divided by a moving average of the foreground count."""
        anchors = torch.cat(outputs.anchors)
        logits, offsets = torch.cat(outputs.logits, dim=1), torch.cat(outputs.offsets, dim=1)
        matched = [self._match(anchors, target) for target in targets]
        labels, boxes = torch.stack([m[0] for m in matched]), torch.stack([m[1] for m in matched])
        image, anchor = torch.nonzero((labels >= 0) & (labels < self.num_classes), as_tuple=True)
        normalizer = self.normalizer(labels.new_tensor(len(image)))
        used = labels >= 0
        classes = torch.arange(self.num_classes, device=labels.device)
        target = (labels[used][:, None] == classes).float()
        classification = self.focal_loss(logits[used], target)
        offsets, boxes = offsets[image, anchor], boxes[image, anchor]
        regression = self.box_regression(offsets, anchors[anchor], boxes, self.box_weights)
        return {"loss_cls": classification / normalizer, "loss_box_reg": regression / normalizer}

    @torch.no_grad()
    def _match(self, anchors: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        """Class of each anchor (A,), `num_classes` for background and -1 to ignore; and its ground-truth box (A, 4)."""
        match = self.matcher(box_ops.iou(targets.boxes, anchors))
        idxs, background = match.matched_idxs, torch.full_like(match.matched_idxs, self.num_classes)
        labels = torch.where(match.labels == 1, targets.labels[idxs], background) if len(targets) else background
        boxes = targets.boxes[idxs] if len(targets) else anchors
        return torch.where(match.labels < 0, -1, labels), boxes

    @torch.no_grad()
    def decode(self, outputs: RetinaNetOutputs, sizes: Sequence[Size]) -> list[Detections]:
        """Detections of each image, best first; an anchor may be detected as several classes."""
        boxes, labels, scores = [], [], []
        for logits, offsets, anchors in zip(*outputs, strict=True):
            best = best_candidates(logits.float().sigmoid(), self.nms.score_threshold, self.nms.topk_candidates)
            selected = offsets.gather(1, best.anchor[..., None].expand(-1, -1, 4))
            boxes.append(coding.decode(selected, anchors[best.anchor], self.box_weights))
            labels.append(best.label)
            scores.append(best.score)
        return self.suppress(torch.cat(boxes, 1), torch.cat(labels, 1), torch.cat(scores, 1), sizes, self.nms)
