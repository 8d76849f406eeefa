"""RoI pooling: features of each region at a fixed size, from the level that fits its size."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torchvision
from torch import Tensor, nn

from det_core.errors import ConfigError
from det_core.ops.geometry import ROTATED, UPRIGHT, geometry
from det_core.ops.roi_rotated import roi_align_rotated

__all__ = ["Pooling", "ROIPooler", "assign_levels"]

Pooling = Literal["ROIAlignV2", "ROIAlign", "ROIPool", "ROIAlignRotated"]
"""ROIAlign with pixel centres at half (V2), as first published (half a pixel off), ROIPool, and V2 of rotated boxes."""


def assign_levels(boxes: Tensor, lowest: int, highest: int, canonical_size: float = 224, canonical: int = 4) -> Tensor:
    """Level of each box, (N, 4) or rotated (N, 5), as int64 (N,) in [lowest, highest].

    A box of `canonical_size` squared is assigned to level `canonical`, one of half the side to the level below (Lin et
    al., "Feature Pyramid Networks", 2017, equation 1). The stride of level k is 2**k.
    """
    side = geometry(boxes.shape[-1]).area(boxes).clamp(min=0).sqrt()
    level = torch.floor(canonical + torch.log2(side / canonical_size + 1e-8))
    return level.clamp(lowest, highest).to(torch.int64)


class ROIPooler(nn.Module):
    """Pools regions to (channels, resolution, resolution).

    Args:
        strides: strides of the levels, finest first, each twice the one before; powers of two.
        resolution: height and width of pooled features, in cells.
        pooling: pooling method; `ROIAlignV2` is the corrected ROIAlign (He et al., "Mask R-CNN", 2017).
        sampling_ratio: samples per bin and axis; 0 for as many as the bin is feature pixels wide.

    Attributes:
        box_dim: numbers per box: 5 for rotated ones, otherwise 4.
        roi_align: function for ROIAlign of upright boxes; `det_core.models.cpu_acceleration` installs a faster one.
    """

    contract = "Pooler"

    def __init__(
        self, strides: Sequence[int], resolution: int, pooling: Pooling = "ROIAlignV2", sampling_ratio: int = 0
    ) -> None:
        super().__init__()
        levels = [math.log2(stride) for stride in strides]
        if not levels or any(level != levels[0] + i or level % 1 for i, level in enumerate(levels)):
            raise ConfigError("ROIPooler.strides", "must be successive powers of two", f"got {list(strides)}")
        self.strides, self.lowest, self.highest = tuple(strides), int(levels[0]), int(levels[-1])
        self.form = ROTATED if pooling == "ROIAlignRotated" else UPRIGHT
        self.box_dim = self.form.dim
        self.resolution, self.pooling, self.sampling_ratio = resolution, pooling, sampling_ratio
        self.roi_align: Callable[..., Tensor] = torchvision.ops.roi_align

    def forward(self, features: Sequence[Tensor], boxes: Sequence[Tensor]) -> Tensor:
        """Features (B, C, H_i, W_i) of each stride and boxes (P_b, 4 or 5) of each image to (sum of P_b, C, R, R)."""
        for image_boxes in boxes:
            self.form.require(image_boxes, "ROIPooler")
        image = torch.cat([torch.full_like(b[:, :1], i) for i, b in enumerate(boxes)])
        return self.pool(features, torch.cat((image, torch.cat(list(boxes))), dim=1))

    def pool(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """As `forward`, of regions (P, 1 + box_dim): the number of the image, then the box."""
        if len(self.strides) == 1:
            return self._pool(features[0], rois, self.strides[0])
        levels = assign_levels(rois[:, 1:], self.lowest, self.highest)
        order, pooled = [], []
        for i, (level, stride) in enumerate(zip(features, self.strides, strict=True)):
            rows = torch.nonzero(levels == self.lowest + i).squeeze(1)
            order.append(rows)
            pooled.append(self._pool(level, rois[rows], stride))
        places = torch.cat(order).argsort()
        if torch.compiler.is_compiling() or not pooled[0].is_contiguous(memory_format=torch.channels_last):
            return torch.cat(pooled)[places]
        # Without it, cat would return channels first if a level has no region.
        return torch.cat([each.permute(0, 2, 3, 1) for each in pooled])[places].permute(0, 3, 1, 2)

    def _pool(self, features: Tensor, rois: Tensor, stride: int) -> Tensor:
        # Not in half precision, where a coordinate beyond 256 is off by a pixel or more.
        precise = torch.promote_types(features.dtype, torch.float32)
        maps, rois = features.to(precise), rois.to(precise)
        if self.pooling == "ROIPool":
            pooled = torchvision.ops.roi_pool(maps, rois, self.resolution, 1 / stride)
        elif self.pooling == "ROIAlignRotated":
            size = (self.resolution, self.resolution)
            pooled = roi_align_rotated(maps, rois, size, 1 / stride, self.sampling_ratio)
        else:
            aligned = self.pooling == "ROIAlignV2"
            pooled = self.roi_align(maps, rois, self.resolution, 1 / stride, self.sampling_ratio, aligned)
        return pooled.to(features.dtype)

    def extra_repr(self) -> str:
        """The settings, for print(model)."""
        return f"strides={self.strides}, resolution={self.resolution}, {self.pooling}, {self.sampling_ratio=}"
