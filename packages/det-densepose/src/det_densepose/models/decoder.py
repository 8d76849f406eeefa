"""One map of all levels of a pyramid, as in Panoptic FPN (Kirillov et al., 2019)."""

import math
from collections.abc import Mapping, Sequence

from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, Norm, draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Decoder"]


class Decoder(nn.Module):
    """Brings each level to the finest stride by convolutions and doublings, adds them up, and projects the sum.

    Args:
        channels: level -> number of channels of the input levels.
        strides: level -> stride in pixels of the same levels, finest first.
        out_channels: number of channels of the decoded map.
        conv_dim: number of channels of the convolutions.
        norm: kind of norm after the convolutions.
        stride: stride of the output, which must be that of the finest level; null to accept any.
    """

    def __init__(
        self,
        channels: Mapping[str, int],
        strides: Mapping[str, int],
        out_channels: int = 256,
        conv_dim: int = 256,
        norm: Norm = "",
        stride: int | None = None,
    ) -> None:
        super().__init__()
        self.out_channels, self._levels = out_channels, tuple(strides)
        finest = min(strides.values())
        if stride not in (None, finest):
            raise ConfigError("Decoder.stride", "must be that of the finest level", f"got {stride}, which has {finest}")
        for name, level_stride in strides.items():
            steps: list[nn.Module] = []
            width = channels[name]
            for number in range(max(1, round(math.log2(level_stride / finest)))):
                if number:
                    steps.append(_upsampling())
                conv = Conv2d(width, conv_dim, 3, norm=norm, activation=F.relu_)
                draw_weights(conv, "relu")
                steps.append(conv)
                width = conv_dim
            self.add_module(name, nn.Sequential(*steps))
        self._finest = frozenset(name for name, level_stride in strides.items() if level_stride == finest)
        self._upsample = _upsampling()
        self.predictor = Conv2d(conv_dim, out_channels, 1)
        draw_weights(self.predictor, "relu")

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """{level: (B, C, H_i, W_i)} to (B, out_channels, H, W) of the finest."""
        fine: list[Tensor] = []  # at the finest stride
        coarse: list[Tensor] = []  # at twice that
        for name in self._levels:
            level = self.get_submodule(name)(features[name])
            (fine if name in self._finest else coarse).append(level)
        if coarse:
            # The last upsampling is linear: that of the sum is the sum of those of all levels.
            fine.append(self._upsample(_sum(coarse)))
        projected: Tensor = self.predictor(_sum(fine))
        return projected


def _upsampling() -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)


def _sum(levels: Sequence[Tensor]) -> Tensor:
    """The sum of maps of one shape, in their order."""
    total = levels[0]
    for level in levels[1:]:
        total = total + level
    return total
