"""A feature pyramid from one map (Li et al., "Exploring plain vision transformer backbones", 2022, section 3)."""

import math
from collections.abc import Callable, Sequence
from typing import Literal, cast

from det_core.contracts import Backbone
from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, Norm, make_norm
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["SimpleFeaturePyramid"]


class SimpleFeaturePyramid(nn.Module):
    """Upsamples and downsamples the last feature map of a network to levels with equal channels.

    Level names are "p" and the binary logarithm of the stride: p2 has stride 4.

    Args:
        net: network underneath; its last feature map is used.
        out_channels: number of channels of every output level.
        scales: size of each level relative to that map, finest first, each half the one before: 4, 2, 1 or 0.5.
        norm: norm layer of the convolutions.
        top: optional extra level of twice the stride, subsampled from the coarsest.
    """

    def __init__(
        self,
        net: Backbone,
        *,
        out_channels: int = 256,
        scales: Sequence[float] = (4.0, 2.0, 1.0, 0.5),
        norm: Norm = "LN",
        top: Literal["maxpool"] | None = "maxpool",
    ) -> None:
        super().__init__()
        if not scales or any(scale != scales[0] / 2**i or scale not in _RESIZED for i, scale in enumerate(scales)):
            supported = ", ".join(map(str, _RESIZED))
            raise ConfigError(
                "SimpleFeaturePyramid.scales", f"must halve by level, out of {supported}", f"got {list(scales)}"
            )
        self.in_feature = list(net.channels)[-1]
        channels, stride = net.channels[self.in_feature], net.strides[self.in_feature]
        levels = [int(math.log2(stride / scale)) for scale in scales]
        if levels[0] < 0 or any(2**level != stride / scale for level, scale in zip(levels, scales, strict=True)):
            found = f"got a map of stride {stride} and the scales {list(scales)}"
            raise ConfigError("SimpleFeaturePyramid", "needs strides that are powers of two", found)
        self._levels = levels
        for level, scale in zip(levels, scales, strict=True):
            resized, width = _RESIZED[scale](channels, norm)
            below = Conv2d(width, out_channels, 1, norm=norm)
            self.add_module(
                f"simfp_{level}", nn.Sequential(*resized, below, Conv2d(out_channels, out_channels, 3, norm=norm))
            )
        self.net = cast(nn.Module, net)
        self.top = top
        levels = [*levels, levels[-1] + 1] if top else levels
        self.channels = {f"p{level}": out_channels for level in levels}
        self.strides = {f"p{level}": 2**level for level in levels}
        self.size_divisibility = max(2 ** self._levels[-1], net.size_divisibility)

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {"p2": (B, out_channels, H / 4, W / 4), ...}, finest first."""
        below = self.net(pixels)[self.in_feature]
        outputs = {f"p{level}": self.get_submodule(f"simfp_{level}")(below) for level in self._levels}
        if self.top:
            highest = self._levels[-1]
            outputs[f"p{highest + 1}"] = F.max_pool2d(outputs[f"p{highest}"], kernel_size=1, stride=2)
        return outputs


Resized = tuple[list[nn.Module], int]
"""Resampling layers, and their output channels."""


def _quadrupled(channels: int, norm: Norm) -> Resized:
    half, quarter = channels // 2, channels // 4
    between = [make_norm(norm, half) or nn.Identity(), nn.GELU()]
    first, second = nn.ConvTranspose2d(channels, half, 2, stride=2), nn.ConvTranspose2d(half, quarter, 2, stride=2)
    return [first, *between, second], quarter


_RESIZED: dict[float, Callable[[int, Norm], Resized]] = {
    4.0: _quadrupled,
    2.0: lambda channels, norm: ([nn.ConvTranspose2d(channels, channels // 2, 2, stride=2)], channels // 2),
    1.0: lambda channels, norm: ([], channels),
    0.5: lambda channels, norm: ([nn.MaxPool2d(2, stride=2)], channels),
}
