"""Dilated residual networks of DeepLab (Chen et al., "Rethinking atrous convolution", 2017)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from det_core.backbones.resnet import BasicStem
from det_core.errors import ConfigError
from det_core.ops.deform_conv import Deformation
from det_core.ops.layers import Conv2d, Norm, freeze
from det_core.ops.resnet_blocks import BottleneckBlock, initialize, through_stages
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["DeepLabResNet", "DeepLabStem", "Dilations"]

_BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_STAGES = ("res2", "res3", "res4", "res5")


class DeepLabStem(nn.Module):
    """Three 3 x 3 convolutions and max pooling: stride 4."""

    def __init__(self, out_channels: int, norm: Norm) -> None:
        super().__init__()
        half = out_channels // 2
        self.conv1 = Conv2d(3, half, 3, stride=2, norm=norm, bias=False, activation=F.relu_)
        self.conv2 = Conv2d(half, half, 3, norm=norm, bias=False, activation=F.relu_)
        self.conv3 = Conv2d(half, out_channels, 3, norm=norm, bias=False, activation=F.relu_)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, out_channels, ceil(H / 4), ceil(W / 4))."""
        return F.max_pool2d(self.conv3(self.conv2(self.conv1(x))), kernel_size=3, stride=2, padding=1)


@dataclass(frozen=True)
class Dilations:
    """The dilations of the last stages.

    Attributes:
        res4: 2 to keep res4 at stride 8; res5 then needs 4.
        res5: 2 to keep res5 at the stride of res4.
        multi_grid: factors of the dilation of res5, one for each of its three blocks.
    """

    res4: Literal[1, 2] = 1
    res5: Literal[1, 2, 4] = 2
    multi_grid: tuple[int, int, int] = (1, 2, 4)


class DeepLabResNet(nn.Module):
    """ResNet-50, 101 or 152 with dilation in place of stride in the last stages; R-52, R-103 ... with the DeepLab stem.

    Args:
        depth: number of layers, with the stem counted as one.
        out_features: returned stages, some of res2 (stride 4), res3, res4, res5; later stages are not built.
        norm: norm layer of every convolution.
        freeze_at: number of stages excluded from training, counted from the stem.
        stem: "deeplab" for three 3 x 3 convolutions, "basic" for one of 7 x 7.
        stem_channels: output channels of the stem.
        stride_in_1x1: whether the first 1 x 1 convolution has the stride instead of the 3 x 3 one.
        groups: groups of the 3 x 3 convolutions (ResNeXt).
        width_per_group: channels per group in res2, doubled each stage.
        res2_channels: output channels of res2, doubled each stage.
        dilations: dilations of the last stages.
        deformation: stages with deformable 3 x 3 convolutions, and their kind.
    """

    def __init__(
        self,
        depth: Literal[50, 101, 152] = 50,
        *,
        out_features: Sequence[str] = _STAGES,
        norm: Norm = "SyncBN",
        freeze_at: int = 0,
        stem: Literal["deeplab", "basic"] = "deeplab",
        stem_channels: int = 128,
        stride_in_1x1: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        res2_channels: int = 256,
        dilations: Dilations = Dilations(),
        deformation: Deformation = Deformation(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        _check(out_features, deformation.stages, dilations.res4, dilations.res5)
        self.stem = (DeepLabStem if stem == "deeplab" else BasicStem)(stem_channels, norm)
        self.size_divisibility = 1
        self.channels: dict[str, int] = {}
        self.strides: dict[str, int] = {}
        self._stages = _STAGES[: 1 + max(_STAGES.index(name) for name in out_features)]
        channels, stride = stem_channels, 4
        for i, name in enumerate(self._stages):
            count, out = _BLOCKS[depth][i], res2_channels * 2**i
            dilation = {"res4": dilations.res4, "res5": dilations.res5}.get(name, 1)
            first = 1 if name == "res2" or dilation > 1 else 2
            of_blocks = [dilation * factor for factor in dilations.multi_grid] if name == "res5" else [dilation] * count
            options: dict[str, Any] = {"norm": norm, "groups": groups, "stride_in_1x1": stride_in_1x1}
            if name in deformation.stages:
                options |= {"deformable": deformation.kind, "deformable_groups": deformation.groups}
            blocks = []
            for place, each in enumerate(of_blocks):
                width, step = groups * width_per_group * 2**i, first if place == 0 else 1
                blocks.append(BottleneckBlock(channels, out, width, stride=step, dilation=each, **options))
                channels = out
            self.add_module(name, nn.Sequential(*blocks))
            stride *= first
            if name in out_features:
                self.channels[name], self.strides[name] = channels, stride
        initialize(self)
        for name in ("stem", *self._stages)[:freeze_at]:
            freeze(self.get_submodule(name))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {stage: (B, channels, ceil(H / stride), ceil(W / stride))}."""
        return through_stages(self, self.stem(pixels), self._stages, self.channels)


def _check(out_features: Sequence[str], deformable_stages: Sequence[str], res4: int, res5: int) -> None:
    where, problem = "DeepLabResNet", f"must name some of {', '.join(_STAGES)}"
    if not out_features or not set(out_features) <= set(_STAGES):
        raise ConfigError(f"{where}.out_features", problem, f"got {list(out_features)}")
    if not set(deformable_stages) <= set(_STAGES):
        raise ConfigError(f"{where}.deformation.stages", problem, f"got {list(deformable_stages)}")
    if res4 == 2 and res5 != 4:
        raise ConfigError(f"{where}.dilations.res5", "must be 4 where res4 is dilated by 2", f"got {res5}")
