"""ROIAlign (He et al., "Mask R-CNN", 2017), on a CPU as weighted sums of whole pixels."""

import math

import torch
import torchvision
from torch import Tensor
from torch.nn import functional as F

__all__ = ["roi_align"]

_WIDTHS = torch.tensor([1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64])  # samples per bin; regions between two go together
_READ = 1 << 24  # maximum number of pixels per step: about 100 MB of indices and weights


def roi_align(
    maps: Tensor, rois: Tensor, resolution: int, scale: float, sampling_ratio: int = 0, aligned: bool = True
) -> Tensor:
    """`torchvision.ops.roi_align`, up to rounding.

    On a CPU each bin is one weighted sum of pixels, over all channels at a time: an embedding bag, several times faster
    than a loop over channels, and so is its gradient. Channels-last maps are read in place; others are copied once.

    Args:
        maps: feature maps, float32 or float64, (B, C, H, W).
        rois: regions (P, 5): image index, x1, y1, x2, y2.
        resolution: height and width of pooled features, in cells.
        scale: feature pixels per pixel of the boxes.
        sampling_ratio: samples per bin and axis; 0 for as many as the bin is feature pixels wide.
        aligned: whether pixel centres are at half; False for ROIAlign as first published.

    Returns:
        (P, C, resolution, resolution), on a CPU in channels-last memory format.
    """
    settings = (resolution, scale, sampling_ratio, aligned)
    recorded = torch.compiler.is_compiling() or torch.jit.is_tracing()
    if maps.device.type != "cpu" or type(maps) is not Tensor or recorded:
        return torchvision.ops.roi_align(maps, rois, *settings)
    bins = _Bins(rois.detach(), *settings)
    read = bins.read()
    # Only if more pixels are read than there are, by regions that are not far larger than the maps.
    if not maps[:, 0].numel() < read < math.inf:
        return torchvision.ops.roi_align(maps, rois, *settings).contiguous(memory_format=torch.channels_last)
    pixels = maps.permute(0, 2, 3, 1).contiguous().flatten(0, 2)
    if read <= _READ:
        return bins.sums(pixels, maps.shape).permute(0, 3, 1, 2)
    parts = (_Bins(part, *settings) for part in rois.detach().chunk(math.ceil(read / _READ)))
    return torch.cat([part.sums(pixels, maps.shape) for part in parts]).permute(0, 3, 1, 2)


class _Bins:
    """The bins of regions (P, 5), and the samples in each; x before y in arrays of two columns."""

    def __init__(self, rois: Tensor, resolution: int, scale: float, sampling_ratio: int, aligned: bool) -> None:
        self.image, corners = rois[:, 0].long(), rois[:, 1:] * scale - (0.5 if aligned else 0.0)
        self.start, size = corners[:, :2], corners[:, 2:] - corners[:, :2]
        self.extent = (size if aligned else size.clamp(min=1)) / resolution
        self.count, self.adaptive = resolution, sampling_ratio <= 0
        self.samples = self.extent.ceil().clamp(min=0) if self.adaptive else torch.full_like(size, sampling_ratio)

    def read(self) -> float:
        """Number of pixels read by the samples, four each; infinity for bins that are too large, or not finite."""
        if not (self.samples <= _WIDTHS[-1]).all():
            return math.inf
        return float(self.samples.prod(1).sum()) * self.count**2 * 4

    def sums(self, pixels: Tensor, shape: torch.Size) -> Tensor:
        """Sums (P, count, count, C) in the bins, from pixels (B * H * W, C) of maps of shape (B, C, H, W)."""
        images, channels, height, width = shape
        (left, across), (top, down) = self._axis(0, width), self._axis(1, height)
        top = top * width + self.image.clamp(0, images - 1)[:, None, None] * (height * width)
        places, weights, sizes, order = [], [], [], []
        for rows, x, y in self._groups():
            place = top[rows, :, None, :y, None] + left[rows, None, :, None, :x]
            weight = down[rows, :, None, :y, None] * across[rows, None, :, None, :x]
            places.append(place.int().flatten())
            weights.append(weight.flatten())
            sizes.append(torch.full((len(rows) * self.count**2,), weight[0, 0, 0].numel(), dtype=torch.int32))
            order.append(rows)
        size = torch.cat(sizes)
        starts = size.cumsum(0, dtype=torch.int32) - size
        sums = F.embedding_bag(torch.cat(places), pixels, starts, per_sample_weights=torch.cat(weights), mode="sum")
        sums = sums.reshape(-1, self.count, self.count, channels)
        return sums[torch.cat(order).argsort()] if len(order) > 1 else sums

    def _axis(self, axis: int, length: int) -> tuple[Tensor, Tensor]:
        """Pixel indices of each bin along an axis of this `length`, and their weights: twice (P, count, K).

        Each sample reads two pixels. `s` samples at most a pixel apart share those between them, and read the first and
        the `s` after it.
        """
        extent, samples = self.extent[:, axis, None], self.samples[:, axis, None]
        most = max(int(samples.max()), 1)
        number = torch.arange(most)
        # Added in torchvision's order, for the same rounding.
        bins = self.start[:, axis, None] + torch.arange(self.count) * extent
        at = bins[:, :, None] + ((number + 0.5) * extent / samples.clamp(min=1))[:, None]
        inside = (at >= -1) & (at <= length) & (number < samples)[:, None]
        weight = inside / samples.clamp(min=1)[:, None]
        at = at.clamp(0, length - 1)
        low = at.floor()
        weights = torch.stack(((low + 1 - at) * weight, (at - low) * weight), dim=3).flatten(2)
        before = low.long().clamp(0, length - 1)  # NaN becomes some valid index
        places = torch.stack((before, (before + 1).clamp(max=length - 1)), dim=3).flatten(2)
        if not self.adaptive:
            return places, weights
        first = places[:, :, :1]
        merged = weights.new_zeros(*places.shape[:2], most + 1)
        merged.scatter_add_(2, (places - first).clamp(0, most), weights)
        return (first + torch.arange(most + 1)).clamp(max=length - 1), merged

    def _groups(self) -> list[tuple[Tensor, int, int]]:
        """Rows of regions with about as many pixels per bin, and the numbers along x and y."""
        if not self.adaptive:
            return [(torch.arange(len(self.samples)), 2 * int(self.samples[0, 0]), 2 * int(self.samples[0, 1]))]
        buckets = torch.bucketize(self.samples, _WIDTHS)
        groups = []
        for x, y in buckets.unique(dim=0).tolist():
            rows = torch.nonzero((buckets == torch.tensor([x, y])).all(1)).squeeze(1)
            groups.append((rows, int(_WIDTHS[x]) + 1, int(_WIDTHS[y]) + 1))
        return groups
