"""The mask branch of Mask R-CNN (He et al., "Mask R-CNN", 2017)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core.contracts import MaskLoss, Pooler
from det_core.errors import StructureError
from det_core.models.parts.levels import select_levels
from det_core.ops.global_batch import normalizer
from det_core.ops.layers import Conv2d, Norm, draw_weights
from det_core.ops.masks import crop_masks
from det_core.ops.roi import ROIPooler
from det_core.ops.shuffle import shuffled
from det_core.recipes import Factory
from det_core.structures import Detections, Targets

__all__ = ["MaskRCNNConvUpsampleHead", "mask_loss", "of_label", "with_masks"]


class MaskRCNNConvUpsampleHead(nn.Module):
    """3 x 3 convolutions and a transposed one that doubles the side, to a mask per class.

    Second stages with their own pooled features (`Res5ROIHeads`) call `pooled_losses` and `pooled_predict`.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        num_classes: number of foreground classes, without background.
        in_features: feature levels of the pooler; by default all up to stride 32.
        pooler: built with `strides` of those levels; masks have twice its resolution.
        num_conv: number of 3 x 3 convolutions.
        conv_dim: channels of the convolutions and of the transposed one.
        norm: norm layer of the 3 x 3 convolutions.
        shuffle: whether training processes exchange regions, so that batch norms average over many images.
        class_agnostic: whether there is one mask per region in place of one per class.
        loss: loss of masks against the ground truth; null for `mask_loss`.
        loss_weight: factor on the mask loss in the sum.
    """

    contract = "RegionHead"

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        num_classes: int,
        *,
        in_features: Sequence[str] | None = None,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=14),
        num_conv: int = 4,
        conv_dim: int = 256,
        norm: Norm = "",
        shuffle: bool = False,
        class_agnostic: bool = False,
        loss: MaskLoss | None = None,
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.in_features = select_levels("MaskRCNNConvUpsampleHead", channels, in_features, strides)
        self.pooler = cast(nn.Module, Factory.of(pooler)(strides=[strides[name] for name in self.in_features]))
        self.loss, self.loss_weight, self.shuffle = loss or mask_loss, loss_weight, shuffle
        self._convs = [f"mask_fcn{i + 1}" for i in range(num_conv)]
        width = channels[self.in_features[0]]
        for name in self._convs:
            self.add_module(name, Conv2d(width, conv_dim, 3, norm=norm, activation=F.relu_))
            width = conv_dim
        self.deconv = nn.ConvTranspose2d(width, conv_dim, 2, stride=2)
        self.predictor = nn.Conv2d(conv_dim, 1 if class_agnostic else num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                draw_weights(module, "relu")
        nn.init.normal_(self.predictor.weight, std=0.001)

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, C, R, R) to logits (P, num_classes or 1, 2 R, 2 R)."""
        return shuffled(self._layers, pooled) if self.shuffle and self.training else self._layers(pooled)

    def _layers(self, pooled: Tensor) -> Tensor:
        x = pooled
        for name in self._convs:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.predictor(F.relu_(self.deconv(x)))
        return logits

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_mask"}: the mask loss."""
        return self.pooled_losses(self._pool(features, proposals), proposals, targets)

    def pooled_losses(
        self, pooled: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """`losses` from pooled features (sum of P_i, C, R, R)."""
        return {"loss_mask": self.loss(self(pooled), proposals, targets) * self.loss_weight}

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with `masks`: float32 (N, 2 R, 2 R), probabilities within each box."""
        return self.pooled_predict(self._pool(features, [each.boxes for each in detections]), detections)

    def pooled_predict(self, pooled: Tensor, detections: Sequence[Detections]) -> list[Detections]:
        """`predict` from pooled features (sum of N_i, C, R, R)."""
        return with_masks(detections, self(pooled))

    def _pool(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        pooled: Tensor = self.pooler([features[name] for name in self.in_features], boxes)
        return pooled


def mask_loss(logits: Tensor, proposals: Sequence[Tensor], targets: Sequence[Targets]) -> Tensor:
    """Binary cross-entropy of the mask of the ground-truth class, mean over all cells of all regions; see `MaskLoss`.

    Raises:
        StructureError: there are objects without masks.
    """
    labels = torch.cat([each.labels for each in targets])
    cells = normalizer(len(labels), logits) * logits.shape[-1] ** 2
    if not len(labels):
        return logits.sum() * 0.0
    crops = [_cropped(objects, boxes, logits.shape[-1]) for objects, boxes in zip(targets, proposals, strict=True)]
    predicted, expected = of_label(logits, labels).float(), torch.cat(crops).float()
    return F.binary_cross_entropy_with_logits(predicted, expected, reduction="sum") / cells


def with_masks(detections: Sequence[Detections], logits: Tensor) -> list[Detections]:
    """The detections of each image with float32 (N, S, S), probabilities within each box, as `masks`.

    Logits (P, num_classes or 1, S, S) of the detections of all images, concatenated.
    """
    masks = of_label(logits, torch.cat([each.labels for each in detections])).float().sigmoid()
    per_image = masks.split([len(each) for each in detections])
    return [replace(each, masks=image_masks) for each, image_masks in zip(detections, per_image, strict=True)]


def of_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Logits (P, C, ...) of each row's label, int64 (P,), as (P, ...); C = 1 for class-agnostic heads."""
    column = torch.zeros_like(labels) if logits.shape[1] == 1 else labels
    return logits[torch.arange(len(labels), device=labels.device), column]


@torch.no_grad()
def _cropped(objects: Targets, boxes: Tensor, side: int) -> Tensor:
    if objects.masks is None:
        if len(objects):
            fix = "load the dataset with masks: masks: polygons, or masks: bitmaps"
            raise StructureError("Targets.masks", "are needed to train masks", "there are none", fix)
        return boxes.new_zeros((0, side, side), dtype=torch.bool)
    return crop_masks(objects.masks, boxes, side)
