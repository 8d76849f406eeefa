"""Blocks of convolutions, as `detectron2.layers.blocks`."""

from typing import Any

from det_core.ops.layers import freeze
from torch import Tensor, nn

from det_detectron2.layer.layers.batch_norm import get_norm
from det_detectron2.layer.layers.wrappers import Conv2d

__all__ = ["CNNBlockBase", "DepthwiseSeparableConv2d"]


class CNNBlockBase(nn.Module):
    """Base class of blocks with attributes for channels and stride, and `freeze`.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        stride: stride of the block.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.in_channels, self.out_channels, self.stride = in_channels, out_channels, stride

    def freeze(self) -> "CNNBlockBase":
        """Keep all weights as they are from now on, and let batch norms use their constants."""
        for parameter in self.parameters():
            parameter.requires_grad = False
        for name, child in list(self.named_children()):
            setattr(self, name, freeze(child))
        return self


class DepthwiseSeparableConv2d(nn.Module):
    """Depthwise convolution followed by a 1 x 1 convolution (Chollet, "Xception", 2017).

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.
        kernel_size: kernel size of the first convolution.
        padding: padding of the first convolution.
        dilation: dilation of the first convolution.
        norm1: name of the norm after the first convolution.
        activation1: activation function after the first convolution.
        norm2: name of the norm after the second convolution.
        activation2: activation function after the second convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        padding: int = 1,
        dilation: int = 1,
        *,
        norm1: Any = None,
        activation1: Any = None,
        norm2: Any = None,
        activation2: Any = None,
    ) -> None:
        super().__init__()
        form = {"kernel_size": kernel_size, "padding": padding, "dilation": dilation, "groups": in_channels}
        first, second = get_norm(norm1, in_channels), get_norm(norm2, out_channels)
        self.depthwise = Conv2d(in_channels, in_channels, **form, bias=not norm1, norm=first, activation=activation1)
        self.pointwise = Conv2d(
            in_channels, out_channels, kernel_size=1, bias=not norm2, norm=second, activation=activation2
        )
        for layer in (self.depthwise, self.pointwise):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.constant_(layer.bias, 0)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        out: Tensor = self.pointwise(self.depthwise(x))
        return out
