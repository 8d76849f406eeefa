"""The second stage and its samples, as `detectron2.modeling.roi_heads.roi_heads`."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from det_detectron2.layer.config import configurable
from det_detectron2.layer.layers import ShapeSpec, nonzero_tuple
from det_detectron2.layer.modeling.matcher import Matcher
from det_detectron2.layer.modeling.poolers import ROIPooler
from det_detectron2.layer.modeling.proposal_generator.proposal_utils import add_ground_truth_to_proposals
from det_detectron2.layer.modeling.roi_heads.box_head import build_box_head
from det_detectron2.layer.modeling.roi_heads.fast_rcnn import FastRCNNOutputLayers
from det_detectron2.layer.modeling.roi_heads.keypoint_head import build_keypoint_head
from det_detectron2.layer.modeling.roi_heads.mask_head import build_mask_head
from det_detectron2.layer.modeling.sampling import subsample_labels
from det_detectron2.layer.structures import Boxes, ImageList, Instances, pairwise_iou
from det_detectron2.layer.utils.events import get_event_storage, has_event_storage
from det_detectron2.layer.utils.registry import Registry

__all__ = [
    "ROI_HEADS_REGISTRY",
    "ROIHeads",
    "StandardROIHeads",
    "build_roi_heads",
    "select_foreground_proposals",
    "select_proposals_with_visible_keypoints",
]

ROI_HEADS_REGISTRY = Registry("ROI_HEADS")
"""Modules of `(cfg, input_shape)`, called with images, features, proposals and, in training, targets."""


def build_roi_heads(cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> Any:
    """The heads that MODEL.ROI_HEADS.NAME names."""
    return ROI_HEADS_REGISTRY.get(cfg.MODEL.ROI_HEADS.NAME)(cfg, input_shape)


def select_foreground_proposals(proposals: Sequence[Instances], bg_label: int) -> tuple[list[Instances], list[Tensor]]:
    """Those whose `gt_classes` is of an object, and, of each image, which these are, bool (P,)."""
    assert isinstance(proposals, list | tuple)
    assert all(isinstance(each, Instances) for each in proposals)
    assert all(each.has("gt_classes") for each in proposals)
    masks = [(each.gt_classes != -1) & (each.gt_classes != bg_label) for each in proposals]
    return [each[mask.nonzero().squeeze(1)] for each, mask in zip(proposals, masks, strict=True)], masks


def select_proposals_with_visible_keypoints(proposals: Sequence[Instances]) -> list[Instances]:
    """Those whose object has a labelled keypoint in their box."""
    retained, counts = [], []
    for each in proposals:
        if len(each) == 0:
            retained.append(each)
            continue
        points = each.gt_keypoints.tensor
        boxes = each.proposal_boxes.tensor[:, None]
        inside = ((points[..., :2] >= boxes[..., :2]) & (points[..., :2] <= boxes[..., 2:])).all(dim=2)
        selected = nonzero_tuple((inside & (points[..., 2] >= 1)).any(dim=1))[0]
        counts.append(selected.numel())
        retained.append(each[selected])
    if has_event_storage():
        get_event_storage().put_scalar("keypoint_head/num_fg_samples", float(np.mean(counts)) if counts else 0.0)
    return retained


class ROIHeads(nn.Module):
    """Base class: samples proposals in training; subclasses implement `forward`.

    Args:
        num_classes: number of foreground classes.
        batch_size_per_image: number of sampled proposals per image for the loss.
        positive_fraction: maximum fraction of foreground among the samples, in [0, 1].
        proposal_matcher: matcher of proposals with ground-truth boxes.
        proposal_append_gt: whether to append ground-truth boxes to the proposals in training.
    """

    @configurable
    def __init__(
        self,
        *,
        num_classes: int,
        batch_size_per_image: int,
        positive_fraction: float,
        proposal_matcher: Matcher,
        proposal_append_gt: bool = True,
    ) -> None:
        super().__init__()
        self.batch_size_per_image, self.positive_fraction = batch_size_per_image, positive_fraction
        self.num_classes, self.proposal_matcher = num_classes, proposal_matcher
        self.proposal_append_gt = proposal_append_gt

    @classmethod
    def from_config(cls, cfg: Any, *args: Any) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        current = cfg.MODEL.ROI_HEADS
        return {
            "batch_size_per_image": current.BATCH_SIZE_PER_IMAGE,
            "positive_fraction": current.POSITIVE_FRACTION,
            "num_classes": current.NUM_CLASSES,
            "proposal_append_gt": current.PROPOSAL_APPEND_GT,
            "proposal_matcher": Matcher(current.IOU_THRESHOLDS, current.IOU_LABELS, allow_low_quality_matches=False),
        }

    def _sample_proposals(
        self, matched_idxs: Tensor, matched_labels: Tensor, gt_classes: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Indices of sampled proposals, and the class of each, `num_classes` for the background."""
        if gt_classes.numel() > 0:
            labels = gt_classes[matched_idxs]
            labels[matched_labels == 0] = self.num_classes
            labels[matched_labels == -1] = -1
        else:
            labels = torch.zeros_like(matched_idxs) + self.num_classes
        positive, negative = subsample_labels(
            labels, self.batch_size_per_image, self.positive_fraction, self.num_classes
        )
        selected = torch.cat([positive, negative], dim=0)
        return selected, labels[selected]

    def _overlaps(self, objects: Any, boxes: Any) -> Tensor:
        return pairwise_iou(objects, boxes)

    @torch.no_grad()
    def label_and_sample_proposals(self, proposals: list[Instances], targets: list[Instances]) -> list[Instances]:
        """Sampled proposals with `gt_classes` and the other `gt_` fields of their objects."""
        if self.proposal_append_gt:
            proposals = add_ground_truth_to_proposals(targets, proposals)
        results, objects, background = [], [], []
        for current, target in zip(proposals, targets, strict=True):
            matched, labels = self.proposal_matcher(self._overlaps(target.gt_boxes, current.proposal_boxes))
            selected, classes = self._sample_proposals(matched, labels, target.gt_classes)
            current = current[selected]
            current.gt_classes = classes
            if len(target) > 0:
                places = matched[selected]
                for name, value in target.get_fields().items():
                    if name.startswith("gt_") and not current.has(name):
                        current.set(name, value[places])
            background.append((classes == self.num_classes).sum().item())
            objects.append(classes.numel() - background[-1])
            results.append(current)
        if has_event_storage():
            storage = get_event_storage()
            storage.put_scalar("roi_head/num_fg_samples", float(np.mean(objects)))
            storage.put_scalar("roi_head/num_bg_samples", float(np.mean(background)))
        return results

    def forward(
        self,
        images: ImageList,
        features: Mapping[str, Tensor],
        proposals: list[Instances],
        targets: list[Instances] | None = None,
    ) -> tuple[list[Instances], dict[str, Tensor]]:
        """Detections, or sampled proposals in training, and the losses."""
        raise NotImplementedError


@ROI_HEADS_REGISTRY.register()
class StandardROIHeads(ROIHeads):
    """A box head and, where there are some, a mask and a keypoint head, each with its pooler.

    Args:
        box_in_features: names of the feature maps of the box head.
        box_pooler: pooler of the box head.
        box_head: box head, applied to pooled features.
        box_predictor: predictor of class scores and box offsets.
        mask_in_features: names of the feature maps of the mask head.
        mask_pooler: pooler of the mask head; None passes the feature maps unpooled.
        mask_head: mask head; None for no masks.
        keypoint_in_features: names of the feature maps of the keypoint head.
        keypoint_pooler: pooler of the keypoint head; None passes the feature maps unpooled.
        keypoint_head: keypoint head; None for no keypoints.
        train_on_pred_boxes: whether mask and keypoint heads are trained on predicted boxes.
        kwargs: keyword arguments of `ROIHeads`.
    """

    @configurable
    def __init__(
        self,
        *,
        box_in_features: Sequence[str],
        box_pooler: ROIPooler,
        box_head: nn.Module,
        box_predictor: nn.Module,
        mask_in_features: Sequence[str] | None = None,
        mask_pooler: ROIPooler | None = None,
        mask_head: nn.Module | None = None,
        keypoint_in_features: Sequence[str] | None = None,
        keypoint_pooler: ROIPooler | None = None,
        keypoint_head: nn.Module | None = None,
        train_on_pred_boxes: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.in_features = self.box_in_features = box_in_features
        self.box_pooler, self.box_head, self.box_predictor = box_pooler, box_head, box_predictor
        self.mask_on, self.keypoint_on = mask_in_features is not None, keypoint_in_features is not None
        if self.mask_on:
            self.mask_in_features, self.mask_pooler, self.mask_head = mask_in_features, mask_pooler, mask_head
        if self.keypoint_on:
            self.keypoint_in_features, self.keypoint_pooler = keypoint_in_features, keypoint_pooler
            self.keypoint_head = keypoint_head
        self.train_on_pred_boxes = train_on_pred_boxes

    @classmethod
    def from_config(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        results = super().from_config(cfg)
        results["train_on_pred_boxes"] = cfg.MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES
        # Subclasses that were written for the time before arguments override these as ordinary methods.
        for name in ("_init_box_head", "_init_mask_head", "_init_keypoint_head"):
            if inspect.ismethod(getattr(cls, name)):
                results.update(getattr(cls, name)(cfg, input_shape))
        return results

    @classmethod
    def _init_box_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        current, names = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_HEADS.IN_FEATURES
        pooler, shape = _pooler(current, names, input_shape)
        head = build_box_head(cfg, shape)
        predictor = FastRCNNOutputLayers(cfg, head.output_shape)
        return {"box_in_features": names, "box_pooler": pooler, "box_head": head, "box_predictor": predictor}

    @classmethod
    def _init_mask_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        if not cfg.MODEL.MASK_ON:
            return {}
        current, names = cfg.MODEL.ROI_MASK_HEAD, cfg.MODEL.ROI_HEADS.IN_FEATURES
        pooler, shape = _pooler(current, names, input_shape)
        return {"mask_in_features": names, "mask_pooler": pooler, "mask_head": build_mask_head(cfg, shape)}

    @classmethod
    def _init_keypoint_head(cls, cfg: Any, input_shape: Mapping[str, ShapeSpec]) -> dict[str, Any]:
        if not cfg.MODEL.KEYPOINT_ON:
            return {}
        current, names = cfg.MODEL.ROI_KEYPOINT_HEAD, cfg.MODEL.ROI_HEADS.IN_FEATURES
        pooler, shape = _pooler(current, names, input_shape)
        head = build_keypoint_head(cfg, shape)
        return {"keypoint_in_features": names, "keypoint_pooler": pooler, "keypoint_head": head}

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
        assert targets, "'targets' argument is required during training"
        proposals = self.label_and_sample_proposals(proposals, targets)
        losses = self._forward_box(features, proposals)
        losses.update(self._forward_mask(features, proposals))
        losses.update(self._forward_keypoint(features, proposals))
        return proposals, losses

    def forward_with_given_boxes(self, features: Mapping[str, Tensor], instances: list[Instances]) -> list[Instances]:
        """Instances with `pred_boxes` and `pred_classes`, with the masks and keypoints in them."""
        assert not self.training
        assert instances[0].has("pred_boxes")
        assert instances[0].has("pred_classes")
        instances = self._forward_mask(features, instances)
        return self._forward_keypoint(features, instances)

    def _forward_box(self, features: Mapping[str, Tensor], proposals: list[Instances]) -> Any:
        levels = [features[name] for name in self.box_in_features]
        pooled = self.box_head(self.box_pooler(levels, [each.proposal_boxes for each in proposals]))
        predictions = self.box_predictor(pooled)
        if not self.training:
            return self.box_predictor.inference(predictions, proposals)[0]  # type: ignore[operator]
        losses = self.box_predictor.losses(predictions, proposals)  # type: ignore[operator]
        if self.train_on_pred_boxes:
            with torch.no_grad():
                boxes = self.box_predictor.predict_boxes_for_gt_classes(predictions, proposals)  # type: ignore[operator]
                for current, each in zip(boxes, proposals, strict=True):
                    each.proposal_boxes = Boxes(current)
        return losses

    def _forward_mask(self, features: Mapping[str, Tensor], instances: list[Instances]) -> Any:
        if not self.mask_on:
            return {} if self.training else instances
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
        return self.mask_head(self._pooled("mask", features, instances), instances)  # type: ignore[misc]

    def _forward_keypoint(self, features: Mapping[str, Tensor], instances: list[Instances]) -> Any:
        if not self.keypoint_on:
            return {} if self.training else instances
        if self.training:
            instances, _ = select_foreground_proposals(instances, self.num_classes)
            instances = select_proposals_with_visible_keypoints(instances)
        return self.keypoint_head(self._pooled("keypoint", features, instances), instances)  # type: ignore[misc]

    def _pooled(self, kind: str, features: Mapping[str, Tensor], instances: list[Instances]) -> Any:
        names, pooler = getattr(self, f"{kind}_in_features"), getattr(self, f"{kind}_pooler")
        if pooler is None:
            return {name: features[name] for name in names}
        boxes = [each.proposal_boxes if self.training else each.pred_boxes for each in instances]
        return pooler([features[name] for name in names], boxes)


def _pooler(current: Any, names: Sequence[str], input_shape: Mapping[str, ShapeSpec]) -> tuple[Any, Any]:
    """The pooler of a head's settings, and what the head gets; no pooler, and the levels, for POOLER_TYPE ""."""
    if not current.POOLER_TYPE:
        return None, {name: input_shape[name] for name in names}
    channels = {input_shape[name].channels for name in names}
    assert len(channels) == 1, channels
    size = current.POOLER_RESOLUTION
    scales = tuple(1.0 / (input_shape[name].stride or 1) for name in names)
    pooler = ROIPooler(size, scales, current.POOLER_SAMPLING_RATIO, current.POOLER_TYPE)
    return pooler, ShapeSpec(channels=channels.pop(), height=size, width=size)
