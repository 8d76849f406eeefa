"""Feature pyramid networks (Lin et al., "Feature Pyramid Networks for object detection", 2017)."""

import math
from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from det_core.contracts import Backbone
from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, Norm, draw_weights

__all__ = ["FPN"]


class FPN(nn.Module):
    """Adds upsampled coarse levels to finer ones; every level has the same number of channels.

    Level names are "p" and the binary logarithm of the stride: p2 has stride 4.

    Args:
        bottom_up: network underneath, whose strides double from level to level.
        in_features: levels of the network, finest first; None for all.
        out_channels: number of channels of every output level; 256 as published.
        norm: norm layer of the lateral and output convolutions.
        fuse: whether the two inputs of a level are added or averaged.
        top: extra levels on top: one of twice the stride, by subsampling the coarsest (published for R-CNN); two, by
            strided convolutions (published for RetinaNet); or none.
        top_input: input of those convolutions: the coarsest level of bottom_up, or that of the pyramid.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        *,
        in_features: Sequence[str] | None = None,
        out_channels: int = 256,
        norm: Norm = "",
        fuse: Literal["sum", "avg"] = "sum",
        top: Literal["maxpool", "convolutions"] | None = "maxpool",
        top_input: Literal["bottom_up", "pyramid"] = "bottom_up",
    ) -> None:
        super().__init__()
        names = list(bottom_up.channels) if in_features is None else list(in_features)
        if unknown := [name for name in names if name not in bottom_up.channels] or not names:
            found = f"got {unknown or names}; there are {', '.join(bottom_up.channels)}"
            raise ConfigError("FPN.in_features", "must name levels of bottom_up", found)
        strides = [bottom_up.strides[name] for name in names]
        levels = [int(math.log2(stride)) for stride in strides]
        if strides != [2 ** (levels[0] + i) for i in range(len(levels))]:
            raise ConfigError("FPN.in_features", "strides must be powers of two that double", f"they are {strides}")
        self.bottom_up = cast(nn.Module, bottom_up)
        self.fuse, self.top, self.top_input = fuse, top, top_input
        self._levels = dict(zip(levels, names, strict=True))
        for level, name in self._levels.items():
            lateral = Conv2d(bottom_up.channels[name], out_channels, 1, norm=norm)
            output = Conv2d(out_channels, out_channels, 3, norm=norm)
            for part, module in (("lateral", lateral), ("output", output)):
                draw_weights(module, "uniform")
                self.add_module(f"fpn_{part}{level}", module)
        above = {"maxpool": 1, "convolutions": 2}.get(top or "", 0)
        if top == "convolutions":
            below = bottom_up.channels[names[-1]] if top_input == "bottom_up" else out_channels
            self.top_block = TopConvolutions(levels[-1] + 1, below, out_channels)
        levels = [*levels, *range(levels[-1] + 1, levels[-1] + 1 + above)]
        self.channels = {f"p{level}": out_channels for level in levels}
        self.strides = {f"p{level}": 2**level for level in levels}
        self.size_divisibility = max(strides[-1], bottom_up.size_divisibility)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"p2": (B, out_channels, H / 4, W / 4), ...}, finest first."""
        below = self.bottom_up(pixels)
        outputs: dict[str, Tensor] = {}
        merged: Tensor | None = None
        for level, name in reversed(self._levels.items()):
            lateral = self.get_submodule(f"fpn_lateral{level}")(below[name])
            if merged is None:
                merged = lateral
            else:
                merged = lateral + F.interpolate(merged, size=lateral.shape[-2:], mode="nearest")
                if self.fuse == "avg":
                    merged = merged / 2
            outputs[f"p{level}"] = self.get_submodule(f"fpn_output{level}")(merged)
        outputs = dict(reversed(outputs.items()))
        highest = max(self._levels)
        if self.top == "maxpool":
            outputs[f"p{highest + 1}"] = F.max_pool2d(outputs[f"p{highest}"], kernel_size=1, stride=2)
        elif self.top == "convolutions":
            coarsest = below[self._levels[highest]] if self.top_input == "bottom_up" else outputs[f"p{highest}"]
            outputs |= self.top_block(coarsest)
        return outputs


class TopConvolutions(nn.Module):
    """Two levels on top of a pyramid, each half the size of the one below (Lin et al., "Focal loss", 2017).

    Args:
        level: index of the first level.
        in_channels: number of channels of the feature map below.
        out_channels: number of channels of both new levels.
    """

    def __init__(self, level: int, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.names = (f"p{level}", f"p{level + 1}")
        for name, channels in zip(self.names, (in_channels, out_channels), strict=True):
            conv = nn.Conv2d(channels, out_channels, 3, stride=2, padding=1)
            draw_weights(conv, "uniform")
            self.add_module(name, conv)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        """(B, in_channels, H, W) to two levels of half and a quarter the size."""
        first, second = (self.get_submodule(name) for name in self.names)
        x = first(x)
        return {self.names[0]: x, self.names[1]: second(F.relu(x))}
