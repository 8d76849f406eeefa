"""ROIAlign and NMS as operations of fixed shapes, which any runtime has."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["roi_align_products", "suppression_rounds"]


def roi_align_products(features: Tensor, boxes: Tensor, resolution: int, scale: float, sampling_ratio: int) -> Tensor:
    """ROIAlign of one image as two matrix products: rows of weights, features, columns of weights.

    Bilinear reading is separable, and so is the mean over the samples of a bin: the weights of the rows are hat
    functions around the sampled heights, averaged over the samples of a bin; those of the columns likewise.

    Args:
        features: feature map, float (C, H, W).
        boxes: float (N, 4), xyxy, in pixels of the image.
        resolution: number of bins per axis.
        scale: feature pixels per pixel of the image, the inverse of the stride.
        sampling_ratio: number of samples per bin and axis, at least 1.

    Returns:
        Float (N, C, resolution, resolution), equal to `torchvision.ops.roi_align(..., aligned=True)`.
    """
    height, width = features.shape[1:]
    x0, y0, x1, y1 = (boxes * scale - 0.5).unbind(1)
    rows = _weights(y0, y1, height, resolution, sampling_ratio)  # (N, R, H)
    columns = _weights(x0, x1, width, resolution, sampling_ratio)  # (N, R, W)
    # One product for all regions, and one for each: broadcast over regions and channels, kernels would copy the map.
    channels, count = len(features), len(boxes)
    across = torch.bmm(features.reshape(1, channels * height, width), columns.reshape(1, -1, width).transpose(1, 2))
    across = across.reshape(channels, height, count, resolution).permute(2, 1, 0, 3)  # (N, H, C, R)
    pooled = torch.bmm(rows, across.reshape(count, height, channels * resolution))  # (N, R, C * R)
    return pooled.reshape(count, resolution, channels, resolution).permute(0, 2, 1, 3)


def _weights(low: Tensor, high: Tensor, size: int, resolution: int, sampling_ratio: int) -> Tensor:
    """The weight of each of `size` places in each bin between `low` and `high` (N,): float (N, resolution, size)."""
    steps = torch.arange(resolution * sampling_ratio, dtype=low.dtype, device=low.device) + 0.5
    places = low[:, None] + (high - low)[:, None] * (steps / (resolution * sampling_ratio))
    # Up to one place outside of the map samples have the value of its border, beyond it they are 0.
    inside = ((places >= -1.0) & (places <= float(size))).to(low.dtype)
    places = places.clamp(0.0, float(size - 1))
    grid = torch.arange(size, dtype=low.dtype, device=low.device)
    hats = (1.0 - (places[:, :, None] - grid).abs()).clamp(min=0.0) * inside[:, :, None]
    return hats.reshape(len(low), resolution, sampling_ratio, size).mean(2)


def suppression_rounds(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, rounds: int) -> Tensor:
    """Greedy NMS within groups: each round keeps the best remaining box, and removes the boxes that overlap it.

    Args:
        boxes: float (N, 4), xyxy, N at least 1.
        scores: float (N,); among equal scores, the first box is kept.
        groups: (N,), group of each box, such as its class; boxes of different groups never suppress each other.
        iou_threshold: IoU above which the box with the lower score is removed.
        rounds: maximum number of boxes to keep.

    Returns:
        Int64 (rounds,): indices of the kept boxes, best first, as of `torchvision.ops.nms`; N if no box is left.
    """
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    left, keep = scores, []
    lowest = torch.full_like(scores, float("-inf"))
    for _ in range(rounds):
        best = left.argmax().reshape(1)
        one, there = boxes.index_select(0, best), left.index_select(0, best) > float("-inf")
        low, high = torch.maximum(boxes[:, :2], one[:, :2]), torch.minimum(boxes[:, 2:], one[:, 2:])
        sides = (high - low).clamp(min=0.0)
        shared = sides[:, 0] * sides[:, 1]
        iou = shared / (areas + areas.index_select(0, best) - shared)
        same = groups == groups.index_select(0, best)
        out = (iou > iou_threshold) & same
        left = torch.where(out, lowest, left).index_fill(0, best, float("-inf"))
        keep.append(torch.where(there, best, torch.full_like(best, len(boxes))))
    return torch.cat(keep)


def level_of_boxes(boxes: Tensor, strides: Sequence[int]) -> Tensor:
    """The level of each box (N, 4) among those of a pyramid, float (N,), 0 the finest; as `ROIPooler` assigns them."""
    lowest = int(torch.tensor(strides[0]).log2())
    sides = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0.0)
    level = torch.floor(4.0 + torch.log2((sides[:, 0] * sides[:, 1]).sqrt() / 224.0 + 1e-8))
    return level.clamp(float(lowest), float(lowest + len(strides) - 1)) - float(lowest)
