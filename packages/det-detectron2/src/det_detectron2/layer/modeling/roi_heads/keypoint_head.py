"""Keypoint heads (He et al., 2017), as `detectron2.modeling.roi_heads.keypoint_head`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import Conv2d, ConvTranspose2d, ShapeSpec, cat, interpolate
from det_detectron2.layer.structures import Instances, heatmaps_to_keypoints
from det_detectron2.layer.utils.events import get_event_storage, has_event_storage
from det_detectron2.layer.utils.registry import Registry

__all__ = [
    "ROI_KEYPOINT_HEAD_REGISTRY",
    "BaseKeypointRCNNHead",
    "KRCNNConvDeconvUpsampleHead",
    "build_keypoint_head",
]

ROI_KEYPOINT_HEAD_REGISTRY = Registry("ROI_KEYPOINT_HEAD")
"""Modules of `(cfg, input_shape)` that are called with features and instances."""


def keypoint_rcnn_loss(
    pred_keypoint_logits: Tensor, instances: Sequence[Instances], normalizer: float | None
) -> Tensor:
    """The cross entropy of cells over the labelled keypoints in their boxes; over `normalizer`, or their number."""
    side = pred_keypoint_logits.shape[2]
    cells, visible = [], []
    for each in instances:
        if len(each) == 0:
            continue
        current, valid = each.gt_keypoints.to_heatmap(each.proposal_boxes.tensor, side)
        cells.append(current.view(-1))
        visible.append(valid.view(-1))
    used = torch.nonzero(cat(visible).to(torch.bool)).squeeze(1) if cells else torch.zeros(0, dtype=torch.int64)
    if used.numel() == 0:
        if has_event_storage():
            get_event_storage().put_scalar("kpts_num_skipped_batches", 1, smoothing_hint=False)
        return pred_keypoint_logits.sum() * 0
    images, points, height, width = pred_keypoint_logits.shape
    logits = pred_keypoint_logits.view(images * points, height * width)
    loss = F.cross_entropy(logits[used], cat(cells)[used], reduction="sum")
    return loss / (used.numel() if normalizer is None else normalizer)


def keypoint_rcnn_inference(pred_keypoint_logits: Tensor, pred_instances: Sequence[Instances]) -> None:
    """Give each instance `pred_keypoints` (N, K, 3), x, y and score, and its heat maps, in place."""
    boxes = cat([each.pred_boxes.tensor for each in pred_instances])
    maps = pred_keypoint_logits.detach()
    results = heatmaps_to_keypoints(maps, boxes.detach())
    counts = [len(each) for each in pred_instances]
    for current, heat, each in zip(
        results[:, :, [0, 1, 3]].split(counts, dim=0), maps.split(counts, dim=0), pred_instances, strict=True
    ):
        each.pred_keypoints, each.pred_keypoint_heatmaps = current, heat


class BaseKeypointRCNNHead(nn.Module):
    """What gives heat maps by `layers`, with Mask R-CNN's loss and prediction of keypoints.

    Args:
        num_keypoints: number of keypoints, K.
        loss_weight: weight of the loss.
        loss_normalizer: "visible" for the number of labelled keypoints, or a number.
    """

    @configurable
    def __init__(self, *, num_keypoints: int, loss_weight: float = 1.0, loss_normalizer: float | str = 1.0) -> None:
        super().__init__()
        self.num_keypoints, self.loss_weight = num_keypoints, loss_weight
        assert loss_normalizer == "visible" or isinstance(loss_normalizer, float), loss_normalizer
        self.loss_normalizer = loss_normalizer

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        current, heads = cfg.MODEL.ROI_KEYPOINT_HEAD, cfg.MODEL.ROI_HEADS
        most = current.NUM_KEYPOINTS * heads.BATCH_SIZE_PER_IMAGE * heads.POSITIVE_FRACTION
        by_visible = current.NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS
        return {
            "loss_weight": current.LOSS_WEIGHT,
            "num_keypoints": current.NUM_KEYPOINTS,
            "loss_normalizer": "visible" if by_visible else float(most),
        }

    def forward(self, x: Any, instances: list[Instances]) -> Any:
        """In training {"loss_keypoint"}; else the instances with keypoints."""
        logits = self.layers(x)
        if self.training:
            fixed = self.loss_normalizer
            over = None if fixed == "visible" else len(instances) * float(fixed)
            return {"loss_keypoint": keypoint_rcnn_loss(logits, instances, over) * self.loss_weight}
        keypoint_rcnn_inference(logits, instances)
        return instances

    def layers(self, x: Any) -> Tensor:
        """Features to heat maps (P, K, S, S)."""
        raise NotImplementedError


@ROI_KEYPOINT_HEAD_REGISTRY.register()
class KRCNNConvDeconvUpsampleHead(BaseKeypointRCNNHead, nn.Sequential):  # type: ignore[misc]
    """3 x 3 convolutions, one that doubles the size, and an interpolation that doubles it again.

    Args:
        input_shape: shape of the features.
        num_keypoints: number of keypoints, K.
        conv_dims: output channels of the convolutions.
        kwargs: keyword arguments of `BaseKeypointRCNNHead`.
    """

    @configurable
    def __init__(self, input_shape: ShapeSpec, *, num_keypoints: int, conv_dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(num_keypoints=num_keypoints, **kwargs)
        self.up_scale = 2.0
        channels: Any = input_shape.channels
        for place, dim in enumerate(conv_dims, 1):
            self.add_module(f"conv_fcn{place}", Conv2d(channels, dim, 3, stride=1, padding=1))
            self.add_module(f"conv_fcn_relu{place}", nn.ReLU())
            channels = dim
        self.score_lowres = ConvTranspose2d(channels, num_keypoints, 4, stride=2, padding=1)
        for name, parameter in self.named_parameters():
            if "bias" in name:
                nn.init.constant_(parameter, 0)
            elif "weight" in name:
                nn.init.kaiming_normal_(parameter, mode="fan_out", nonlinearity="relu")

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        dims = cfg.MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS
        return {**super().from_config(cfg, input_shape), "input_shape": input_shape, "conv_dims": dims}

    def layers(self, x: Tensor) -> Tensor:
        """(P, C, H, W) to heat maps (P, K, 4 H, 4 W)."""
        for layer in self:
            x = layer(x)
        return interpolate(x, scale_factor=self.up_scale, mode="bilinear", align_corners=False)


def build_keypoint_head(cfg: Any, input_shape: Any) -> nn.Module:
    """The head that MODEL.ROI_KEYPOINT_HEAD.NAME names."""
    head: nn.Module = ROI_KEYPOINT_HEAD_REGISTRY.get(cfg.MODEL.ROI_KEYPOINT_HEAD.NAME)(cfg, input_shape)
    return head
