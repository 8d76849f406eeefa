"""Residual networks (He et al., "Deep residual learning", 2016) and ResNeXt (Xie et al., 2017)."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, Norm, freeze

__all__ = ["BasicBlock", "BasicStem", "BottleneckBlock", "ResNet"]

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


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; the block of ResNet-18 and 34."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm: Norm) -> None:
        super().__init__()
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = Conv2d(in_channels, out_channels, 3, stride=stride, norm=norm, bias=False, activation=F.relu_)
        self.conv2 = Conv2d(out_channels, out_channels, 3, norm=norm, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        out = self.conv2(self.conv1(x))
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


class BottleneckBlock(nn.Module):
    """A 3 x 3 convolution between two of 1 x 1, beside a shortcut.

    Args:
        bottleneck: channels of the 3 x 3 convolution, in all groups together.
        stride_in_1x1: whether the first convolution strides (the original and its Caffe2 weights) or the 3 x 3 one.
        dilation: of the 3 x 3 convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        bottleneck: int,
        *,
        stride: int,
        norm: Norm,
        groups: int,
        stride_in_1x1: bool,
        dilation: int,
    ) -> None:
        super().__init__()
        stride1, stride3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.shortcut = _shortcut(in_channels, out_channels, stride, norm)
        self.conv1 = Conv2d(in_channels, bottleneck, 1, stride=stride1, norm=norm, bias=False, activation=F.relu_)
        self.conv2 = Conv2d(
            bottleneck,
            bottleneck,
            3,
            stride=stride3,
            dilation=dilation,
            groups=groups,
            norm=norm,
            bias=False,
            activation=F.relu_,
        )
        self.conv3 = Conv2d(bottleneck, out_channels, 1, norm=norm, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        out = self.conv3(self.conv2(self.conv1(x)))
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: Norm) -> Conv2d | None:
    return (
        None
        if in_channels == out_channels
        else Conv2d(in_channels, out_channels, 1, stride=stride, norm=norm, bias=False)
    )


class ResNet(nn.Module):
    """ResNet-18 to 152 and ResNeXt, without the classifier.

    Args:
        depth: number of layers.
        out_features: which of res2 (stride 4), res3, res4, res5 (stride 32) are returned; later stages are not built.
        norm: of every convolution. FrozenBN suits pretrained weights and small batches; it learns nothing.
        freeze_at: how many of stem, res2, res3 ... are excluded from training, from the first.
        stride_in_1x1: see `BottleneckBlock`; True for the Caffe2 weights, False for torchvision's and ResNeXt.
        groups: of the 3 x 3 convolutions (32 for ResNeXt 32x8d).
        width_per_group: channels per group in res2, doubled each stage (8 for ResNeXt 32x8d).
        res2_channels: output of res2, doubled each stage; by default 64 with basic blocks, 256 with bottlenecks.
        stem_channels: output of the stem.
        res5_dilation: 2 to keep res5 at stride 16 and dilate instead.
    """

    def __init__(
        self,
        depth: Literal[18, 34, 50, 101, 152] = 50,
        *,
        out_features: Sequence[str] = _STAGES,
        norm: Norm = "FrozenBN",
        freeze_at: int = 2,
        stride_in_1x1: bool = True,
        groups: int = 1,
        width_per_group: int = 64,
        res2_channels: int | None = None,
        stem_channels: int = 64,
        res5_dilation: Literal[1, 2] = 1,
    ) -> None:
        super().__init__()
        basic = depth < 50
        if not out_features or not set(out_features) <= set(_STAGES):
            raise ConfigError("ResNet.out_features", f"must name some of {', '.join(_STAGES)}", f"got {out_features}")
        if basic and (groups != 1 or res5_dilation != 1):
            raise ConfigError("ResNet.depth", "groups and dilation need bottleneck blocks", f"depth is {depth}")
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
            width = {} if basic else {"bottleneck": groups * width_per_group * 2**i, "dilation": dilation}
            blocks = [block(channels, out, stride=first, **width)]
            blocks += [block(out, out, stride=1, **width) for _ in range(_BLOCKS[depth][i] - 1)]
            self.add_module(name, nn.Sequential(*blocks))
            channels, stride = out, stride * first
            if name in out_features:
                self.channels[name], self.strides[name] = channels, stride
        self._initialise()
        for name in ("stem", *self._stages)[:freeze_at]:
            freeze(self.get_submodule(name))

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, pixels: Tensor) -> dict[str, Tensor]:
        """(B, 3, H, W) to {stage: (B, channels, ceil(H / stride), ceil(W / stride))}."""
        features, x = {}, self.stem(pixels)
        for name in self._stages:
            x = self.get_submodule(name)(x)
            if name in self.channels:
                features[name] = x
        return features
