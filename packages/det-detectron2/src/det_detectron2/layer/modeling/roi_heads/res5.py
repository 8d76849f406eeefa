"""The second stage of C4 models, as `detectron2.modeling.roi_heads.Res5ROIHeads`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import ShapeSpec
from det_detectron2.layer.modeling.backbone.resnet import BottleneckBlock, ResNet
from det_detectron2.layer.modeling.poolers import ROIPooler
from det_detectron2.layer.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from det_detectron2.layer.modeling.roi_heads.mask_head import build_mask_head
from det_detectron2.layer.modeling.roi_heads.roi_heads import (
    ROI_HEADS_REGISTRY,
    ROIHeads,
    select_foreground_proposals,
)
from det_detectron2.layer.structures import ImageList, Instances

__all__ = ["Res5ROIHeads"]


@ROI_HEADS_REGISTRY.register()
class Res5ROIHeads(ROIHeads):
    """The last stage of a ResNet on pooled features, shared by boxes and masks.

    Args:
        in_features: name of the input feature map, in a list of one.
        pooler: pooler of the input feature map.
        res5: last stage of the ResNet.
        box_predictor: predictor of class scores and box offsets.
        mask_head: mask head; None for no masks.
        kwargs: keyword arguments of `ROIHeads`.
    """

    @configurable
    def __init__(
        self,
        *,
        in_features: Sequence[str],
        pooler: ROIPooler,
        res5: nn.Module,
        box_predictor: nn.Module,
        mask_head: nn.Module | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.in_features, self.pooler = in_features, pooler
        self.res5 = nn.Sequential(*res5) if isinstance(res5, list | tuple) else res5
        self.box_predictor, self.mask_on = box_predictor, mask_head is not None
        if self.mask_on:
            self.mask_head = mask_head

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        results, current = super().from_config(cfg), cfg.MODEL.ROI_BOX_HEAD
        names = results["in_features"] = cfg.MODEL.ROI_HEADS.IN_FEATURES
        assert not cfg.MODEL.KEYPOINT_ON
        assert len(names) == 1
        scales = (1.0 / (input_shape[names[0]].stride or 1),)
        results["pooler"] = ROIPooler(
            current.POOLER_RESOLUTION, scales, current.POOLER_SAMPLING_RATIO, current.POOLER_TYPE
        )
        build = cls._build_res5_block
        stage, channels = build(cfg)
        results["res5"] = stage
        results["box_predictor"] = FastRCNNOutputLayers(cfg, ShapeSpec(channels=channels, height=1, width=1))
        if cfg.MODEL.MASK_ON:
            side = current.POOLER_RESOLUTION
            results["mask_head"] = build_mask_head(cfg, ShapeSpec(channels=channels, width=side, height=side))
        return results

    @classmethod
    def _build_res5_block(cls, cfg: Any) -> tuple[nn.Sequential, int]:
        current = cfg.MODEL.RESNETS
        factor = 2**3
        channels = current.RES2_OUT_CHANNELS * factor
        assert not current.DEFORM_ON_PER_STAGE[-1], "Deformable conv is not yet supported in res5 head."
        blocks = ResNet.make_stage(
            BottleneckBlock,
            3,
            stride_per_block=[2, 1, 1],
            in_channels=channels // 2,
            bottleneck_channels=current.NUM_GROUPS * current.WIDTH_PER_GROUP * factor,
            out_channels=channels,
            num_groups=current.NUM_GROUPS,
            norm=current.NORM,
            stride_in_1x1=current.STRIDE_IN_1X1,
        )
        return nn.Sequential(*blocks), channels

    def _shared_roi_transform(self, features: list[Tensor], boxes: list[Any]) -> Tensor:
        out: Tensor = self.res5(self.pooler(features, boxes))
        return out

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Detections, or nothing in training, and the losses."""
        del images
        if self.training:
            assert targets
            proposals = self.label_and_sample_proposals(proposals, targets)
        levels = [features[name] for name in self.in_features]
        pooled = self._shared_roi_transform(levels, [each.proposal_boxes for each in proposals])
        predictions = self.box_predictor(pooled.mean(dim=[2, 3]))
        if not self.training:
            results, _ = self.box_predictor.inference(predictions, proposals)  # type: ignore[operator]
            return self.forward_with_given_boxes(features, results), {}
        losses = self.box_predictor.losses(predictions, proposals)  # type: ignore[operator]
        if self.mask_on:
            proposals, masks = select_foreground_proposals(proposals, self.num_classes)
            losses.update(self.mask_head(pooled[torch.cat(masks, dim=0)], proposals))  # type: ignore[misc]
        return [], losses

    def forward_with_given_boxes(self, features: Mapping[str, Tensor], instances: list[Instances]) -> list[Instances]:
        """Instances with `pred_boxes` and `pred_classes`, with the masks in them."""
        assert not self.training
        assert instances[0].has("pred_boxes")
        assert instances[0].has("pred_classes")
        if not self.mask_on:
            return instances
        levels = [features[name] for name in self.in_features]
        pooled = self._shared_roi_transform(levels, [each.pred_boxes for each in instances])
        results: list[Instances] = self.mask_head(pooled, instances)  # type: ignore[misc]
        return results
