"""RetinaNet (Lin et al., "Focal loss for dense object detection", 2017)."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from det_core.errors import ConfigError
from det_core.models.heads.dense import (
    LevelNorms,
    MovingAverage,
    Tower,
    best_candidates,
    chosen_levels,
    per_anchor,
    predictor,
    suppress,
)
from det_core.models.parts.anchors import AnchorGenerator
from det_core.ops import boxes as box_ops
from det_core.ops import coding
from det_core.ops.layers import Norm
from det_core.ops.losses import BoxLoss, box_loss, focal_loss
from det_core.ops.matching import Matcher
from det_core.recipes import Factory
from det_core.structures import Detections, Size, Targets

__all__ = ["RetinaNetHead", "RetinaNetOutputs"]

_THREE_PER_OCTAVE = tuple(4 * 2 ** (i / 3) for i in range(3))


class RetinaNetOutputs(NamedTuple):
    """Per level: `logits` (B, H * W * A, C) and `offsets` (B, H * W * A, 4) of each anchor (H * W * A, 4)."""

    logits: list[Tensor]
    offsets: list[Tensor]
    anchors: list[Tensor]


class RetinaNetHead(nn.Module):
    """Classifies every anchor and moves it onto the object; one head for all levels.

    Args:
        channels: level -> channels, from the backbone.
        strides: level -> stride, from the backbone.
        num_classes: there is no background class.
        in_features: the levels that are searched; None for all.
        anchor_generator: built with `strides` of those levels; by default three sizes per level, from 4 strides on.
        conv_dims: output channels of the convolutions before either prediction; -1 keeps the number.
        norm: of these convolutions.
        level_norms: what the levels have in common where `norm` is BN or SyncBN.
        prior_probability: of every class at every anchor, before training.
        iou_thresholds: overlaps that part anchors into the ranges of `iou_labels`.
        iou_labels: 0 background, -1 left out, 1 foreground; an object's best anchor is always foreground.
        focal_alpha: weight of the positive class in the focal loss; negative for none.
        focal_gamma: how much the focal loss neglects what is classified well.
        box_weights: of the offsets (dx, dy, dw, dh).
        box_loss: how boxes are compared.
        smooth_l1_beta: where that loss turns linear.
        score_threshold: detections must score more than this.
        topk_candidates: pairs of anchor and class that enter suppression, per level and image.
        nms_threshold: overlap beyond which the worse of two detections of one class is dropped.
        max_detections: per image; the best stay.
        clip_first: clip boxes to the image before suppression, as torchvision does, and not only after.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        anchor_generator: Factory[AnchorGenerator] = Factory(AnchorGenerator, scales=_THREE_PER_OCTAVE),
        conv_dims: Sequence[int] = (-1, -1, -1, -1),
        norm: Norm = "",
        level_norms: LevelNorms = "own",
        prior_probability: float = 0.01,
        iou_thresholds: Sequence[float] = (0.4, 0.5),
        iou_labels: Sequence[int] = (0, -1, 1),
        focal_alpha: float = 0.25,
        focal_gamma: float = 2.0,
        box_weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
        box_loss: BoxLoss = "smooth_l1",
        smooth_l1_beta: float = 0.0,
        score_threshold: float = 0.05,
        topk_candidates: int = 1000,
        nms_threshold: float = 0.5,
        max_detections: int = 100,
        clip_first: bool = False,
    ) -> None:
        super().__init__()
        self.num_classes, self.in_features = num_classes, chosen_levels("RetinaNetHead", channels, in_features)
        self.anchor_generator = Factory.of(anchor_generator)(strides={name: strides[name] for name in self.in_features})
        if self.anchor_generator.box_dim != 4:
            raise ConfigError("RetinaNetHead.anchor_generator", "must lay upright anchors", "its anchors have angles")
        per_pixel = set(self.anchor_generator.per_pixel)
        if len(per_pixel) != 1:
            raise ConfigError("RetinaNetHead", "needs as many anchors at every level", f"got {sorted(per_pixel)}")
        tower = (channels[self.in_features[0]], conv_dims, norm, level_norms, len(self.in_features))
        self.cls_subnet, self.bbox_subnet = Tower(*tower), Tower(*tower)
        anchors, width = per_pixel.pop(), self.cls_subnet.out_channels
        self.cls_score = predictor(width, anchors * num_classes, prior_probability)
        self.bbox_pred = predictor(width, anchors * 4)
        self.matcher = Matcher(iou_thresholds, iou_labels, keep_best=True)
        self.normaliser = MovingAverage(start=100)
        self.focal_alpha, self.focal_gamma = focal_alpha, focal_gamma
        self.box_weights, self.box_loss, self.smooth_l1_beta = box_weights, box_loss, smooth_l1_beta
        self.score_threshold, self.topk_candidates = score_threshold, topk_candidates
        self.nms_threshold, self.max_detections, self.clip_first = nms_threshold, max_detections, clip_first

    def forward(self, features: Mapping[str, Tensor]) -> RetinaNetOutputs:
        """Levels (B, C, H, W) to scores before the sigmoid and offsets of every anchor."""
        levels = [features[name] for name in self.in_features]
        logits = [per_anchor(self.cls_score(x), self.num_classes) for x in self.cls_subnet(levels)]
        offsets = [per_anchor(self.bbox_pred(x), 4) for x in self.bbox_subnet(levels)]
        return RetinaNetOutputs(logits, offsets, self.anchor_generator(levels))

    def losses(self, outputs: RetinaNetOutputs, sizes: Sequence[Size], targets: Sequence[Targets]) -> dict[str, Tensor]:
        """{"loss_cls", "loss_box_reg"}: sums over the batch, divided by a moving average of the foreground anchors."""
        anchors = torch.cat(outputs.anchors)
        logits, offsets = torch.cat(outputs.logits, dim=1), torch.cat(outputs.offsets, dim=1)
        matched = [self._match(anchors, truth) for truth in targets]
        labels, boxes = torch.stack([m[0] for m in matched]), torch.stack([m[1] for m in matched])
        image, anchor = torch.nonzero((labels >= 0) & (labels < self.num_classes), as_tuple=True)
        normaliser = self.normaliser(labels.new_tensor(len(image)))
        used = labels >= 0
        classes = torch.arange(self.num_classes, device=labels.device)
        truth = (labels[used][:, None] == classes).float()
        classification = focal_loss(logits[used], truth, self.focal_alpha, self.focal_gamma)
        regression = box_loss(
            offsets[image, anchor],
            anchors[anchor],
            boxes[image, anchor],
            self.box_weights,
            self.box_loss,
            self.smooth_l1_beta,
        )
        return {"loss_cls": classification / normaliser, "loss_box_reg": regression / normaliser}

    @torch.no_grad()
    def _match(self, anchors: Tensor, truth: Targets) -> tuple[Tensor, Tensor]:
        """The class of each anchor (A,), `num_classes` for background and -1 for left out; and its true box (A, 4)."""
        match = self.matcher(box_ops.iou(truth.boxes, anchors))
        background = torch.full_like(match.partner, self.num_classes)
        labels = torch.where(match.labels == 1, truth.labels[match.partner], background) if len(truth) else background
        boxes = truth.boxes[match.partner] if len(truth) else anchors
        return torch.where(match.labels < 0, -1, labels), boxes

    @torch.no_grad()
    def decode(self, outputs: RetinaNetOutputs, sizes: Sequence[Size]) -> list[Detections]:
        """The detections of each image, best first; an anchor may be detected as several classes."""
        boxes, labels, scores = [], [], []
        for logits, offsets, anchors in zip(*outputs, strict=True):
            best = best_candidates(logits.float().sigmoid(), self.score_threshold, self.topk_candidates)
            chosen = offsets.gather(1, best.anchor[..., None].expand(-1, -1, 4))
            boxes.append(coding.decode(chosen, anchors[best.anchor], self.box_weights))
            labels.append(best.label)
            scores.append(best.score)
        per_image = zip(torch.cat(boxes, 1), torch.cat(labels, 1), torch.cat(scores, 1), sizes, strict=True)
        return [suppress(*found, self.nms_threshold, self.max_detections, self.clip_first) for found in per_image]
