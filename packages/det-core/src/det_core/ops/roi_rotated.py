"""Features of rotated regions (Ma et al., "Arbitrary-oriented scene text detection via rotation proposals", 2018)."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from det_core.ops.precision import precise

__all__ = ["roi_align_rotated"]


def roi_align_rotated(
    features: Tensor, rois: Tensor, size: tuple[int, int], scale: float, sampling_ratio: int = 0
) -> Tensor:
    """ROIAlign of rotated boxes, with pixel centres at half.

    Args:
        features: feature maps (B, C, H, W).
        rois: regions (P, 6): image index, cx, cy, w, h, angle in degrees.
        size: height and width of the output, in cells.
        scale: feature pixels per pixel of the boxes.
        sampling_ratio: samples per bin and axis; 0 for as many as the bin is feature pixels wide.

    Returns:
        (P, C, *size), of the dtype of `features`.
    """
    maps, rois = precise(features, rois)
    pooled = maps.new_zeros(len(rois), maps.shape[1], *size)
    extent = rois[:, 3:5].flip(1) * scale  # height, width
    if sampling_ratio > 0:
        grids = torch.full_like(extent, sampling_ratio)
    else:
        grids = (extent / extent.new_tensor(size)).ceil()
    for image, rows_high, rows_wide in torch.cat((rois[:, :1], grids), dim=1).unique(dim=0).tolist():
        if not (rows_high > 0 and rows_wide > 0):
            continue  # an empty region pools to nothing
        rows = torch.nonzero((rois[:, 0] == image) & (grids[:, 0] == rows_high) & (grids[:, 1] == rows_wide)).squeeze(1)
        sampled = _sample(maps[int(image)], rois[rows], size, (int(rows_high), int(rows_wide)), scale)
        pooled = pooled.index_copy(0, rows, sampled)
    return pooled.to(features.dtype)


def _sample(level: Tensor, rois: Tensor, size: tuple[int, int], grid: tuple[int, int], scale: float) -> Tensor:
    """Features (C, H, W) in the bins of rois (P, 6), each the mean of `grid` samples: (P, C, *size)."""
    height, width = level.shape[-2:]
    # Relative positions of the samples along w and h, from the centre.
    down, across = (
        (torch.arange(bins * samples, device=level.device, dtype=rois.dtype) + 0.5) / (bins * samples) - 0.5
        for bins, samples in zip(size, grid, strict=True)
    )
    along = down[None, :, None] * rois[:, 4, None, None] * scale
    aside = across[None, None, :] * rois[:, 3, None, None] * scale
    radians = rois[:, 5, None, None] * (math.pi / 180)
    x = rois[:, 1, None, None] * scale - 0.5 + along * radians.sin() + aside * radians.cos()
    y = rois[:, 2, None, None] * scale - 0.5 + along * radians.cos() - aside * radians.sin()
    outside = (x < -1) | (x > width) | (y < -1) | (y > height)
    points = torch.stack(((2 * x + 1) / width - 1, (2 * y + 1) / height - 1), dim=-1)  # grid_sample's coordinates
    values = F.grid_sample(level[None], points.flatten(0, 1)[None], padding_mode="border", align_corners=False)[0]
    values = values.unflatten(1, (len(rois), -1)).masked_fill(outside, 0)
    bins = values.unflatten(3, (size[1], grid[1])).unflatten(2, (size[0], grid[0]))
    return bins.mean(dim=(3, 5)).transpose(0, 1)
