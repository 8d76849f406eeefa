"""The small layers of FBNet: convolution with norm and activation, squeeze-and-excitation, blur, upsampling."""

from collections.abc import Callable
from typing import cast

import torch
from det_core.ops.layers import Norm, make_norm
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

__all__ = ["Activation", "BlurPool", "ConvNorm", "SqueezeExcite", "divisible", "enlarge"]

Activation = Callable[[Tensor], Tensor]


def divisible(number: float, divisor: int) -> int:
    """The multiple of `divisor` nearest to `number`, halves up; the next one where that is below 0.95 of it."""
    if number % divisor == 0:
        return max(int(number), divisor)
    rounded = max(int(number / divisor + 0.5), 1) * divisor
    return rounded + divisor if rounded < 0.95 * number else rounded


def enlarge(x: Tensor, factor: int) -> Tensor:
    """(B, C, H, W) to (B, C, H * factor, W * factor), each pixel repeated; B may be 0."""
    if not torch.compiler.is_exporting() and not len(x):
        return x.repeat_interleave(factor, dim=2).repeat_interleave(factor, dim=3)
    return F.interpolate(x, scale_factor=float(factor), mode="nearest")


class ConvNorm(nn.Module):
    """A convolution `conv`, its norm `bn`, an activation, and upsampling if the stride is negative.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        kernel_size: kernel size, an odd number of pixels; the padding is half of it.
        stride: stride of the convolution; negative to upsample by this factor after the activation.
        groups: number of groups of the convolution.
        bias: whether the convolution has a bias, even with a norm.
        norm: kind of norm after the convolution.
        activation: activation function after the norm.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        groups: int = 1,
        bias: bool = False,
        norm: Norm = "",
        activation: Activation | None = None,
    ) -> None:
        super().__init__()
        options = {"stride": max(stride, 1), "padding": kernel_size // 2, "groups": groups, "bias": bias}
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, **options)  # type: ignore[arg-type]
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")
        if self.conv.bias is not None:
            nn.init.zeros_(self.conv.bias)
        self.bn = make_norm(norm, out_channels)
        self.activation, self.factor = activation, max(-stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, ceil(H / stride), ceil(W / stride))."""
        x = self.conv(x)
        if self.bn is not None:
            x = _normalized(x, self.bn) if torch.compiler.is_exporting() else self.bn(x)
        if self.activation is not None:
            x = self.activation(x)
        return enlarge(x, self.factor) if self.factor > 1 else x


def _normalized(x: Tensor, norm: nn.Module) -> Tensor:
    """The norm of an exported program: `F.batch_norm` checks for an empty batch, and the number of regions is free."""
    if not isinstance(norm, _BatchNorm) or norm.training or norm.running_mean is None or norm.running_var is None:
        return cast(Tensor, norm(x))
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return x * factor[:, None, None] + (norm.bias - norm.running_mean * factor)[:, None, None]


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: scales channels by gates computed from the means of all channels (Hu et al., 2018).

    Args:
        channels: number of channels of input and output.
        middle: number of channels between the two 1 x 1 convolutions.
        activation: activation function after the first convolution.
        gate: gate function after the second convolution, with values from 0 to 1.
    """

    def __init__(self, channels: int, middle: int, activation: Activation, gate: Activation) -> None:
        super().__init__()
        squeeze = ConvNorm(channels, middle, 1, bias=True, activation=activation)
        self.se, self.gate = nn.Sequential(squeeze, nn.Conv2d(middle, channels, 1)), gate

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to the same shape."""
        return x * self.gate(self.se(F.adaptive_avg_pool2d(x, 1)))


class BlurPool(nn.Module):
    """Takes every `stride`-th pixel of a blurred map, against aliasing (Zhang, "Making convolutional networks
    shift-invariant again", 2019). The kernel, 4 x 4 binomial numbers, is a constant that is kept among the weights.
    """

    def __init__(self, channels: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 4, stride=stride, groups=channels, bias=False)
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
        kernel = (row[:, None] * row).expand(channels, 1, 4, 4).clone()
        self.conv.weight = nn.Parameter(kernel, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, H, W) to (B, channels, ceil(H / stride), ceil(W / stride))."""
        blurred: Tensor = self.conv(F.pad(x, (1, 2, 1, 2)))
        return blurred
