"""Classes and boxes of regions (Girshick, 2015), as `detectron2.modeling.roi_heads.fast_rcnn`."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_detectron2.layer.config import configurable
from det_detectron2.layer.data.detection_utils import get_fed_loss_cls_weights
from det_detectron2.layer.layers import ShapeSpec, batched_nms, cat, cross_entropy, nonzero_tuple
from det_detectron2.layer.modeling.box_regression import Box2BoxTransform, _dense_box_regression_loss
from det_detectron2.layer.structures import Boxes, Instances
from det_detectron2.layer.utils.events import get_event_storage, has_event_storage

__all__ = ["FastRCNNOutputLayers", "FastRCNNOutputs", "fast_rcnn_inference"]


def fast_rcnn_inference(
    boxes: Sequence[Tensor],
    scores: Sequence[Tensor],
    image_shapes: Sequence[tuple[int, int]],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[list[Instances], list[Tensor]]:
    """Detections of each image by descending score, and the index of the region of each.

    Args:
        boxes: boxes of each image, (P, classes * 4) or (P, 4).
        scores: scores of each image, (P, classes + 1), the background last.
        image_shapes: (height, width) of each image.
        score_thresh: minimum score, exclusive.
        nms_thresh: IoU threshold of the NMS within each class.
        topk_per_image: maximum number of detections per image; negative for no limit.
    """
    results = [
        fast_rcnn_inference_single_image(*each, score_thresh, nms_thresh, topk_per_image)
        for each in zip(boxes, scores, image_shapes, strict=True)
    ]
    return [each[0] for each in results], [each[1] for each in results]


def fast_rcnn_inference_single_image(
    boxes: Tensor,
    scores: Tensor,
    image_shape: tuple[int, int],
    score_thresh: float,
    nms_thresh: float,
    topk_per_image: int,
) -> tuple[Instances, Tensor]:
    """`fast_rcnn_inference` for one image."""
    valid = torch.isfinite(boxes).all(dim=1) & torch.isfinite(scores).all(dim=1)
    origin = torch.nonzero(valid).squeeze(1)
    boxes, scores = boxes[valid], scores[valid][:, :-1]
    current = Boxes(boxes.reshape(-1, 4))
    current.clip(image_shape)
    every = current.tensor.view(len(boxes), -1, 4)
    places = (scores > score_thresh).nonzero()
    selected = every[places[:, 0], 0] if every.shape[1] == 1 else every[places[:, 0], places[:, 1]]
    values = scores[places[:, 0], places[:, 1]]
    keep = batched_nms(selected, values, places[:, 1], nms_thresh)
    keep = keep[:topk_per_image] if topk_per_image >= 0 else keep
    result = Instances(image_shape, pred_boxes=Boxes(selected[keep]), scores=values[keep])
    result.pred_classes = places[keep, 1]
    return result, origin[places[keep, 0]]


def _log_classification_stats(pred_logits: Tensor, gt_classes: Tensor, prefix: str = "fast_rcnn") -> None:
    """Keep the shares of regions whose class is right, and of objects that are taken for background."""
    count = gt_classes.numel()
    if count == 0 or not has_event_storage():
        return
    predicted, background = pred_logits.argmax(dim=1), pred_logits.shape[1] - 1
    objects = (gt_classes >= 0) & (gt_classes < background)
    storage = get_event_storage()
    storage.put_scalar(f"{prefix}/cls_accuracy", (predicted == gt_classes).float().mean().item())
    if objects.any():
        current = predicted[objects]
        storage.put_scalar(f"{prefix}/fg_cls_accuracy", (current == gt_classes[objects]).float().mean().item())
        storage.put_scalar(f"{prefix}/false_negative", (current == background).float().mean().item())


class FastRCNNOutputLayers(nn.Module):
    """Scores and offsets of regions, their losses, and detections.

    Args:
        input_shape: shape of the features of a region.
        box2box_transform: encoding of the box offsets.
        num_classes: number of foreground classes.
        test_score_thresh: minimum score of detections, exclusive.
        test_nms_thresh: IoU threshold of the NMS within each class.
        test_topk_per_image: maximum number of detections per image.
        cls_agnostic_bbox_reg: whether to predict one box for all classes.
        smooth_l1_beta: difference above which the smooth L1 loss is linear; 0 for L1.
        box_reg_loss_type: box regression loss: "smooth_l1", "giou", "diou" or "ciou".
        loss_weight: weight of all losses, or weights by loss name.
        use_fed_loss: whether to use the federated loss of LVIS, on a sample of the negative classes.
        use_sigmoid_ce: whether to use a sigmoid per class instead of a softmax.
        get_fed_loss_cls_weights: function that returns the sampling weights of the classes.
        fed_loss_num_classes: minimum number of classes in the federated loss of an image.
    """

    @configurable
    def __init__(
        self,
        input_shape: ShapeSpec,
        *,
        box2box_transform: Any,
        num_classes: int,
        test_score_thresh: float = 0.0,
        test_nms_thresh: float = 0.5,
        test_topk_per_image: int = 100,
        cls_agnostic_bbox_reg: bool = False,
        smooth_l1_beta: float = 0.0,
        box_reg_loss_type: str = "smooth_l1",
        loss_weight: float | Mapping[str, float] = 1.0,
        use_fed_loss: bool = False,
        use_sigmoid_ce: bool = False,
        get_fed_loss_cls_weights: Callable[[], Tensor] | None = None,
        fed_loss_num_classes: int = 50,
    ) -> None:
        super().__init__()
        shape = ShapeSpec(channels=input_shape) if isinstance(input_shape, int) else input_shape
        self.num_classes = num_classes
        width = (shape.channels or 1) * (shape.width or 1) * (shape.height or 1)
        self.cls_score = nn.Linear(width, num_classes + 1)
        dim = len(box2box_transform.weights)
        self.bbox_pred = nn.Linear(width, (1 if cls_agnostic_bbox_reg else num_classes) * dim)
        nn.init.normal_(self.cls_score.weight, std=0.01)
        nn.init.normal_(self.bbox_pred.weight, std=0.001)
        for layer in (self.cls_score, self.bbox_pred):
            nn.init.constant_(layer.bias, 0)
        if use_sigmoid_ce:
            nn.init.constant_(self.cls_score.bias, -math.log((1 - 0.01) / 0.01))
        self.box2box_transform = box2box_transform
        self.test_score_thresh, self.test_nms_thresh = test_score_thresh, test_nms_thresh
        self.test_topk_per_image = test_topk_per_image
        self.smooth_l1_beta, self.box_reg_loss_type = smooth_l1_beta, box_reg_loss_type
        if not isinstance(loss_weight, Mapping):
            loss_weight = {"loss_cls": loss_weight, "loss_box_reg": loss_weight}
        self.loss_weight = loss_weight
        self.use_fed_loss, self.use_sigmoid_ce = use_fed_loss, use_sigmoid_ce
        self.fed_loss_num_classes = fed_loss_num_classes
        if use_fed_loss:
            assert use_sigmoid_ce, "Please use sigmoid cross entropy loss with federated loss"
            assert get_fed_loss_cls_weights is not None, "get_fed_loss_cls_weights must be given"
            weights = get_fed_loss_cls_weights()
            assert len(weights) == num_classes, f"{len(weights)} weights for {num_classes} classes"
            self.register_buffer("fed_loss_cls_weights", weights)

    @classmethod
    def from_config(cls, cfg: Any, input_shape: ShapeSpec) -> dict[str, Any]:
        """The arguments that a `cfg` gives."""
        current, heads = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_HEADS
        return {
            "input_shape": input_shape,
            "box2box_transform": Box2BoxTransform(weights=current.BBOX_REG_WEIGHTS),
            "num_classes": heads.NUM_CLASSES,
            "cls_agnostic_bbox_reg": current.CLS_AGNOSTIC_BBOX_REG,
            "smooth_l1_beta": current.SMOOTH_L1_BETA,
            "test_score_thresh": heads.SCORE_THRESH_TEST,
            "test_nms_thresh": heads.NMS_THRESH_TEST,
            "test_topk_per_image": cfg.TEST.DETECTIONS_PER_IMAGE,
            "box_reg_loss_type": current.BBOX_REG_LOSS_TYPE,
            "loss_weight": {"loss_box_reg": current.BBOX_REG_LOSS_WEIGHT},
            "use_fed_loss": current.USE_FED_LOSS,
            "use_sigmoid_ce": current.USE_SIGMOID_CE,
            "get_fed_loss_cls_weights": lambda: get_fed_loss_cls_weights(
                cfg.DATASETS.TRAIN, current.FED_LOSS_FREQ_WEIGHT_POWER
            ),
            "fed_loss_num_classes": current.FED_LOSS_NUM_CLASSES,
        }

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(P, ...) to logits (P, classes + 1) and offsets (P, classes * 4 or 4)."""
        x = torch.flatten(x, start_dim=1) if x.dim() > 2 else x
        return self.cls_score(x), self.bbox_pred(x)

    def losses(self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]) -> dict[str, Tensor]:
        """{"loss_cls", "loss_box_reg"} of proposals with `gt_classes` and, for objects, `gt_boxes`."""
        scores, offsets = predictions
        labels = cat([each.gt_classes for each in proposals]) if len(proposals) else torch.empty(0).long()
        labels = labels.to(scores.device)
        _log_classification_stats(scores, labels)
        if len(proposals):
            boxes = cat([each.proposal_boxes.tensor for each in proposals])
            assert not boxes.requires_grad, "Proposals should not require gradients!"
            objects = cat(
                [(each.gt_boxes if each.has("gt_boxes") else each.proposal_boxes).tensor for each in proposals]
            )
        else:
            boxes = objects = torch.empty((0, 4), device=offsets.device)
        if self.use_sigmoid_ce:
            classification = self.sigmoid_cross_entropy_loss(scores, labels)
        else:
            classification = cross_entropy(scores, labels, reduction="mean")
        results = {
            "loss_cls": classification,
            "loss_box_reg": self.box_reg_loss(boxes, objects, offsets, labels),
        }
        return {name: value * self.loss_weight.get(name, 1.0) for name, value in results.items()}

    def get_fed_loss_classes(
        self, gt_classes: Tensor, num_fed_loss_classes: int, num_classes: int, weight: Tensor
    ) -> Tensor:
        """The classes of a batch, and others that are drawn by their weights (Zhou et al., 2021)."""
        present = torch.unique(gt_classes)
        chances = present.new_ones(num_classes + 1).float()
        chances[-1] = 0
        if len(present) < num_fed_loss_classes:
            if weight is not None:
                chances[:num_classes] = weight.float().clone()
            chances[present] = 0
            more = torch.multinomial(chances, num_fed_loss_classes - len(present), replacement=False)
            present = torch.cat([present, more])
        return present

    def sigmoid_cross_entropy_loss(self, pred_class_logits: Tensor, gt_classes: Tensor) -> Tensor:
        """The sum over classes of binary cross entropies, over the number of regions."""
        if pred_class_logits.numel() == 0:
            return pred_class_logits.new_zeros([1])[0]
        count, columns = pred_class_logits.shape
        targets = F.one_hot(gt_classes, columns)[:, :-1].to(pred_class_logits.dtype)
        loss = F.binary_cross_entropy_with_logits(pred_class_logits[:, :-1], targets, reduction="none")
        if self.use_fed_loss:
            used = self.get_fed_loss_classes(
                gt_classes,
                self.fed_loss_num_classes,
                columns - 1,
                self.fed_loss_cls_weights,  # type: ignore[arg-type]
            )
            mask = loss.new_zeros(columns)
            mask[used] = 1
            loss = loss * mask[: columns - 1]
        return loss.sum() / count

    def box_reg_loss(self, proposal_boxes: Tensor, gt_boxes: Tensor, pred_deltas: Tensor, gt_classes: Tensor) -> Tensor:
        """The loss of the offsets of objects, over the number of regions."""
        dim = proposal_boxes.shape[1]
        objects = nonzero_tuple((gt_classes >= 0) & (gt_classes < self.num_classes))[0]
        if pred_deltas.shape[1] == dim:
            selected = pred_deltas[objects]
        else:
            selected = pred_deltas.view(-1, self.num_classes, dim)[objects, gt_classes[objects]]
        loss = _dense_box_regression_loss(
            [proposal_boxes[objects]],
            self.box2box_transform,
            [selected.unsqueeze(0)],
            [gt_boxes[objects]],
            torch.ones(1, len(objects), dtype=torch.bool, device=selected.device),
            self.box_reg_loss_type,
            self.smooth_l1_beta,
        )
        return loss / max(gt_classes.numel(), 1.0)

    def inference(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> tuple[list[Instances], list[Tensor]]:
        """The detections of each image, and the region of each."""
        return fast_rcnn_inference(
            self.predict_boxes(predictions, proposals),
            self.predict_probs(predictions, proposals),
            [each.image_size for each in proposals],
            self.test_score_thresh,
            self.test_nms_thresh,
            self.test_topk_per_image,
        )

    def predict_boxes_for_gt_classes(
        self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]
    ) -> tuple[Tensor, ...]:
        """Of each image (P, 4): the boxes for the classes of the objects."""
        if not len(proposals):
            return ()
        boxes = cat([each.proposal_boxes.tensor for each in proposals])
        count, dim = boxes.shape
        results = self.box2box_transform.apply_deltas(predictions[1], boxes)
        columns = results.shape[1] // dim
        if columns > 1:
            labels = torch.cat([each.gt_classes for each in proposals]).clamp(0, columns - 1)
            places = torch.arange(count, dtype=torch.long, device=results.device)
            results = results.view(count, columns, dim)[places, labels]
        return results.split([len(each) for each in proposals])

    def predict_boxes(self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]) -> tuple[Tensor, ...]:
        """Of each image (P, classes * 4) or (P, 4)."""
        if not len(proposals):
            return ()
        boxes = cat([each.proposal_boxes.tensor for each in proposals])
        results: Tensor = self.box2box_transform.apply_deltas(predictions[1], boxes)
        return results.split([len(each) for each in proposals])

    def predict_probs(self, predictions: tuple[Tensor, Tensor], proposals: Sequence[Instances]) -> tuple[Tensor, ...]:
        """Of each image (P, classes + 1)."""
        scores = predictions[0]
        values = scores.sigmoid() if self.use_sigmoid_ce else F.softmax(scores, dim=-1)
        return values.split([len(each) for each in proposals], dim=0)


class FastRCNNOutputs:
    """Gone in Detectron2 0.6 too: an error that names what replaced it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotImplementedError("FastRCNNOutputs: use FastRCNNOutputLayers.losses and .inference")
