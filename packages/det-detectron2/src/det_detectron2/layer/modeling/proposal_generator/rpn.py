"""Region proposal networks (Ren et al., 2015), as `detectron2.modeling.proposal_generator.rpn`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import Conv2d, ShapeSpec, cat
from det_detectron2.layer.modeling.anchor_generator import build_anchor_generator
from det_detectron2.layer.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
from det_detectron2.layer.modeling.matcher import Matcher
from det_detectron2.layer.modeling.proposal_generator.build import PROPOSAL_GENERATOR_REGISTRY
from det_detectron2.layer.modeling.proposal_generator.proposal_utils import find_top_rpn_proposals
from det_detectron2.layer.modeling.sampling import subsample_labels
from det_detectron2.layer.structures import ImageList, Instances, pairwise_iou
from det_detectron2.layer.utils.events import get_event_storage, has_event_storage
from det_detectron2.layer.utils.registry import Registry

__all__ = ["RPN", "RPN_HEAD_REGISTRY", "StandardRPNHead", "build_rpn_head"]

RPN_HEAD_REGISTRY = Registry("RPN_HEAD")
"""Modules that give logits and offsets of anchors for each level."""


def build_rpn_head(cfg: Any, input_shape: Sequence[ShapeSpec]) -> nn.Module:
    """The head that MODEL.RPN.HEAD_NAME names."""
    head: nn.Module = RPN_HEAD_REGISTRY.get(cfg.MODEL.RPN.HEAD_NAME)(cfg, input_shape)
    return head


@RPN_HEAD_REGISTRY.register()
class StandardRPNHead(nn.Module):
    """3 x 3 convolutions, then logits and offsets; shared by all levels.

    Args:
        in_channels: number of channels of all levels.
        num_anchors: number of anchors per feature pixel.
        box_dim: number of box coordinates, 4 or 5.
        conv_dims: output channels of each convolution; -1 for those of the input.
    """

    @configurable
    def __init__(
        self, *, in_channels: int, num_anchors: int, box_dim: int = 4, conv_dims: Sequence[int] = (-1,)
    ) -> None:
        super().__init__()
        channels = in_channels
        convs = []
        for dim in conv_dims:
            out = channels if dim == -1 else dim
            if out <= 0:
                raise ValueError(f"Conv output channels should be greater than 0. Got {out}")
            convs.append(Conv2d(channels, out, kernel_size=3, stride=1, padding=1, activation=nn.ReLU()))
            channels = out
        if len(convs) == 1:
            self.conv: nn.Module = convs[0]
        else:
            self.conv = nn.Sequential()
            for place, conv in enumerate(convs):
                self.conv.add_module(f"conv{place}", conv)
        self.objectness_logits = nn.Conv2d(channels, num_anchors, kernel_size=1, stride=1)
        self.anchor_deltas = nn.Conv2d(channels, num_anchors * box_dim, kernel_size=1, stride=1)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.01)
                nn.init.constant_(layer.bias, 0)  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Sequence[ShapeSpec]) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        channels = {each.channels for each in input_shape}
        assert len(channels) == 1, "Each level must have the same channel!"
        generator = build_anchor_generator(cfg, input_shape)
        counts = set(generator.num_anchors)  # type: ignore[arg-type]
        assert len(counts) == 1, "Each level must have the same number of anchors per spatial position"
        return {
            "in_channels": channels.pop(),
            "num_anchors": counts.pop(),
            "box_dim": generator.box_dim,
            "conv_dims": cfg.MODEL.RPN.CONV_DIMS,
        }

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Levels (N, C, H, W) to logits (N, A, H, W) and offsets (N, A * box_dim, H, W) of each."""
        hidden = [self.conv(level) for level in features]
        return [self.objectness_logits(each) for each in hidden], [self.anchor_deltas(each) for each in hidden]


@PROPOSAL_GENERATOR_REGISTRY.register()
class RPN(nn.Module):
    """Region proposal network (Ren et al., "Faster R-CNN", 2015).

    Args:
        in_features: names of the input feature maps.
        head: head that predicts objectness logits and box offsets.
        anchor_generator: anchor generator.
        anchor_matcher: matcher of anchors with ground-truth boxes.
        box2box_transform: encoding of the box offsets.
        batch_size_per_image: number of sampled anchors per image for the loss.
        positive_fraction: maximum fraction of foreground among the samples, in [0, 1].
        pre_nms_topk: number of boxes per level before NMS, in training and in inference.
        post_nms_topk: number of boxes per image after NMS, in training and in inference.
        nms_thresh: IoU threshold of the NMS.
        min_box_size: minimum width and height of proposals in pixels, exclusive.
        anchor_boundary_thresh: pixels that a training anchor may exceed the image; negative for no limit.
        loss_weight: weight of all losses, or weights by loss name.
        box_reg_loss_type: box regression loss: "smooth_l1", "giou", "diou" or "ciou".
        smooth_l1_beta: difference above which the smooth L1 loss is linear; 0 for L1.
    """

    @configurable
    def __init__(
        self,
        *,
        in_features: Sequence[str],
        head: nn.Module,
        anchor_generator: nn.Module,
        anchor_matcher: Matcher,
        box2box_transform: Any,
        batch_size_per_image: int,
        positive_fraction: float,
        pre_nms_topk: tuple[int, int],
        post_nms_topk: tuple[int, int],
        nms_thresh: float = 0.7,
        min_box_size: float = 0.0,
        anchor_boundary_thresh: float = -1.0,
        loss_weight: float | Mapping[str, float] = 1.0,
        box_reg_loss_type: str = "smooth_l1",
        smooth_l1_beta: float = 0.0,
    ) -> None:
        super().__init__()
        self.in_features, self.rpn_head, self.anchor_generator = in_features, head, anchor_generator
        self.anchor_matcher, self.box2box_transform = anchor_matcher, box2box_transform
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.pre_nms_topk = {True: pre_nms_topk[0], False: pre_nms_topk[1]}
        self.post_nms_topk = {True: post_nms_topk[0], False: post_nms_topk[1]}
        self.nms_thresh, self.min_box_size = nms_thresh, float(min_box_size)
        self.anchor_boundary_thresh = anchor_boundary_thresh
        if not isinstance(loss_weight, Mapping):
            loss_weight = {"loss_rpn_cls": loss_weight, "loss_rpn_loc": loss_weight}
        self.loss_weight = loss_weight
        self.box_reg_loss_type, self.smooth_l1_beta = box_reg_loss_type, smooth_l1_beta

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        current = cfg.MODEL.RPN
        shapes = [input_shape[name] for name in current.IN_FEATURES]
        return {
            "in_features": current.IN_FEATURES,
            "min_box_size": cfg.MODEL.PROPOSAL_GENERATOR.MIN_SIZE,
            "nms_thresh": current.NMS_THRESH,
            "batch_size_per_image": current.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": current.POSITIVE_FRACTION,
            "loss_weight": {
                "loss_rpn_cls": current.LOSS_WEIGHT,
                "loss_rpn_loc": current.BBOX_REG_LOSS_WEIGHT * current.LOSS_WEIGHT,
            },
            "anchor_boundary_thresh": current.BOUNDARY_THRESH,
            "box2box_transform": Box2BoxTransform(weights=current.BBOX_REG_WEIGHTS),
            "box_reg_loss_type": current.BBOX_REG_LOSS_TYPE,
            "smooth_l1_beta": current.SMOOTH_L1_BETA,
            "pre_nms_topk": (current.PRE_NMS_TOPK_TRAIN, current.PRE_NMS_TOPK_TEST),
            "post_nms_topk": (current.POST_NMS_TOPK_TRAIN, current.POST_NMS_TOPK_TEST),
            "anchor_generator": build_anchor_generator(cfg, shapes),
            "anchor_matcher": Matcher(current.IOU_THRESHOLDS, current.IOU_LABELS, allow_low_quality_matches=True),
            "head": build_rpn_head(cfg, shapes),
        }

    def _subsample_labels(self, label: Tensor) -> Tensor:
        """Labels in which all but sampled anchors are -1, in place."""
        positive, negative = subsample_labels(label, self.batch_size_per_image, self.positive_fraction, 0)
        label.fill_(-1)
        label.scatter_(0, positive, 1)
        label.scatter_(0, negative, 0)
        return label

    def _overlaps(self, objects: Any, anchors: Any) -> Tensor:
        return pairwise_iou(objects, anchors)

    @torch.no_grad()
    def label_and_sample_anchors(
        self, anchors: Sequence[Any], gt_instances: Sequence[Instances]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """For each image the label of each anchor, int8, -1 for those that are not used, and its object's box."""
        every = type(anchors[0]).cat(list(anchors))
        labels, boxes = [], []
        for instances in gt_instances:
            objects = instances.gt_boxes
            matches, label = self.anchor_matcher(self._overlaps(objects, every))
            label = label.to(device=objects.device)
            if self.anchor_boundary_thresh >= 0:
                label[~every.inside_box(instances.image_size, self.anchor_boundary_thresh)] = -1
            labels.append(self._subsample_labels(label))
            boxes.append(objects[matches].tensor if len(objects) else torch.zeros_like(every.tensor))
        return labels, boxes

    def losses(
        self,
        anchors: Sequence[Any],
        pred_objectness_logits: Sequence[Tensor],
        gt_labels: Sequence[Tensor],
        pred_anchor_deltas: Sequence[Tensor],
        gt_boxes: Sequence[Tensor],
    ) -> dict[str, Tensor]:
        """{"loss_rpn_cls", "loss_rpn_loc"}: sums over sampled anchors, divided by images x `batch_size_per_image`."""
        labels = torch.stack(list(gt_labels))
        positive = labels == 1
        if has_event_storage():
            storage, count = get_event_storage(), len(gt_labels)
            storage.put_scalar("rpn/num_pos_anchors", positive.sum().item() / count)
            storage.put_scalar("rpn/num_neg_anchors", (labels == 0).sum().item() / count)
        regression = self._box_loss(anchors, pred_anchor_deltas, gt_boxes, positive)
        used = labels >= 0
        classification = F.binary_cross_entropy_with_logits(
            cat(list(pred_objectness_logits), dim=1)[used], labels[used].to(torch.float32), reduction="sum"
        )
        scale = self.batch_size_per_image * len(gt_labels)
        results = {"loss_rpn_cls": classification / scale, "loss_rpn_loc": regression / scale}
        return {name: value * self.loss_weight.get(name, 1.0) for name, value in results.items()}

    def _box_loss(
        self, anchors: Sequence[Any], offsets: Sequence[Tensor], boxes: Sequence[Tensor], positive: Tensor
    ) -> Tensor:
        return _dense_box_regression_loss(
            [each.tensor for each in anchors],
            self.box2box_transform,
            offsets,
            boxes,
            positive,
            box_reg_loss_type=self.box_reg_loss_type,
            smooth_l1_beta=self.smooth_l1_beta,
        )

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        gt_instances: Sequence[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Proposals of each image, best first, and the losses, {} outside of training."""
        levels = [features[name] for name in self.in_features]
        anchors = self.anchor_generator(levels)
        logits, offsets = self.rpn_head(levels)
        dim = self.anchor_generator.box_dim
        logits = [each.permute(0, 2, 3, 1).flatten(1) for each in logits]
        offsets = [each.permute(0, 2, 3, 1).reshape(len(each), -1, dim) for each in offsets]
        losses: dict[str, Tensor] = {}
        if self.training:
            assert gt_instances is not None, "RPN requires gt_instances in training!"
            labels, boxes = self.label_and_sample_anchors(anchors, gt_instances)
            losses = self.losses(anchors, logits, labels, offsets, boxes)
        return self.predict_proposals(anchors, logits, offsets, images.image_sizes), losses

    @torch.no_grad()
    def predict_proposals(
        self,
        anchors: Sequence[Any],
        pred_objectness_logits: Sequence[Tensor],
        pred_anchor_deltas: Sequence[Tensor],
        image_sizes: Sequence[tuple[int, int]],
    ) -> list[Instances]:
        """The best boxes of each image."""
        return self._find_top(
            self._decode_proposals(anchors, pred_anchor_deltas),
            pred_objectness_logits,
            image_sizes,
            self.nms_thresh,
            self.pre_nms_topk[self.training],
            self.post_nms_topk[self.training],
            self.min_box_size,
            self.training,
        )

    def _find_top(self, *args: Any) -> list[Instances]:
        return find_top_rpn_proposals(*args)

    def _decode_proposals(self, anchors: Sequence[Any], pred_anchor_deltas: Sequence[Tensor]) -> list[Tensor]:
        """Boxes of each level, (N, anchors, 4 or 5)."""
        results = []
        for current, offsets in zip(anchors, pred_anchor_deltas, strict=True):
            count, dim = offsets.shape[0], current.tensor.size(1)
            boxes = current.tensor[None].expand(count, -1, -1).reshape(-1, dim)
            results.append(self.box2box_transform.apply_deltas(offsets.reshape(-1, dim), boxes).view(count, -1, dim))
        return results
