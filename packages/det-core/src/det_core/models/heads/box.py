"""The box branch of the second stage (Girshick, "Fast R-CNN", 2015): a head on pooled features, and its predictions."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core.errors import ConfigError
from det_core.models.heads.federated import FederatedClasses
from det_core.models.parts.nms import NMS
from det_core.models.parts.regression import BoxRegression
from det_core.ops import boxes as box_ops
from det_core.ops.global_batch import normalizer
from det_core.ops.layers import Conv2d, Norm, draw_weights
from det_core.ops.shuffle import shuffled
from det_core.printable import quoted
from det_core.structures import Detections, Size

__all__ = ["FastRCNNConvFCHead", "FastRCNNPredictor"]


class FastRCNNConvFCHead(nn.Module):
    """3 x 3 convolutions, then fully connected layers, each with a ReLU.

    Args:
        in_channels: channels of the pooled features.
        resolution: height and width of the pooled features.
        num_conv: number of convolutions before the fully connected layers.
        conv_dim: number of output channels of each convolution.
        num_fc: number of fully connected layers.
        fc_dim: number of output features of each fully connected layer.
        norm: norm layer after each convolution.
        shuffle: whether training processes exchange regions, so that batch norms average over many images.

    Attributes:
        out_dim: number of features per region.
    """

    contract = "BoxHead"

    def __init__(
        self,
        in_channels: int,
        resolution: int,
        *,
        num_conv: int = 0,
        conv_dim: int = 256,
        num_fc: int = 2,
        fc_dim: int = 1024,
        norm: Norm = "",
        shuffle: bool = False,
    ) -> None:
        super().__init__()
        self.shuffle = shuffle
        if num_conv + num_fc == 0:
            raise ConfigError("FastRCNNConvFCHead", "needs at least one layer", "num_conv and num_fc are both 0")
        self._convs = [f"conv{i + 1}" for i in range(num_conv)]
        self._fcs = [f"fc{i + 1}" for i in range(num_fc)]
        channels = in_channels
        for name in self._convs:
            conv = Conv2d(channels, conv_dim, 3, norm=norm, activation=F.relu_)
            draw_weights(conv, "relu")
            self.add_module(name, conv)
            channels = conv_dim
        self.out_dim = channels * resolution**2
        for name in self._fcs:
            fc = nn.Linear(self.out_dim, fc_dim)
            draw_weights(fc, "uniform")
            self.add_module(name, fc)
            self.out_dim = fc_dim

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, in_channels, resolution, resolution) to (P, out_dim)."""
        return shuffled(self._layers, pooled) if self.shuffle and self.training else self._layers(pooled)

    def _layers(self, pooled: Tensor) -> Tensor:
        x = pooled
        for name in self._convs:
            x = self.get_submodule(name)(x)
        x = x.flatten(1)
        for name in self._fcs:
            x = F.relu_(self.get_submodule(name)(x))
        return x


class FastRCNNPredictor(nn.Module):
    """Classification and box regression of each region: losses and detections.

    Args:
        in_dim: number of input features per region.
        num_classes: number of foreground classes; the background is the last column of the scores.
        class_agnostic: whether there is one set of offsets per region in place of one per class.
        box_weights: weights of the offsets (dx, dy, dw, dh), or (dx, dy, dw, dh, da) of rotated boxes.
        box_regression: loss of box offsets, and its weight.
        box_loss_weight: weight of the box loss.
        class_loss: softmax over classes and background, or one sigmoid per class.
        federated: classes of the sigmoid loss, for datasets whose images are not annotated for all classes; null for
            all.
        nms: score threshold, NMS and maximum number of detections.

    Attributes:
        box_dim: numbers per box: 5 for rotated boxes, with five `box_weights`, otherwise 4.
    """

    contract = "BoxPredictor"

    def __init__(
        self,
        in_dim: int,
        num_classes: int,
        *,
        class_agnostic: bool = False,
        box_weights: Sequence[float] = (10.0, 10.0, 5.0, 5.0),
        box_regression: BoxRegression = BoxRegression(),  # noqa: B008 (frozen)
        box_loss_weight: float = 1.0,
        class_loss: Literal["softmax", "sigmoid"] = "softmax",
        federated: FederatedClasses | None = None,
        nms: NMS = NMS(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        if federated is not None and class_loss != "sigmoid":
            fix = "set class_loss: sigmoid"
            raise ConfigError(
                "FastRCNNPredictor.federated", "needs a sigmoid per class", f"got {quoted(class_loss)}", fix
            )
        self.federated = federated
        if federated is not None:  # zeros until the first loss, or until weights are loaded that contain it
            self.register_buffer("fed_loss_cls_weights", torch.zeros(num_classes))
        self.num_classes, self.class_agnostic = num_classes, class_agnostic
        self.form = box_regression.box_format("FastRCNNPredictor", box_weights)
        self.box_dim, self.box_weights, self.box_regression = self.form.dim, tuple(box_weights), box_regression
        self.box_loss_weight, self.class_loss, self.nms = box_loss_weight, class_loss, nms
        self.cls_score = nn.Linear(in_dim, num_classes + 1)
        self.bbox_pred = nn.Linear(in_dim, self.box_dim * (1 if class_agnostic else num_classes))
        for layer, std in ((self.cls_score, 0.01), (self.bbox_pred, 0.001)):
            draw_weights(layer, std)
        if class_loss == "sigmoid":
            nn.init.constant_(self.cls_score.bias, math.log(0.01 / 0.99))  # a prior probability of 0.01 for every class

    fed_loss_cls_weights: Tensor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(P, in_dim) to logits (P, num_classes + 1) and offsets (P, num_classes or 1, box_dim)."""
        return self.cls_score(x), self.bbox_pred(x).unflatten(1, (-1, self.box_dim))

    def losses(
        self, outputs: tuple[Tensor, Tensor], proposals: Tensor, labels: Tensor, boxes: Tensor
    ) -> dict[str, Tensor]:
        """{"loss_cls", "loss_box_reg"}, both divided by the number of regions of the global batch.

        Labels int64 (P,), `num_classes` for the background; `boxes` (P, box_dim) are the matched ground-truth boxes,
        arbitrary for background.
        """
        logits, offsets = outputs
        regions = normalizer(len(labels), logits)
        foreground = torch.nonzero(labels < self.num_classes).squeeze(1)
        column = torch.zeros_like(labels) if self.class_agnostic else labels
        offsets = offsets[foreground, column[foreground]]
        regression = self.box_regression(offsets, proposals[foreground], boxes[foreground], self.box_weights)
        return {
            "loss_cls": self._classification(logits, labels) / regions,
            "loss_box_reg": regression * (self.box_loss_weight / regions),
        }

    def _classification(self, logits: Tensor, labels: Tensor) -> Tensor:
        if self.class_loss == "softmax":
            return F.cross_entropy(logits.float(), labels, reduction="sum")
        targets = F.one_hot(labels, self.num_classes + 1)[:, :-1].float()
        weight = None
        if self.federated is not None:
            if not self.fed_loss_cls_weights.any():
                self.fed_loss_cls_weights.copy_(self.federated.weights(self.num_classes))
            weight = self.federated(labels, self.fed_loss_cls_weights).float()
        return F.binary_cross_entropy_with_logits(logits[:, :-1].float(), targets, weight, reduction="sum")

    @torch.no_grad()
    def predict_boxes_for_labels(self, outputs: tuple[Tensor, Tensor], proposals: Tensor, labels: Tensor) -> Tensor:
        """The box of each region for its label, (P, box_dim); arbitrary for background."""
        offsets = outputs[1]
        column = labels.clamp(max=offsets.shape[1] - 1)
        return self.form.decode(
            offsets[torch.arange(len(labels), device=labels.device), column], proposals, self.box_weights
        )

    def detect(
        self, outputs: tuple[Tensor, Tensor], proposals: Sequence[Tensor], sizes: Sequence[Size]
    ) -> list[Detections]:
        """The detections of each image, best first; a region may be detected as several classes.

        Boxes are clipped to the image; those of zero area then are dropped, after NMS, as published.
        """
        boxes = self.decode(outputs, torch.cat(list(proposals)))
        return self.select(boxes, self.scores(outputs), [len(regions) for regions in proposals], sizes)

    def scores(self, outputs: tuple[Tensor, Tensor]) -> Tensor:
        """Float32 (P, num_classes + 1) in [0, 1], the background last."""
        logits = outputs[0].float()
        return logits.softmax(dim=1) if self.class_loss == "softmax" else logits.sigmoid()

    def decode(self, outputs: tuple[Tensor, Tensor], proposals: Tensor) -> Tensor:
        """Decoded boxes of each region (P, box_dim), float32 (P, num_classes or 1, box_dim)."""
        return self.form.decode(outputs[1], proposals[:, None], self.box_weights)

    def select(self, boxes: Tensor, scores: Tensor, counts: Sequence[int], sizes: Sequence[Size]) -> list[Detections]:
        """Detections from boxes (P, num_classes or 1, box_dim), scores (P, num_classes + 1), `counts` per image."""
        per_image = zip(boxes.split(list(counts)), scores.split(list(counts)), sizes, strict=True)
        return [self._detect_in_image(b, s, size) for b, s, size in per_image]

    def _detect_in_image(self, boxes: Tensor, scores: Tensor, size: Size) -> Detections:
        usable = box_ops.finite(boxes, scores)[:, None] & (scores > self.nms.score_threshold)
        region, label = torch.nonzero(usable[:, :-1], as_tuple=True)
        score = scores[region, label]
        box = self.form.clip(boxes[region, torch.zeros_like(label) if self.class_agnostic else label], size)
        keep = self.form.nms_by_group(box, score, label, self.nms.iou_threshold)[: self.nms.max_detections]
        detections = Detections(boxes=box[keep], labels=label[keep], scores=score[keep], size=size)
        # Last, as published: a box with zero area after clipping still counts towards max_detections.
        return detections[self.form.larger_than(detections.boxes, 0)]
