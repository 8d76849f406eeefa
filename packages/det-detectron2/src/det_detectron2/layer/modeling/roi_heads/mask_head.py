"""Mask heads (He et al., 2017), as `detectron2.modeling.roi_heads.mask_head`."""

from collections.abc import Sequence
from typing import Any

import torch
from det_core.ops.layers import draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import Conv2d, ConvTranspose2d, ShapeSpec, cat, get_norm
from det_detectron2.layer.structures import Instances
from det_detectron2.layer.utils.events import get_event_storage, has_event_storage
from det_detectron2.layer.utils.registry import Registry

__all__ = [
    "ROI_MASK_HEAD_REGISTRY",
    "BaseMaskRCNNHead",
    "MaskRCNNConvUpsampleHead",
    "build_mask_head",
    "mask_rcnn_inference",
    "mask_rcnn_loss",
]

ROI_MASK_HEAD_REGISTRY = Registry("ROI_MASK_HEAD")
"""Modules of `(cfg, input_shape)` that are called with features and instances."""


def mask_rcnn_loss(pred_mask_logits: Tensor, instances: Sequence[Instances], vis_period: int = 0) -> Tensor:
    """The mean binary cross entropy over the pixels of the masks of the objects' classes.

    Args:
        pred_mask_logits: mask logits, (P, classes or 1, M, M).
        instances: instances of each image, with `proposal_boxes`, `gt_classes` and `gt_masks`.
        vis_period: accepted for compatibility.
    """
    agnostic, side = pred_mask_logits.size(1) == 1, pred_mask_logits.size(2)
    assert side == pred_mask_logits.size(3), "Mask prediction must be square!"
    labels, masks = [], []
    for each in instances:
        if len(each) == 0:
            continue
        labels.append(each.gt_classes.to(dtype=torch.int64))
        current = each.gt_masks.crop_and_resize(each.proposal_boxes.tensor, side)
        masks.append(current.to(device=pred_mask_logits.device))
    if not masks:
        return pred_mask_logits.sum() * 0
    target = cat(masks)
    if agnostic:
        logits = pred_mask_logits[:, 0]
    else:
        logits = pred_mask_logits[torch.arange(len(target), device=target.device), cat(labels)]
    if has_event_storage():
        wrong = (logits > 0.0) != (target > 0.5)
        share = wrong.sum().item() / max(wrong.numel(), 1.0)
        get_event_storage().put_scalar("mask_rcnn/accuracy", 1 - share)
    return F.binary_cross_entropy_with_logits(logits, target.to(dtype=torch.float32), reduction="mean")


def mask_rcnn_inference(pred_mask_logits: Tensor, pred_instances: Sequence[Instances]) -> None:
    """Give each instance `pred_masks` (N, 1, M, M), probabilities for its class, in place."""
    if pred_mask_logits.size(1) == 1:
        probabilities = pred_mask_logits.sigmoid()
    else:
        labels = cat([each.pred_classes for each in pred_instances])
        places = torch.arange(len(labels), device=labels.device)
        probabilities = pred_mask_logits[places, labels][:, None].sigmoid()
    counts = [len(each) for each in pred_instances]
    for current, each in zip(probabilities.split(counts, dim=0), pred_instances, strict=True):
        each.pred_masks = current


class BaseMaskRCNNHead(nn.Module):
    """What gives logits of masks by `layers`, with Mask R-CNN's loss and prediction.

    Args:
        loss_weight: weight of the loss.
        vis_period: accepted for compatibility.
    """

    @configurable
    def __init__(self, *, loss_weight: float = 1.0, vis_period: int = 0) -> None:
        super().__init__()
        self.vis_period, self.loss_weight = vis_period, loss_weight

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        return {"vis_period": cfg.VIS_PERIOD}

    def forward(self, x: Any, instances: list[Instances]) -> Any:
        """In training {"loss_mask"}; else the instances with masks."""
        logits = self.layers(x)
        if self.training:
            return {"loss_mask": mask_rcnn_loss(logits, instances, self.vis_period) * self.loss_weight}
        mask_rcnn_inference(logits, instances)
        return instances

    def layers(self, x: Any) -> Tensor:
        """Features to logits (P, classes or 1, M, M)."""
        raise NotImplementedError


@ROI_MASK_HEAD_REGISTRY.register()
class MaskRCNNConvUpsampleHead(BaseMaskRCNNHead, nn.Sequential):  # type: ignore[misc]
    """3 x 3 convolutions, then one that doubles the size.

    Args:
        input_shape: shape of the features.
        num_classes: number of mask classes; 1 for class-agnostic masks.
        conv_dims: output channels of the convolutions; the last is that of the transposed convolution.
        conv_norm: kind of norm of the convolutions.
        kwargs: keyword arguments of `BaseMaskRCNNHead`.
    """

    @configurable
    def __init__(
        self, input_shape: ShapeSpec, *, num_classes: int, conv_dims: Sequence[int], conv_norm: Any = "", **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        assert len(conv_dims) >= 1, "conv_dims have to be non-empty!"
        self.conv_norm_relus = []
        channels: Any = input_shape.channels
        for place, dim in enumerate(conv_dims[:-1], 1):
            conv = Conv2d(
                channels, dim, kernel_size=3, stride=1, padding=1, bias=not conv_norm, norm=get_norm(conv_norm, dim),
                activation=nn.ReLU(),
            )  # fmt: skip
            self.add_module(f"mask_fcn{place}", conv)
            self.conv_norm_relus.append(conv)
            channels = dim
        self.deconv = ConvTranspose2d(channels, conv_dims[-1], kernel_size=2, stride=2, padding=0)
        self.add_module("deconv_relu", nn.ReLU())
        self.predictor = Conv2d(conv_dims[-1], num_classes, kernel_size=1, stride=1, padding=0)
        for layer in (*self.conv_norm_relus, self.deconv):
            draw_weights(layer, "relu")
        nn.init.normal_(self.predictor.weight, std=0.001)
        nn.init.constant_(self.predictor.bias, 0)  # type: ignore[arg-type]

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        current = cfg.MODEL.ROI_MASK_HEAD
        classes = 1 if current.CLS_AGNOSTIC_MASK else cfg.MODEL.ROI_HEADS.NUM_CLASSES
        return {
            **super().from_config(cfg, input_shape),
            "conv_dims": [current.CONV_DIM] * (current.NUM_CONV + 1),
            "conv_norm": current.NORM,
            "input_shape": input_shape,
            "num_classes": classes,
        }

    def layers(self, x: Tensor) -> Tensor:
        """(P, C, H, W) to logits (P, classes or 1, 2 H, 2 W)."""
        for layer in self:
            x = layer(x)
        return x


def build_mask_head(cfg: Any, input_shape: Any) -> nn.Module:
    """The head that MODEL.ROI_MASK_HEAD.NAME names."""
    head: nn.Module = ROI_MASK_HEAD_REGISTRY.get(cfg.MODEL.ROI_MASK_HEAD.NAME)(cfg, input_shape)
    return head
