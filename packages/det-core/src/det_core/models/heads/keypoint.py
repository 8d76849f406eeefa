"""The keypoint branch of Mask R-CNN (He et al., "Mask R-CNN", 2017, section 5)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core.contracts import Pooler
from det_core.errors import ConfigError, StructureError
from det_core.models.parts.levels import select_levels
from det_core.ops.global_batch import normalizer
from det_core.ops.keypoints import decode_heatmaps, encode_keypoints, keypoints_within
from det_core.ops.layers import Conv2d, draw_weights
from det_core.ops.roi import ROIPooler
from det_core.recipes import Factory
from det_core.structures import Detections, Targets

__all__ = ["KEYPOINT_HEATMAPS", "KeypointRCNNConvDeconvUpsampleHead"]

KEYPOINT_HEATMAPS = "det-core/keypoint_heatmaps"
"""Extra of detections in an exported graph: keypoint logits, float32 (N, num_keypoints, S, S)."""


class KeypointRCNNConvDeconvUpsampleHead(nn.Module):
    """3 x 3 convolutions, a transposed one and an interpolation, to a heatmap per keypoint.

    Args:
        channels: channels of each backbone level.
        strides: stride of each backbone level.
        in_features: feature levels of the pooler; by default all up to stride 32.
        num_keypoints: number of keypoints per object; 17 in COCO.
        pooler: built with `strides` of those levels; heatmaps have four times its resolution.
        conv_dims: output channels of the 3 x 3 convolutions.
        loss_weight: factor on the keypoint loss in the sum.
        normalize_by: "visible" divides the loss by the number of labelled keypoints within their region; "capacity" by
            the maximum number, `max_foreground` regions per image with all keypoints, so that images with few weigh
            less.
        max_foreground: maximum number of foreground regions per image: batch size times positive fraction of the
            sampler.
    """

    contract = "RegionHead"
    exports_heatmaps = True

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        *,
        in_features: Sequence[str] | None = None,
        num_keypoints: int = 17,
        pooler: Factory[Pooler] = Factory(ROIPooler, resolution=14),
        conv_dims: Sequence[int] = (512,) * 8,
        loss_weight: float = 1.0,
        normalize_by: Literal["visible", "capacity"] = "visible",
        max_foreground: float = 128,
    ) -> None:
        super().__init__()
        self.in_features = select_levels("KeypointRCNNConvDeconvUpsampleHead", channels, in_features, strides)
        self.pooler = cast(nn.Module, Factory.of(pooler)(strides=[strides[name] for name in self.in_features]))
        self.num_keypoints, self.loss_weight = num_keypoints, loss_weight
        if max_foreground <= 0:
            raise ConfigError("KeypointRCNNConvDeconvUpsampleHead.max_foreground", "must be positive")
        self.capacity = num_keypoints * max_foreground if normalize_by == "capacity" else None
        self._convs = [f"conv_fcn{i + 1}" for i in range(len(conv_dims))]
        width = channels[self.in_features[0]]
        for name, dim in zip(self._convs, conv_dims, strict=True):
            self.add_module(name, Conv2d(width, dim, 3, activation=F.relu_))
            width = dim
        self.score_lowres = nn.ConvTranspose2d(width, num_keypoints, 4, stride=2, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                draw_weights(module, "relu")

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, C, R, R) to logits (P, num_keypoints, 4 R, 4 R)."""
        x = pooled
        for name in self._convs:
            x = self.get_submodule(name)(x)
        x = self.score_lowres(x)
        if torch.compiler.is_exporting():  # with an unknown number: interpolated with one more row, which is dropped
            x = torch.cat((x, x.new_zeros(1, *x.shape[1:])))
            return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)[:-1]
        if not len(x):  # interpolation refuses an empty batch
            return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)
        return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)

    def losses(
        self, features: Mapping[str, Tensor], proposals: Sequence[Tensor], targets: Sequence[Targets]
    ) -> dict[str, Tensor]:
        """{"loss_keypoint"}: cross-entropy over the cells of each heatmap, for labelled keypoints within their region.

        Regions without a labelled keypoint are skipped.
        """
        visible = [self._visible(boxes, each) for boxes, each in zip(proposals, targets, strict=True)]
        logits = self(self._pool(features, [boxes for boxes, _ in visible]))
        boxes, keypoints = (torch.cat([each[i] for each in visible]) for i in (0, 1))
        cell, valid = encode_keypoints(keypoints, boxes, logits.shape[-1])
        loss = F.cross_entropy(logits[valid].flatten(1).float(), cell[valid], reduction="sum") + logits.sum() * 0.0
        capacity = None if self.capacity is None else self.capacity * len(targets)
        return {"loss_keypoint": loss * self.loss_weight / (capacity or normalizer(valid.sum(), logits))}

    def predict(self, features: Mapping[str, Tensor], detections: Sequence[Detections]) -> list[Detections]:
        """The detections with `keypoints`: float32 (N, num_keypoints, 3): x, y and score.

        In an exported graph, with the heatmaps as the extra `KEYPOINT_HEATMAPS` instead: each has to be upsampled to
        the size of its box, which `det_core.ops.keypoints.decode_heatmaps` does after the graph.
        """
        boxes = [each.boxes for each in detections]
        heatmaps = self(self._pool(features, boxes))
        if torch.compiler.is_exporting():
            rows = heatmaps.split([values.shape[0] for values in boxes])
            extras = [{**each.extras, KEYPOINT_HEATMAPS: values} for each, values in zip(detections, rows, strict=True)]
            return [replace(each, extras=values) for each, values in zip(detections, extras, strict=True)]
        points = decode_heatmaps(heatmaps, torch.cat(boxes))[..., [0, 1, 3]]
        per_image = points.split([len(values) for values in boxes])
        return [replace(each, keypoints=values) for each, values in zip(detections, per_image, strict=True)]

    def _visible(self, boxes: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        """The regions with a labelled keypoint inside, and their keypoints."""
        keypoints = targets.keypoints
        if keypoints is None:
            if len(targets):
                fix = "load the dataset with keypoints: true"
                raise StructureError("Targets.keypoints", "are needed to train keypoints", "there are none", fix)
            keypoints = boxes.new_zeros((0, self.num_keypoints, 3))
        if keypoints.shape[1] != self.num_keypoints:
            count = f"got {keypoints.shape[1]}, but the head has {self.num_keypoints}"
            raise StructureError("Targets.keypoints", "must be as many as the head predicts", count)
        rows = torch.nonzero(keypoints_within(keypoints, boxes).any(dim=1)).squeeze(1)
        return boxes[rows], keypoints[rows]

    def _pool(self, features: Mapping[str, Tensor], boxes: Sequence[Tensor]) -> Tensor:
        pooled: Tensor = self.pooler([features[name] for name in self.in_features], boxes)
        return pooled
