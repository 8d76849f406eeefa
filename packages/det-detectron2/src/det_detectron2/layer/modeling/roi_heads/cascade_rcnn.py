"""Several box heads in turn (Cai & Vasconcelos, 2018), as `detectron2.modeling.roi_heads.cascade_rcnn`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import ShapeSpec
from det_detectron2.layer.modeling.box_regression import Box2BoxTransform
from det_detectron2.layer.modeling.matcher import Matcher
from det_detectron2.layer.modeling.roi_heads.box_head import build_box_head
from det_detectron2.layer.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers, fast_rcnn_inference
from det_detectron2.layer.modeling.roi_heads.roi_heads import ROI_HEADS_REGISTRY, StandardROIHeads, _pooler
from det_detectron2.layer.structures import Boxes, ImageList, Instances, pairwise_iou

__all__ = ["CascadeROIHeads"]


class _ScaleGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        """The input."""
        ctx.scale = scale
        return x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        """The gradient times the factor."""
        return gradient * ctx.scale, None


@ROI_HEADS_REGISTRY.register()
class CascadeROIHeads(StandardROIHeads):
    """Box heads in sequence, each refining the boxes of the previous one with a higher IoU threshold.

    Args:
        box_in_features: names of the feature maps of the box heads.
        box_pooler: pooler shared by all box heads.
        box_heads: box head of each stage.
        box_predictors: box predictor of each stage.
        proposal_matchers: proposal matcher of each stage.
        kwargs: keyword arguments of `StandardROIHeads`.
    """

    @configurable
    def __init__(
        self,
        *,
        box_in_features: Sequence[str],
        box_pooler: Any,
        box_heads: Sequence[nn.Module],
        box_predictors: Sequence[nn.Module],
        proposal_matchers: Sequence[Matcher],
        **kwargs: Any,
    ) -> None:
        assert "proposal_matcher" not in kwargs, "CascadeROIHeads takes 'proposal_matchers=' for each stage"
        self.__dict__["num_cascade_stages"] = count = len(box_heads)
        assert count == len(box_predictors) == len(proposal_matchers)
        super().__init__(
            box_in_features=box_in_features,
            box_pooler=box_pooler,
            box_head=nn.ModuleList(box_heads),
            box_predictor=nn.ModuleList(box_predictors),
            proposal_matcher=proposal_matchers[0],
            **kwargs,
        )
        self.num_cascade_stages, self.proposal_matchers = count, list(proposal_matchers)

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        results = super().from_config(cfg, input_shape)
        results.pop("proposal_matcher")
        return results

    @classmethod
    def _init_box_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        names, current = cfg.MODEL.ROI_HEADS.IN_FEATURES, cfg.MODEL.ROI_BOX_CASCADE_HEAD
        weights, ious = current.BBOX_REG_WEIGHTS, current.IOUS
        assert len(weights) == len(ious)
        assert cfg.MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG, (
            "CascadeROIHeads only support class-agnostic regression now!"
        )
        assert ious[0] == cfg.MODEL.ROI_HEADS.IOU_THRESHOLDS[0]
        pooler, shape = _pooler(cfg.MODEL.ROI_BOX_HEAD, names, input_shape)
        heads, predictors, matchers = [], [], []
        for iou, weight in zip(ious, weights, strict=True):
            head = build_box_head(cfg, shape)
            transform = Box2BoxTransform(weights=weight)
            heads.append(head)
            predictors.append(FastRCNNOutputLayers(cfg, head.output_shape, box2box_transform=transform))
            matchers.append(Matcher([iou], [0, 1], allow_low_quality_matches=False))
        return {
            "box_in_features": names,
            "box_pooler": pooler,
            "box_heads": heads,
            "box_predictors": predictors,
            "proposal_matchers": matchers,
        }

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Detections, or sampled proposals in training, and the losses."""
        del images
        if not self.training:
            results = self._forward_box(features, proposals)
            return self.forward_with_given_boxes(features, results), {}
        assert targets is not None
        proposals = self.label_and_sample_proposals(proposals, targets)
        losses = self._forward_box(features, proposals, targets)
        losses.update(self._forward_mask(features, proposals))
        losses.update(self._forward_keypoint(features, proposals))
        return proposals, losses

    def _forward_box(
        self, features: Mapping[str, Tensor], proposals: list[Instances], targets: list[Instances] | None = None
    ) -> Any:
        levels = [features[name] for name in self.box_in_features]
        outputs, boxes, sizes = [], None, [each.image_size for each in proposals]
        for stage in range(self.num_cascade_stages):
            if stage > 0:
                proposals = self._create_proposals_from_boxes(boxes, sizes)
                if self.training:
                    proposals = self._match_and_label_boxes(proposals, stage, targets)
            predictions = self._run_stage(levels, proposals, stage)
            predictor = self.box_predictor[stage]  # type: ignore[index]
            boxes = predictor.predict_boxes(predictions, proposals)
            outputs.append((predictor, predictions, proposals))
        if self.training:
            losses = {}
            for stage, (predictor, predictions, current) in enumerate(outputs):
                results = predictor.losses(predictions, current)
                losses.update({f"{name}_stage{stage}": value for name, value in results.items()})
            return losses
        per_stage = [predictor.predict_probs(predictions, current) for predictor, predictions, current in outputs]
        scores = [sum(each) * (1.0 / self.num_cascade_stages) for each in zip(*per_stage, strict=True)]
        predictor, predictions, current = outputs[-1]
        results, _ = fast_rcnn_inference(
            predictor.predict_boxes(predictions, current),
            scores,
            sizes,
            predictor.test_score_thresh,
            predictor.test_nms_thresh,
            predictor.test_topk_per_image,
        )
        return results

    @torch.no_grad()
    def _match_and_label_boxes(self, proposals: list[Instances], stage: int, targets: Any) -> list[Instances]:
        for current, target in zip(proposals, targets, strict=True):
            matched, labels = self.proposal_matchers[stage](pairwise_iou(target.gt_boxes, current.proposal_boxes))
            if len(target) > 0:
                classes = target.gt_classes[matched]
                classes[labels == 0] = self.num_classes
                boxes = target.gt_boxes[matched]
            else:
                classes = torch.zeros_like(matched) + self.num_classes
                boxes = Boxes(target.gt_boxes.tensor.new_zeros((len(current), 4)))
            current.gt_classes, current.gt_boxes = classes, boxes
        return proposals

    def _run_stage(self, features: list[Tensor], proposals: list[Instances], stage: int) -> Any:
        pooled = self.box_pooler(features, [each.proposal_boxes for each in proposals])
        # The gradient of all stages together is that of one.
        if self.training:
            pooled = _ScaleGradient.apply(pooled, 1.0 / self.num_cascade_stages)
        return self.box_predictor[stage](self.box_head[stage](pooled))  # type: ignore[index]

    def _create_proposals_from_boxes(self, boxes: Any, image_sizes: list[tuple[int, int]]) -> list[Instances]:
        results = []
        for current, size in zip(boxes, image_sizes, strict=True):
            retained = Boxes(current.detach())
            retained.clip(size)
            if self.training:
                retained = retained[retained.nonempty()]
            results.append(Instances(size, proposal_boxes=retained))
        return results
