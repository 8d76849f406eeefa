"""Residual networks (He et al., "Deep residual learning", 2016) and ResNeXt (Xie et al., 2017)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from det_core.errors import ConfigError
from det_core.ops.deform_conv import Deformation
from det_core.ops.layers import Conv2d, Norm, freeze
from det_core.ops.resnet_blocks import BasicBlock, BottleneckBlock, initialize, through_stages

__all__ = ["BasicStem", "ResNet"]

_BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
_STAGES = ("res2", "res3", "res4", "res5")


class BasicStem(nn.Module):
    """A 7 x 7 convolution and max pooling: stride 4."""

    def __init__(self, out_channels: int, norm: Norm) -> None:
        super().__init__()
        self.conv1 = Conv2d(3, out_channels, 7, stride=2, norm=norm, bias=False, activation=F.relu_)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, out_channels, ceil(H / 4), ceil(W / 4))."""
        return F.max_pool2d(self.conv1(x), kernel_size=3, stride=2, padding=1)


def _check(depth: int, out_features: Sequence[str], deformable_stages: Sequence[str], bottlenecks_only: bool) -> None:
    if not out_features or not set(out_features) <= set(_STAGES):
        raise ConfigError("ResNet.out_features", f"must name some of {', '.join(_STAGES)}", f"got {out_features}")
    if depth < 50 and (bottlenecks_only or deformable_stages):
        problem = "groups, dilation and deformable stages need bottleneck blocks"
        raise ConfigError("ResNet.depth", problem, f"depth is {depth}")
    if not set(deformable_stages) <= set(_STAGES):
        found = f"got {list(deformable_stages)}"
        raise ConfigError("ResNet.deformation.stages", f"must name some of {', '.join(_STAGES)}", found)


def _set_eps(module: nn.Module, eps: float) -> None:
    for norm in module.modules():
        if hasattr(norm, "eps"):
            norm.eps = eps  # type: ignore[assignment]


class ResNet(nn.Module):
    """ResNet-18 to 152 and ResNeXt, without the classifier.

    Args:
        depth: number of layers: 18, 34, 50, 101 or 152.
        out_features: returned stages, some of res2 (stride 4), res3, res4, res5 (stride 32); later stages are not
            built.
        norm: norm layer of every convolution. FrozenBN suits pretrained weights and small batches; it is not trained.
        norm_eps: epsilon of these; None for the usual 1e-5.
        freeze_at: number of stages excluded from training, counted from the stem.
        stride_in_1x1: see `BottleneckBlock`; True for the Caffe2 weights, False for torchvision's and ResNeXt.
        groups: groups of the 3 x 3 convolutions (32 for ResNeXt 32x8d).
        width_per_group: channels per group in res2, doubled each stage (8 for ResNeXt 32x8d).
        res2_channels: output channels of res2, doubled each stage; by default 64 with basic blocks, 256 with
            bottlenecks.
        stem_channels: output channels of the stem.
        res5_dilation: 2 to keep res5 at stride 16 and dilate instead.
        deformation: stages with deformable 3 x 3 convolutions, and their kind.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        *,
        out_features: Sequence[str] = _STAGES,
        norm: Norm = "FrozenBN",
        norm_eps: float | None = None,
        freeze_at: int = 2,
        stride_in_1x1: bool = True,
        groups: int = 1,
        width_per_group: int = 64,
        res2_channels: int | None = None,
        stem_channels: int = 64,
        res5_dilation: Literal[1, 2] = 1,
        deformation: Deformation = Deformation(),  # noqa: B008 (frozen)
    ) -> None:
        super().__init__()
        basic = depth < 50
        _check(depth, out_features, deformation.stages, bottlenecks_only=groups != 1 or res5_dilation != 1)
        block: Callable[..., nn.Module] = partial(BasicBlock, norm=norm)
        if not basic:
            block = partial(BottleneckBlock, norm=norm, groups=groups, stride_in_1x1=stride_in_1x1)
        self.stem = BasicStem(stem_channels, norm)
        self.size_divisibility = 1
        self.channels: dict[str, int] = {}
        self.strides: dict[str, int] = {}
        self._stages = _STAGES[: 1 + max(_STAGES.index(name) for name in out_features)]
        channels, stride = stem_channels, 4
        for i, name in enumerate(self._stages):
            dilation = res5_dilation if name == "res5" else 1
            first = 1 if name == "res2" or dilation > 1 else 2
            out = (res2_channels or (64 if basic else 256)) * 2**i
            options: dict[str, Any] = {}
            if not basic:
                options = {"bottleneck": groups * width_per_group * 2**i, "dilation": dilation}
            if name in deformation.stages:
                options |= {"deformable": deformation.kind, "deformable_groups": deformation.groups}
            blocks = [block(channels, out, stride=first, **options)]
            blocks += [block(out, out, stride=1, **options) for _ in range(_BLOCKS[depth][i] - 1)]
            self.add_module(name, nn.Sequential(*blocks))
            channels, stride = out, stride * first
            if name in out_features:
                self.channels[name], self.strides[name] = channels, stride
        initialize(self)
        if norm_eps is not None:
            _set_eps(self, norm_eps)
        for name in ("stem", *self._stages)[:freeze_at]:
            freeze(self.get_submodule(name))

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {stage: (B, channels, ceil(H / stride), ceil(W / stride))}."""
        return through_stages(self, self.stem(pixels), self._stages, self.channels)
