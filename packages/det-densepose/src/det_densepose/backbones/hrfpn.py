"""HRFPN: a pyramid over HRNet (Sun et al., "High-resolution representations for labeling pixels and regions", 2019)."""

import functools
import math
from collections.abc import Callable
from typing import cast

import torch
from det_core.contracts import Backbone
from det_core.ops.layers import draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

from det_densepose.backbones.hrnet import first_cells

__all__ = ["HRFPN"]

_MOMENTUM = 0.1
_KERNEL = 4


class HRFPN(nn.Module):
    """Upsamples all branches to the finest resolution, concatenates them, and pools the result to five levels.

    The sizes of its maps differ from size / stride, and are mostly smaller: all branches are cropped to the smallest,
    and each level to an exact multiple of the coarsest. Cell i of a level starts at pixel i * stride.

    Args:
        bottom_up: backbone below the pyramid; its strides must double from level to level.
        out_channels: number of channels of every level.
        num_levels: number of output levels; the first has the stride of the finest input level.

    Attributes:
        exact_sizes: False: maps need not have ceil(size / stride) cells.
    """

    exact_sizes = False

    def __init__(self, bottom_up: Backbone, out_channels: int = 256, num_levels: int = 5) -> None:
        super().__init__()
        self.bottom_up = cast(nn.Module, bottom_up)
        widths = list(bottom_up.channels.values())
        self.interp_conv = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose2d(width, width, _KERNEL, stride=2**i, bias=False),
                nn.BatchNorm2d(width, momentum=_MOMENTUM),
                nn.ReLU(),
            )
            for i, width in enumerate(widths)
        )
        self.reduction_pooling_conv = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(sum(widths), out_channels, 2**i, stride=2**i),
                nn.BatchNorm2d(out_channels, momentum=_MOMENTUM),
                nn.ReLU(),
            )
            for i in range(num_levels)
        )
        self.fpn_conv = nn.ModuleList(nn.Conv2d(out_channels, out_channels, 3, padding=1) for _ in range(num_levels))
        finest = min(bottom_up.strides.values())
        self.channels = {f"p{i + 1}": out_channels for i in range(num_levels)}
        self.strides = {name: finest * 2**i for i, name in enumerate(self.channels)}
        self.size_divisibility = 1
        # Up to this side, in pixels, the coarsest level may have a single cell, which an exported program makes a rule.
        self.single_window = finest * 2**num_levels
        # Of the coarsest branch as many cells as leave one cell of the coarsest level, and the pixels they come from.
        cells = math.ceil((2 ** (num_levels - 1) - _KERNEL) / 2 ** (len(widths) - 1)) + 1
        self._smallest = (cells - 1) * max(bottom_up.strides.values()) + 1
        for module in (*self.reduction_pooling_conv, *self.fpn_conv):
            for conv in module.modules():
                if isinstance(conv, nn.Conv2d):
                    draw_weights(conv, "uniform")

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"p1": (B, out_channels, about H / 4, about W / 4), ...}, finest first.

        Images too small for one cell of the coarsest level, below 65 pixels as published, are padded with zeros,
        and the cells that lie in the padding alone are left out of the maps.
        """
        height, width = size = pixels.shape[-2], pixels.shape[-1]
        padding = (0, max(0, self._smallest - width), 0, max(0, self._smallest - height))
        below = self.bottom_up(F.pad(pixels, padding) if any(padding) else pixels)
        raised = [layer(each) for layer, each in zip(self.interp_conv, below.values(), strict=True)]
        joined = torch.cat([_cut(each, *_least(raised)) for each in raised], 1)
        levels = [layer(joined) for layer in self.reduction_pooling_conv]
        height, width = levels[-1].shape[-2:]
        top = len(levels) - 1
        levels = [_cut(each, height * 2 ** (top - i), width * 2 ** (top - i)) for i, each in enumerate(levels)]
        maps = {name: conv(each) for name, conv, each in zip(self.channels, self.fpn_conv, levels, strict=True)}
        return {name: _within(each, size, self.strides[name]) for name, each in maps.items()} if any(padding) else maps


def _least(maps: list[Tensor]) -> tuple[int, int]:
    def least(axis: int) -> int:
        smaller: Callable[[int, int], int] = torch.sym_min  # type: ignore[assignment]
        return functools.reduce(smaller, (each.shape[axis] for each in maps))

    return least(-2), least(-1)


def _within(x: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """The cells of a map that begin inside of an image of this size."""
    height, width = size
    return x[..., : -(-height // stride), : -(-width // stride)]


def _cut(x: Tensor, height: int, width: int) -> Tensor:
    if torch.compiler.is_exporting():
        return first_cells(x, height, width)
    return F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]))
