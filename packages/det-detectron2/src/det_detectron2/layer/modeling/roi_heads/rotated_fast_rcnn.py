"""The second stage for rotated boxes, as `detectron2.modeling.roi_heads.rotated_fast_rcnn`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import ShapeSpec, batched_nms_rotated
from det_detectron2.layer.modeling.box_regression import Box2BoxTransformRotated
from det_detectron2.layer.modeling.roi_heads.box_head import build_box_head
from det_detectron2.layer.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from det_detectron2.layer.modeling.roi_heads.roi_heads import ROI_HEADS_REGISTRY, StandardROIHeads, _pooler
from det_detectron2.layer.structures import Instances, RotatedBoxes, pairwise_iou_rotated

__all__ = ["RROIHeads", "RotatedFastRCNNOutputLayers", "fast_rcnn_inference_rotated"]


def fast_rcnn_inference_rotated(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[list[Instances], list[Tensor]]:
    """`fast_rcnn_inference` for boxes (P, classes * 5) or (P, 5)."""
    results, origins = [], []
    for current, values, size in zip(boxes, scores, image_shapes, strict=True):
        valid = torch.isfinite(current).all(dim=1) & torch.isfinite(values).all(dim=1)
        origin = torch.nonzero(valid).squeeze(1)
        rotated = RotatedBoxes(current[valid].reshape(-1, 5))
        rotated.clip(size)
        retained = values[valid][:, :-1]
        every = rotated.tensor.view(len(retained), -1, 5)
        places = (retained > score_thresh).nonzero()
        column = torch.zeros_like(places[:, 1]) if every.shape[1] == 1 else places[:, 1]
        selected, best = every[places[:, 0], column], retained[places[:, 0], places[:, 1]]
        keep = batched_nms_rotated(selected, best, places[:, 1], nms_thresh)
        keep = keep[:topk_per_image] if topk_per_image >= 0 else keep
        output = Instances(size, pred_boxes=RotatedBoxes(selected[keep]), scores=best[keep])
        output.pred_classes = places[keep, 1]
        results.append(output)
        origins.append(origin[places[keep, 0]])
    return results, origins


class RotatedFastRCNNOutputLayers(FastRCNNOutputLayers):
    """`FastRCNNOutputLayers` for rotated boxes."""

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        transform = Box2BoxTransformRotated(weights=cfg.MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS)
        return {**super().from_config(cfg, input_shape), "box2box_transform": transform}

    def inference(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> tuple[list[Instances], list[Tensor]]:
        """The detections of each image, and the region of each."""
        return fast_rcnn_inference_rotated(
            self.predict_boxes(predictions, proposals),
            self.predict_probs(predictions, proposals),
            [each.image_size for each in proposals],
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )


@ROI_HEADS_REGISTRY.register()
class RROIHeads(StandardROIHeads):
    """Boxes of rotated proposals; without masks and keypoints."""

    @configurable
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        assert not self.mask_on, "Mask not supported in Rotated ROIHeads."
        assert not self.keypoint_on, "Keypoints not supported in Rotated ROIHeads."
        assert not self.train_on_pred_boxes, "train_on_pred_boxes not implemented for RROIHeads!"

    @classmethod
    def _init_box_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        current, names = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_HEADS.IN_FEATURES
        assert current.POOLER_TYPE == "ROIAlignRotated", current.POOLER_TYPE
        pooler, shape = _pooler(current, names, input_shape)
        head = build_box_head(cfg, shape)
        predictor = RotatedFastRCNNOutputLayers(cfg, head.output_shape)
        return {"box_in_features": names, "box_pooler": pooler, "box_head": head, "box_predictor": predictor}

    def _overlaps(self, objects: Any, boxes: Any) -> Tensor:
        return pairwise_iou_rotated(objects, boxes)
