"""The layers between the pooled features of a region and the predictor of DensePose."""

import torch
from det_core.ops.layers import Conv2d, Norm, draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ASPP", "DensePoseDeepLabHead", "DensePoseV1ConvXHead", "NonLocalBlock", "initialize"]


class DensePoseV1ConvXHead(nn.Module):
    """A stack of 3 x 3 convolutions (Guler et al., "DensePose", 2018).

    Args:
        in_channels: number of channels of the pooled features.
        num_conv: number of convolutions of the head.
        conv_dim: number of channels of each convolution.
        kernel_size: kernel size of the convolutions, an odd number of pixels.

    Attributes:
        out_channels: number of channels of the output.
    """

    def __init__(self, in_channels: int, num_conv: int = 8, conv_dim: int = 512, kernel_size: int = 3) -> None:
        super().__init__()
        self.out_channels = _add_convolutions(self, in_channels, num_conv, conv_dim, kernel_size, "")
        self._names = _names(num_conv)
        initialize(self)

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, in_channels, S, S) to (P, out_channels, S, S)."""
        for name in self._names:
            pooled = self.get_submodule(name)(pooled)
        return pooled


class DensePoseDeepLabHead(nn.Module):
    """Atrous spatial pyramid pooling before a stack of 3 x 3 convolutions.

    Args:
        in_channels: number of channels of the pooled features.
        num_conv: number of convolutions after the pooling.
        conv_dim: number of channels of each convolution.
        kernel_size: kernel size of the convolutions, an odd number of pixels.
        norm: kind of norm after the convolutions.
        nonlocal_block: whether a non-local block is between pooling and convolutions.

    Attributes:
        out_channels: number of channels of the output.
    """

    def __init__(
        self,
        in_channels: int,
        num_conv: int = 8,
        conv_dim: int = 512,
        kernel_size: int = 3,
        norm: Norm = "GN",
        nonlocal_block: bool = False,
    ) -> None:
        super().__init__()
        self.ASPP = ASPP(in_channels, in_channels)
        self.NLBlock = NonLocalBlock(in_channels) if nonlocal_block else None
        self.out_channels = _add_convolutions(self, in_channels, num_conv, conv_dim, kernel_size, norm)
        self._names = _names(num_conv)
        initialize(self)
        if self.NLBlock is not None:
            self.NLBlock.reset()

    def forward(self, pooled: Tensor) -> Tensor:
        """(P, in_channels, S, S) to (P, out_channels, S, S)."""
        x: Tensor = self.ASPP(pooled)
        if self.NLBlock is not None:
            x = self.NLBlock(x)
        for name in self._names:
            x = self.get_submodule(name)(x)
        return x


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., "Rethinking atrous convolution", 2017), as DensePose has it.

    Nothing follows the projection but a ReLU. A rate of 56 on maps of 28 x 28 leaves the center of the kernel alone;
    published weights are trained so.

    Args:
        in_channels: number of channels of the input.
        channels: number of channels of each branch and of the output.
        rates: dilations of the 3 x 3 branches.
    """

    def __init__(self, in_channels: int, channels: int, rates: tuple[int, ...] = (6, 12, 56)) -> None:
        super().__init__()
        branches: list[nn.Module] = [_normalized(nn.Conv2d(in_channels, channels, 1, bias=False))]
        for rate in rates:
            branches.append(_normalized(nn.Conv2d(in_channels, channels, 3, padding=rate, dilation=rate, bias=False)))
        pooling = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(in_channels, channels, 1, bias=False),
            nn.GroupNorm(32, channels),
            nn.ReLU(),
        )
        self.convs = nn.ModuleList([*branches, pooling])
        self.project = nn.Sequential(nn.Conv2d(len(self.convs) * channels, channels, 1, bias=False), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """(P, in_channels, H, W) to (P, channels, H, W)."""
        branches = [branch(x) for branch in self.convs]
        branches[-1] = branches[-1].expand(-1, -1, *x.shape[-2:])
        projected: Tensor = self.project(torch.cat(branches, dim=1))
        return projected


class NonLocalBlock(nn.Module):
    """Attention of each cell to all, added to the maps (Wang et al., "Non-local neural networks", 2018).

    The embedded Gaussian with half the channels, keys and values pooled 2 x 2. It starts as the identity.

    Args:
        channels: number of channels of the maps.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.g = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.MaxPool2d(2))
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Sequential(nn.Conv2d(channels, inner, 1), nn.MaxPool2d(2))
        self.W = nn.Sequential(nn.Conv2d(inner, channels, 1), nn.GroupNorm(32, channels))
        self.reset()

    def reset(self) -> None:
        """Make it the identity again."""
        nn.init.zeros_(self.W[1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.W[1].bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(P, channels, H, W) to the same shape; H and W at least 2."""
        queries = self.theta(x).flatten(2).transpose(1, 2)
        keys, values = self.phi(x).flatten(2), self.g(x).flatten(2).transpose(1, 2)
        attended = (queries @ keys).softmax(-1) @ values
        added: Tensor = self.W(attended.transpose(1, 2).unflatten(2, x.shape[-2:]))
        return x + added


def initialize(module: nn.Module) -> None:
    """Draw the weights of all convolutions within, as those before a ReLU."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d | nn.ConvTranspose2d):
            draw_weights(child, "relu")


def _normalized(conv: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(conv, nn.GroupNorm(32, conv.out_channels), nn.ReLU())


def _names(num_conv: int) -> list[str]:
    return [f"body_conv_fcn{i + 1}" for i in range(num_conv)]


def _add_convolutions(module: nn.Module, width: int, count: int, conv_dim: int, kernel_size: int, norm: Norm) -> int:
    """Give a module its convolutions; returns the channels of the last."""
    for name in _names(count):
        module.add_module(name, Conv2d(width, conv_dim, kernel_size, norm=norm, activation=F.relu_))
        width = conv_dim
    return width
