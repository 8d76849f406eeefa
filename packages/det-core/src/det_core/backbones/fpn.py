"""Feature pyramid networks (Lin et al., "Feature Pyramid Networks for object detection", 2017)."""

import math
from collections.abc import Sequence
from typing import Literal, cast

from torch import Tensor, nn
from torch.nn import functional as F

from det_core.contracts import Backbone
from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, Norm

__all__ = ["FPN"]


class FPN(nn.Module):
    """Adds what coarse levels know to the fine ones; every level gets the same number of channels.

    Level names are "p" and the binary logarithm of the stride: p2 has stride 4.

    Args:
        bottom_up: the network underneath; its strides must double from level to level.
        in_features: its levels that are used, finest first; None for all.
        out_channels: of every level.
        norm: of the lateral and output convolutions.
        fuse: whether the two inputs of a level are added or averaged.
        top: one more level of twice the stride on top, by subsampling the coarsest (published for R-CNN), or none.
    """

    def __init__(
        self,
        bottom_up: Backbone,
        *,
        in_features: Sequence[str] | None = None,
        out_channels: int = 256,
        norm: Norm = "",
        fuse: Literal["sum", "avg"] = "sum",
        top: Literal["maxpool"] | None = "maxpool",
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
        self.fuse, self.top = fuse, top
        self._levels = dict(zip(levels, names, strict=True))
        for level, name in self._levels.items():
            lateral = Conv2d(bottom_up.channels[name], out_channels, 1, norm=norm)
            output = Conv2d(out_channels, out_channels, 3, norm=norm)
            for part, module in (("lateral", lateral), ("output", output)):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
                self.add_module(f"fpn_{part}{level}", module)
        if top:
            levels = [*levels, levels[-1] + 1]
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
        if self.top:
            highest = max(self._levels)
            outputs[f"p{highest + 1}"] = F.max_pool2d(outputs[f"p{highest}"], kernel_size=1, stride=2)
        return outputs
