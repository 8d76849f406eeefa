"""RegNetX and RegNetY (Radosavovic et al., "Designing network design spaces", 2020)."""

import math
from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from det_core.errors import ConfigError
from det_core.ops.layers import Norm, freeze, make_norm
from det_core.ops.resnet_blocks import through_stages

__all__ = ["RegNet", "stages_of"]

_STAGES = ("s1", "s2", "s3", "s4")
_QUANTUM = 8


def stages_of(depth: int, width: int, slope: float, multiplier: float, group_width: int) -> list[tuple[int, int]]:
    """(blocks, channels) of each stage: widths rise linearly, and are quantized to multiples of the group width.

    Block i would have width + slope * i channels; that is rounded to a power of `multiplier` times `width`, then to a
    multiple of 8, then to a multiple of the group width.
    """
    widths = []
    for i in range(depth):
        power = round(math.log((width + slope * i) / width) / math.log(multiplier))
        widths.append(round(width * multiplier**power / _QUANTUM) * _QUANTUM)
    stages = []
    for channels in sorted(set(widths)):
        group = min(group_width, channels)
        stages.append((widths.count(channels), max(group, round(channels / group) * group)))
    return stages


class SqueezeExcitation(nn.Module):
    """Weighs channels by a global average (Hu et al., "Squeeze-and-excitation networks", 2018)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.f_ex = nn.Sequential(nn.Conv2d(channels, squeezed, 1), nn.ReLU(), nn.Conv2d(squeezed, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return x * self.f_ex(x.mean(dim=(2, 3), keepdim=True)).sigmoid()


class Transform(nn.Module):
    """1 x 1, grouped 3 x 3 and 1 x 1 convolutions, the residual of a block."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: Norm, group_width: int, se: int) -> None:
        super().__init__()
        groups = channels // min(group_width, channels)
        self.a = nn.Conv2d(in_channels, channels, 1, bias=False)
        self.a_bn = make_norm(norm, channels) or nn.Identity()
        self.b = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, groups=groups, bias=False)
        self.b_bn = make_norm(norm, channels) or nn.Identity()
        self.se = SqueezeExcitation(channels, se) if se else None
        self.c = nn.Conv2d(channels, channels, 1, bias=False)
        self.c_bn = make_norm(norm, channels) or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        x = F.relu(self.a_bn(self.a(x)))
        x = F.relu(self.b_bn(self.b(x)))
        if self.se is not None:
            x = self.se(x)
        residual: Tensor = self.c_bn(self.c(x))
        return residual


class Block(nn.Module):
    """A residual block; `proj` and `bn` are its shortcut where the shape changes."""

    def __init__(self, in_channels: int, channels: int, stride: int, norm: Norm, group_width: int, se: int) -> None:
        super().__init__()
        self.proj: nn.Conv2d | None = None
        if in_channels != channels or stride != 1:
            self.proj = nn.Conv2d(in_channels, channels, 1, stride=stride, bias=False)
            self.bn = make_norm(norm, channels) or nn.Identity()
        self.f = Transform(in_channels, channels, stride, norm, group_width, se)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        shortcut = x if self.proj is None else self.bn(self.proj(x))
        return F.relu(shortcut + self.f(x))


class Stem(nn.Module):
    """A 3 x 3 convolution of stride 2."""

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, stride=2, padding=1, bias=False)
        self.bn = make_norm(norm, channels) or nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, channels, ceil(H / 2), ceil(W / 2))."""
        return F.relu(self.bn(self.conv(x)))


class RegNet(nn.Module):
    """RegNetX, or RegNetY where `se_ratio` is above 0, without the classifier.

    The defaults are RegNetX-4GF's; RegNetY-4GF has depth 22, slope 31.41, multiplier 2.24, group_width 64 and
    se_ratio 0.25.

    Args:
        depth: number of blocks of all four stages together.
        width: initial width in channels (w_0).
        slope: increase of width per block (w_a).
        multiplier: ratio of widths between stages, before rounding (w_m).
        group_width: channels of one group of the 3 x 3 convolutions.
        se_ratio: squeezed channels of each block as a fraction of its input channels; 0 for no squeeze-and-excitation.
        stem_channels: output channels of the stem.
        out_features: returned stages, some of s1 (stride 4), s2, s3, s4 (stride 32); later stages are not built.
        norm: norm layer of every convolution.
        freeze_at: number of stages excluded from training, counted from the stem.
    """

    def __init__(
        self,
        depth: int = 23,
        width: int = 96,
        slope: float = 38.65,
        multiplier: float = 2.43,
        group_width: int = 40,
        *,
        se_ratio: float = 0.0,
        stem_channels: int = 32,
        out_features: Sequence[str] = _STAGES,
        norm: Norm = "FrozenBN",
        freeze_at: int = 2,
    ) -> None:
        super().__init__()
        if width <= 0 or slope < 0 or multiplier <= 1 or width % _QUANTUM or group_width < 1:
            found = f"got width {width}, slope {slope}, multiplier {multiplier}, group_width {group_width}"
            raise ConfigError(
                "RegNet", "needs a width that 8 divides, a slope of 0 or more, a multiplier above 1", found
            )
        counts = stages_of(depth, width, slope, multiplier, group_width)
        stages = {f"s{i + 1}": count for i, count in enumerate(counts)}
        if not out_features or not set(out_features) <= set(stages):
            raise ConfigError("RegNet.out_features", f"must name some of {', '.join(stages)}", f"got {out_features}")
        self.stem = Stem(stem_channels, norm)
        self.size_divisibility = 1
        self.channels: dict[str, int] = {}
        self.strides: dict[str, int] = {}
        self._stages = list(stages)[: 1 + max(list(stages).index(name) for name in out_features)]
        before, stride = stem_channels, 2
        for name in self._stages:
            blocks, channels = stages[name]
            stage = nn.Sequential()
            for i in range(blocks):
                se = round(before * se_ratio)
                block = Block(before, channels, 2 if i == 0 else 1, norm, group_width, se)
                stage.add_module(f"b{i + 1}", block)
                before = channels
            self.add_module(name, stage)
            stride *= 2
            if name in out_features:
                self.channels[name], self.strides[name] = channels, stride
        self._initialize()
        for name in ("stem", *self._stages)[:freeze_at]:
            freeze(self.get_submodule(name))

    def _initialize(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
                nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
            elif isinstance(module, Transform) and isinstance(module.c_bn, nn.BatchNorm2d | nn.SyncBatchNorm):
                nn.init.zeros_(module.c_bn.weight)  # every block starts as identity

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {stage: (B, channels, ceil(H / stride), ceil(W / stride))}."""
        return through_stages(self, self.stem(pixels), self._stages, self.channels)
