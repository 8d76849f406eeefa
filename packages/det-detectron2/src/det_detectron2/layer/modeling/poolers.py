"""Features of boxes from several levels, as `detectron2.modeling.poolers`."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.ops import RoIPool

from det_detectron2.layer.layers import ROIAlign, ROIAlignRotated, cat, nonzero_tuple

__all__ = ["ROIPooler", "assign_boxes_to_levels", "convert_boxes_to_pooler_format"]


def assign_boxes_to_levels(
    box_lists: Sequence[Any], min_level: int, max_level: int, canonical_box_size: int, canonical_level: int
) -> Tensor:
    """The level of each box, int64 (P,), from 0 for `min_level`, by the root of its area (Lin et al., 2017)."""
    sizes = torch.sqrt(cat([boxes.area() for boxes in box_lists]))
    levels = torch.floor(canonical_level + torch.log2(sizes / canonical_box_size + 1e-8))
    return levels.clamp(min=min_level, max=max_level).to(torch.int64) - min_level


def convert_boxes_to_pooler_format(box_lists: Sequence[Any]) -> Tensor:
    """Boxes of each image as rows of the image's number and the box, (P, 5) or (P, 6)."""
    boxes = torch.cat([each.tensor for each in box_lists], dim=0)
    sizes = torch.tensor([len(each) for each in box_lists], device=boxes.device)
    images = torch.repeat_interleave(torch.arange(len(box_lists), device=boxes.device, dtype=boxes.dtype), sizes)
    return cat([images[:, None], boxes], dim=1)


class ROIPooler(nn.Module):
    """Pools each box from the feature level that matches its size.

    Args:
        output_size: (height, width) of the pooled grid, or one number for both.
        scales: scale of each level, 1 / stride; each is half the previous one.
        sampling_ratio: number of samples per cell and axis; 0 adapts it to the cell size.
        pooler_type: pooling operation: "ROIAlign", "ROIAlignV2", "ROIAlignRotated" or "ROIPool".
        canonical_box_size: square root of the area, in pixels, of boxes pooled from `canonical_level`.
        canonical_level: level of the canonical box size, the binary logarithm of its stride.
    """

    def __init__(
        self,
        output_size: int | Sequence[int],
        scales: Sequence[float],
        sampling_ratio: int,
        pooler_type: str,
        canonical_box_size: int = 224,
        canonical_level: int = 4,
    ) -> None:
        super().__init__()
        size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        assert len(size) == 2
        self.output_size, ratio = size, int(sampling_ratio)
        kinds: dict[str, Any] = {
            "ROIAlign": lambda scale: ROIAlign(size, scale, ratio, aligned=False),
            "ROIAlignV2": lambda scale: ROIAlign(size, scale, ratio, aligned=True),
            "ROIPool": lambda scale: RoIPool(size, scale),
            "ROIAlignRotated": lambda scale: ROIAlignRotated(size, scale, ratio),
        }
        if pooler_type not in kinds:
            raise ValueError(f"Unknown pooler type: {pooler_type}; there are {', '.join(kinds)}")
        self.level_poolers = nn.ModuleList([kinds[pooler_type](scale) for scale in scales])
        low, high = -math.log2(scales[0]), -math.log2(scales[-1])
        assert math.isclose(low, int(low)), "Featuremap stride is not power of 2!"
        assert math.isclose(high, int(high)), "Featuremap stride is not power of 2!"
        self.min_level, self.max_level = int(low), int(high)
        assert len(scales) == self.max_level - self.min_level + 1, "[ROIPooler] Sizes of input do not form a pyramid!"
        assert 0 <= self.min_level <= self.max_level
        self.canonical_level, self.canonical_box_size = canonical_level, canonical_box_size
        assert canonical_box_size > 0

    def forward(self, x: Sequence[Tensor], box_lists: Sequence[Any]) -> Tensor:
        """Levels (N, C, H, W) and the boxes of each image to (P, C, *output_size)."""
        count = len(self.level_poolers)
        assert isinstance(x, list), "Arguments to pooler must be lists"
        assert isinstance(box_lists, list), "Arguments to pooler must be lists"
        assert len(x) == count, f"unequal value, num_level_assignments={count}, but x is list of {len(x)} Tensors"
        assert len(box_lists) == x[0].size(0), f"{len(box_lists)} lists of boxes for {x[0].size(0)} images"
        if len(box_lists) == 0:
            return x[0].new_zeros((0, x[0].shape[1], *self.output_size))
        regions = convert_boxes_to_pooler_format(box_lists)
        if count == 1:
            pooled: Tensor = self.level_poolers[0](x[0], regions)
            return pooled
        levels = assign_boxes_to_levels(
            box_lists, self.min_level, self.max_level, self.canonical_box_size, self.canonical_level
        )
        output = x[0].new_zeros((regions.shape[0], x[0].shape[1], *self.output_size))
        for level, pooler in enumerate(self.level_poolers):
            places = nonzero_tuple(levels == level)[0]
            output.index_put_((places,), pooler(x[level], regions[places]).to(output.dtype))
        return output
