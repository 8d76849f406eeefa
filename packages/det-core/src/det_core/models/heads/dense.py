"""Common parts of one-stage heads: towers of convolutions over all levels, and the selection of candidates."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from det_core.errors import ConfigError
from det_core.models.parts.nms import DenseNMS
from det_core.ops import boxes as box_ops
from det_core.ops.global_batch import global_count, shares
from det_core.ops.layers import Norm, draw_weights, make_norm
from det_core.ops.nms import nms_by_group
from det_core.structures import Detections, Size

__all__ = [
    "Candidates",
    "LevelNorms",
    "MovingAverage",
    "Tower",
    "TowerLayers",
    "best_candidates",
    "per_anchor",
    "predictor",
    "suppress",
]

LevelNorms = Literal["own", "shared", "joint"]
"""Statistics of batch norms over several levels: separate per level; shared and updated level by level; or shared and
computed over all levels together (Wu and Johnson, "Rethinking batch in BatchNorm", 2021)."""


class PerLevelBatchNorm(nn.ModuleList):
    """One batch norm per level, with shared scale and shift."""

    def __init__(self, kind: Literal["BN", "SyncBN"], channels: int, levels: int) -> None:
        make = nn.BatchNorm2d if kind == "BN" else nn.SyncBatchNorm
        super().__init__(make(channels, affine=False) for _ in range(levels))
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        """Levels (B, C, H, W) to the same shapes."""
        scale, shift = self.weight[:, None, None], self.bias[:, None, None]
        return [norm(x) * scale + shift for norm, x in zip(self, levels, strict=True)]


@dataclass(frozen=True)
class TowerLayers:
    """The convolutions before a prediction of a one-stage head.

    Attributes:
        conv_dims: output channels of each 3 x 3 convolution; -1 to keep the number.
        norm: norm layer after each convolution.
        level_norms: sharing of norms between levels where `norm` is BN or SyncBN.
    """

    conv_dims: Sequence[int] = (-1, -1, -1, -1)
    norm: Norm = ""
    level_norms: LevelNorms = "own"

    def build(self, in_channels: int, levels: int) -> "Tower":
        """A tower for a number of levels, each with `in_channels`."""
        return Tower(in_channels, self.conv_dims, self.norm, self.level_norms, levels)


class Tower(nn.Sequential):
    """3 x 3 convolutions with norm and ReLU, shared by all levels.

    Args:
        in_channels: number of channels of every feature level.
        dims: output channels of each convolution; -1 to keep the number.
        norm: norm layer after each convolution.
        level_norms: sharing of norms between levels where `norm` is BN or SyncBN.
        levels: number of feature levels, for norms per level.

    Attributes:
        out_channels: output channels of the last convolution.
    """

    def __init__(self, in_channels: int, dims: Sequence[int], norm: Norm, level_norms: LevelNorms, levels: int) -> None:
        layers: list[nn.Module] = []
        for dim in dims:
            dim = in_channels if dim == -1 else dim
            conv = nn.Conv2d(in_channels, dim, 3, padding=1)
            draw_weights(conv, 0.01)
            layers.append(conv)
            if norm in ("BN", "SyncBN") and level_norms == "own":
                layers.append(PerLevelBatchNorm(norm, dim, levels))
            elif (layer := make_norm(norm, dim)) is not None:
                layers.append(layer)
            layers.append(nn.ReLU())
            in_channels = dim
        super().__init__(*layers)
        self.out_channels, self.level_norms = in_channels, level_norms

    def forward(self, input: Sequence[Tensor]) -> list[Tensor]:
        """Levels (B, in_channels, H, W) to (B, out_channels, H, W)."""
        levels = list(input)
        for layer in self:
            if isinstance(layer, PerLevelBatchNorm):
                levels = layer(levels)
            elif isinstance(layer, nn.BatchNorm2d | nn.SyncBatchNorm) and self.level_norms == "joint":
                levels = _together(layer, levels)
            else:
                levels = [layer(x) for x in levels]
        return levels


def _together(norm: nn.Module, levels: Sequence[Tensor]) -> list[Tensor]:
    """Normalize all levels as one map."""
    counts = [x.shape[2] * x.shape[3] for x in levels]
    parts = norm(torch.cat([x.flatten(2) for x in levels], dim=2).unsqueeze(3)).squeeze(3).split(counts, dim=2)
    return [part.reshape(x.shape) for part, x in zip(parts, levels, strict=True)]


def predictor(in_channels: int, out_channels: int, probability: float | None = None) -> nn.Conv2d:
    """The last 3 x 3 convolution of a tower, with an initial sigmoid of about `probability`."""
    if probability is not None and not 0 < probability < 1:
        raise ConfigError("prior_probability", "must be between 0 and 1", f"got {probability}")
    conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    bias = 0.0 if probability is None else -math.log((1 - probability) / probability)
    nn.init.constant_(conv.bias, bias)  # type: ignore[arg-type]
    return conv


def per_anchor(maps: Tensor, numbers: int) -> Tensor:
    """(B, A * numbers, H, W) to (B, H * W * A, numbers): by row, then column, then anchor."""
    return maps.permute(0, 2, 3, 1).reshape(len(maps), -1, numbers)


class MovingAverage(nn.Module):
    """Exponential moving average of a scalar, which stabilizes the normalizer of a loss.

    It restarts in every process and is not part of the state dict, as published; only training updates it.
    """

    def __init__(self, start: float, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.tensor(float(start)), persistent=False)

    value: Tensor

    @torch.no_grad()
    def forward(self, new: Tensor) -> Tensor:
        """The average, updated with the scalar `new`, at least 1, as a share of that of the global batch."""
        total = torch.as_tensor(global_count(new, self.value)).clamp(min=1)
        value = self.value * self.momentum + total.to(self.value.dtype) * (1 - self.momentum)
        if self.training:
            self.value = value  # replaced, not modified: an earlier loss may still need the previous one
        return value / shares()


class Candidates(NamedTuple):
    """The best (anchor, class) pairs of each image: int64 `anchor` and `label`, float32 `score`, all (B, K)."""

    anchor: Tensor
    label: Tensor
    score: Tensor


def best_candidates(scores: Tensor, threshold: float, most: int) -> Candidates:
    """The best scores (B, A, C), at most `most`; those that do not exceed `threshold`, or are NaN, become -1."""
    flat = scores.flatten(1)
    flat = torch.where(flat > threshold, flat, -1.0)
    score, index = flat.topk(min(most, flat.shape[1]), dim=1)
    return Candidates(index // scores.shape[2], index % scores.shape[2], score)


def suppress(boxes: Tensor, labels: Tensor, scores: Tensor, sizes: Sequence[Size], nms: DenseNMS) -> list[Detections]:
    """Detections after NMS, from boxes (B, N, 4), labels and scores (B, N); negative scores mark no candidate.

    Boxes are clipped last, and those of zero area then are dropped, as published; `clip_before_nms` also clips them
    before NMS, as torchvision does.
    """
    results = []
    for box, label, score, size in zip(boxes, labels, scores, sizes, strict=True):
        box = box_ops.clip(box, size) if nms.clip_before_nms else box
        rows = torch.nonzero(box_ops.finite(box, score) & (score >= 0)).squeeze(1)
        keep = rows[nms_by_group(box[rows], score[rows], label[rows], nms.iou_threshold)[: nms.max_detections]]
        clipped = box_ops.clip(box[keep], size)
        detections = Detections(boxes=clipped, labels=label[keep], scores=score[keep], size=size)
        results.append(detections[box_ops.larger_than(detections.boxes, 0)])
    return results
