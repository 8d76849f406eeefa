"""The blocks of residual networks (He et al., "Deep residual learning", 2016)."""

from collections.abc import Container, Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from det_core.ops.deform_conv import Deformable, deform_conv, offset_channels
from det_core.ops.layers import Conv2d, Norm

__all__ = ["BasicBlock", "BottleneckBlock", "initialize", "through_stages"]


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
        dilation: dilation of the 3 x 3 convolution.
        deformable: kind of deformable convolution, with a further convolution `conv2_offset`.
        deformable_groups: number of channel groups with separate offsets.
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
        dilation: int = 1,
        deformable: Deformable | None = None,
        deformable_groups: int = 1,
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
        self.conv2_offset: nn.Conv2d | None = None
        self.modulated = deformable == "v2"
        if deformable:
            numbers = offset_channels(deformable, deformable_groups)
            self.conv2_offset = nn.Conv2d(bottleneck, numbers, 3, stride=stride3, padding=dilation, dilation=dilation)
        self.conv3 = Conv2d(bottleneck, out_channels, 1, norm=norm, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        middle = self.conv1(x)
        if self.conv2_offset is None:
            middle = self.conv2(middle)
        else:
            middle = deform_conv(middle, self.conv2_offset(middle), self.conv2, self.modulated)
        out = self.conv3(middle)
        out += x if self.shortcut is None else self.shortcut(x)
        return F.relu_(out)


def _shortcut(in_channels: int, out_channels: int, stride: int, norm: Norm) -> Conv2d | None:
    return (
        None
        if in_channels == out_channels
        else Conv2d(in_channels, out_channels, 1, stride=stride, norm=norm, bias=False)
    )


def initialize(network: nn.Module) -> None:
    """Draw the weights of all convolutions; those of offsets start at zero, without deformation."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for module in network.modules():
        if isinstance(module, BottleneckBlock) and module.conv2_offset is not None:
            nn.init.zeros_(module.conv2_offset.weight)
            nn.init.zeros_(module.conv2_offset.bias)  # type: ignore[arg-type]


def through_stages(
    network: nn.Module, x: Tensor, stages: Sequence[str], requested: Container[str]
) -> dict[str, Tensor]:
    """Outputs of the `requested` stages, which are consecutive parts of `network`."""
    features = {}
    for name in stages:
        x = network.get_submodule(name)(x)
        if name in requested:
            features[name] = x
    return features
