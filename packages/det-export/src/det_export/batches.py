"""Models for any number of images at once: the regions of all images in one tensor, each with the index of its image.

After its networks, a model processes images one by one, and a graph has no loop over an unknown number of images.
So subclasses of its parts take regions (N, 5) in place of boxes: the index of the image, then the box. Suppression
offsets images and groups, so that boxes of different images or groups never overlap.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from det_core.errors import ConfigError
from det_core.models import RCNN, DenseDetector, ProposalNetwork
from det_core.models.heads.box import FastRCNNPredictor
from det_core.models.heads.cascade import CascadeROIHeads
from det_core.models.heads.dense import DenseNMS
from det_core.models.heads.fcos import FCOSHead
from det_core.models.heads.keypoint import KeypointRCNNConvDeconvUpsampleHead
from det_core.models.heads.mask import MaskRCNNConvUpsampleHead
from det_core.models.heads.res5 import Res5ROIHeads
from det_core.models.heads.retinanet import RetinaNetHead
from det_core.models.heads.roi import StandardROIHeads
from det_core.models.heads.rpn import RPN
from det_core.models.parts.preprocess import Normalize
from det_core.ops import boxes as box_ops
from det_core.ops.nms import nms_in_graph
from det_core.ops.roi import ROIPooler
from det_core.structures import Detections, Prediction, Proposals
from torch import Tensor, nn

__all__ = ["Images", "counted", "for_any_batch", "require_batchable"]

_ROLES = ("Preprocess", "ProposalGenerator", "ROIHeads", "RegionHead", "DenseHead", "BoxPredictor", "Pooler")
_MODELS = (RCNN, DenseDetector, ProposalNetwork)
_APART = 2**32


class Images(NamedTuple):
    """Replacement of `ImageBatch`: pixels (B, 3, H, W), and sizes int64 (B, 2), (height, width) of each image."""

    pixels: Tensor
    sizes: Any


def require_batchable(model: nn.Module) -> None:
    """Raise ConfigError, with the name of the part, if a part of the model loops over images."""
    others = [] if type(model) in _MODELS else [type(model).__name__]
    for module in model.modules():
        role = getattr(type(module), "contract", None)
        if role in _ROLES and type(module) not in _PARTS:
            others.append(type(module).__name__)
    boxes = {getattr(module, "box_dim", 4) for module in model.modules() if isinstance(module, ROIPooler)}
    if others or boxes - {4}:
        parts = ", ".join(dict.fromkeys(others)) or "rotated boxes"
        fix = "give --batch N, a fixed number; what Detector.load reads takes any number of images, N at a time"
        raise ConfigError("dynamic batch", "is for parts whose work a graph can do for all images at once", parts, fix)


def for_any_batch(model: nn.Module) -> nn.Module:
    """The model, changed in place, for `Images`; it returns one Prediction with the regions of all images, (N, 5).

    They are sorted by image, then by falling score.

    Raises:
        ConfigError: as of `require_batchable`.
    """
    require_batchable(model)
    for module in model.modules():
        replacement = _PARTS.get(type(module))
        if replacement is not None:
            module.__class__ = replacement
        elif isinstance(module, RetinaNetHead | FCOSHead):
            module.suppress = _suppress_dense
    return model


def counted(prediction: Prediction, count: int) -> tuple[Prediction, Tensor]:
    """Predictions of `for_any_batch` with boxes (N, 4), and the number of boxes of each image, int64 (count,)."""
    name = "proposals" if prediction.detections is None else "detections"
    objects: Any = getattr(prediction, name)
    image, boxes = objects.boxes[:, 0].long(), objects.boxes[:, 1:]
    counts = (image[:, None] == torch.arange(count, device=image.device)).sum(0)
    return replace(prediction, **{name: replace(objects, boxes=boxes)}), counts


class _Normalize(Normalize):
    def forward(self, batch: Any) -> Tensor:
        height, width = batch.pixels.shape[-2:]
        pixels = super().forward(Images(batch.pixels, ((height, width),)))  # type: ignore[arg-type]
        rows = torch.arange(pixels.shape[2], device=pixels.device)[:, None]
        columns = torch.arange(pixels.shape[3], device=pixels.device)
        sides = batch.sizes[:, :, None, None]
        return pixels * ((rows < sides[:, 0]) & (columns < sides[:, 1]))[:, None].to(pixels.dtype)


class _RPN(RPN):
    def suppress(self, boxes: Tensor, scores: Tensor, level: Tensor, sizes: Any, most: int) -> list[Proposals]:
        """As `RPN.suppress`, for all images at once."""
        finite = boxes.isfinite().all(dim=2) & scores.isfinite()
        boxes = _clip(boxes, sizes[:, None])
        image, row = torch.nonzero(finite & box_ops.larger_than(boxes, self.nms.min_size), as_tuple=True)
        boxes, scores = boxes[image, row], scores[image, row]
        keep = _suppress(boxes, scores, level[row], image, self.nms.iou_threshold)
        keep = keep[_best(image[keep], len(sizes), most)]
        return [Proposals(boxes=_regions(image[keep], boxes[keep]), logits=scores[keep])]


class _Pooler(ROIPooler):
    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """As `ROIPooler.forward`, of regions (N, 5)."""
        return self.pool(features, torch.cat(list(boxes)))


class _Predictor(FastRCNNPredictor):
    def decode(self, outputs: tuple[Tensor, Tensor], proposals: Tensor) -> Tensor:
        """As `FastRCNNPredictor.decode`, from regions to regions."""
        boxes = super().decode(outputs, proposals[:, 1:])
        return torch.cat((proposals[:, None, :1].expand(-1, boxes.shape[1], -1), boxes), dim=2)

    def select(self, boxes: Tensor, scores: Tensor, counts: Sequence[int], sizes: Any) -> list[Detections]:
        """As `FastRCNNPredictor.select`, of regions."""
        usable = box_ops.finite(boxes, scores)[:, None] & (scores > self.nms.score_threshold)
        region, label = torch.nonzero(usable[:, :-1], as_tuple=True)
        score = scores[region, label]
        regions = boxes[region, torch.zeros_like(label) if self.class_agnostic else label]
        image = regions[:, 0].long()
        box = _clip(regions[:, 1:], sizes[image])
        keep = _suppress(box, score, label, image, self.nms.iou_threshold)
        keep = keep[_best(image[keep], len(sizes), self.nms.max_detections)]
        return [_detections(image[keep], box[keep], label[keep], score[keep])]


class _Cascade(CascadeROIHeads):
    def _move(self, stage: int, outputs: Any, boxes: Sequence[Tensor], sizes: Any) -> list[Tensor]:
        decoded = self._stage(stage).decode(outputs, torch.cat(list(boxes)))[:, 0].nan_to_num()
        return [_regions(decoded[:, 0], _clip(decoded[:, 1:], sizes[decoded[:, 0].long()]))]


def _suppress_dense(boxes: Tensor, labels: Tensor, scores: Tensor, sizes: Any, nms: DenseNMS) -> list[Detections]:
    """As `det_core.models.heads.dense.suppress`, for all images at once."""
    if nms.clip_before_nms:
        boxes = _clip(boxes, sizes[:, None])
    image, row = torch.nonzero(boxes.isfinite().all(dim=2) & scores.isfinite() & (scores >= 0), as_tuple=True)
    boxes, labels, scores = boxes[image, row], labels[image, row], scores[image, row]
    keep = _suppress(boxes, scores, labels, image, nms.iou_threshold)
    keep = keep[_best(image[keep], len(sizes), nms.max_detections)]
    return [_detections(image[keep], _clip(boxes[keep], sizes[image[keep]]), labels[keep], scores[keep])]


def _detections(image: Tensor, boxes: Tensor, labels: Tensor, scores: Tensor) -> Detections:
    """Those that have an area."""
    detections = Detections(boxes=_regions(image, boxes), labels=labels, scores=scores, size=(0, 0))
    return detections[box_ops.larger_than(boxes, 0)]


def _regions(image: Tensor, boxes: Tensor) -> Tensor:
    return torch.cat((image[:, None].to(boxes.dtype), boxes), dim=1)


def _clip(boxes: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (..., 4) within images of sizes (..., 2)."""
    return torch.minimum(boxes.clamp(min=0.0), sizes.flip(-1).to(boxes.dtype).tile(2))


def _suppress(boxes: Tensor, scores: Tensor, groups: Tensor, images: Tensor, threshold: float) -> Tensor:
    """Indices, by descending score, of the boxes kept by NMS within each group of each image.

    Images are offset vertically and groups horizontally, which keeps the offsets small.
    """
    corners = torch.cat((boxes, boxes.new_zeros(1, 4))).unflatten(1, (2, 2))
    span = corners.amax((0, 1)) - corners.amin((0, 1)) + 1
    steps = torch.stack((groups, images), dim=1).to(boxes) * span
    return nms_in_graph(boxes + steps.tile(2), scores, threshold)


def _best(images: Tensor, count: int, most: int) -> Tensor:
    """Rows of the first `most` of each image, int64 (K,), sorted by image and otherwise in order."""
    belongs = images[:, None] == torch.arange(count, device=images.device)
    place = (belongs.long().cumsum(0) * belongs).sum(1)
    rows = torch.nonzero(place <= most).squeeze(1)
    return rows[(images[rows] * _APART + rows).argsort()]


_PARTS: dict[type, Any] = {
    Normalize: _Normalize,
    RPN: _RPN,
    ROIPooler: _Pooler,
    FastRCNNPredictor: _Predictor,
    CascadeROIHeads: _Cascade,
    StandardROIHeads: None,
    Res5ROIHeads: None,
    MaskRCNNConvUpsampleHead: None,
    KeypointRCNNConvDeconvUpsampleHead: None,
    RetinaNetHead: None,
    FCOSHead: None,
}
