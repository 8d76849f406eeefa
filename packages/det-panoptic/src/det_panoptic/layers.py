"""Pyramid pooling with dilated convolutions, and depthwise separable convolutions."""

from collections.abc import Sequence
from typing import Any

import torch
from det_core.errors import ConfigError
from det_core.ops.layers import Conv2d, Norm, draw_weights
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["ASPP", "DepthwiseSeparableConv2d", "conv", "pool_size"]


def conv(in_channels: int, out_channels: int, kernel_size: int, norm: Norm, dilation: int = 1) -> Conv2d:
    """A convolution with norm and ReLU, and the uniform initialization of Caffe2's Xavier fill."""
    layer = Conv2d(in_channels, out_channels, kernel_size, dilation=dilation, norm=norm, activation=F.relu)
    draw_weights(layer, "uniform")
    return layer


class DepthwiseSeparableConv2d(nn.Module):
    """A depthwise convolution, then a pointwise one of 1 x 1 (Chollet, "Xception", 2017).

    Both have norm and ReLU.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, norm: Norm = "", dilation: int = 1
    ) -> None:
        super().__init__()
        self.depthwise = Conv2d(
            in_channels,
            in_channels,
            kernel_size,
            dilation=dilation,
            groups=in_channels,
            norm=norm,
            activation=F.relu,
        )
        self.pointwise = Conv2d(in_channels, out_channels, 1, norm=norm, activation=F.relu)
        for layer in (self.depthwise, self.pointwise):
            draw_weights(layer, "relu")

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        out: Tensor = self.pointwise(self.depthwise(x))
        return out


class ASPP(nn.Module):
    """Atrous spatial pyramid pooling: dilated convolutions and image pooling (DeepLabv3, 2017).

    Args:
        in_channels: number of channels of the input.
        out_channels: channels of each of the five branches, and of the output.
        dilations: dilations of the three 3 x 3 convolutions.
        norm: norm layer of the convolutions except the one after image pooling.
        pool: (height, width) in cells of the image pooling window, clipped to the map; None to pool the whole map.
        dropout: dropout rate of the output, in [0, 1).
        separable: whether the dilated convolutions are depthwise separable.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int] = (6, 12, 18),
        *,
        norm: Norm = "SyncBN",
        pool: tuple[int, int] | None = None,
        dropout: float = 0.1,
        separable: bool = False,
    ) -> None:
        super().__init__()
        if len(dilations) != 3 or min(dilations) < 1:
            raise ConfigError("ASPP.dilations", "must be three positive numbers", f"got {list(dilations)}")
        if not 0 <= dropout < 1:
            raise ConfigError("ASPP.dropout", "must lie in [0, 1)", f"got {dropout}")
        self.dropout, self.pool = dropout, pool
        layers: list[nn.Module] = [conv(in_channels, out_channels, 1, norm)]
        for dilation in dilations:
            if separable:
                layers.append(DepthwiseSeparableConv2d(in_channels, out_channels, 3, norm, dilation))
            else:
                layers.append(conv(in_channels, out_channels, 3, norm, dilation))
        # No norm: it would have one value per channel and image.
        layers.append(nn.Sequential(_Pool(pool), conv(in_channels, out_channels, 1, "")))
        self.convs = nn.ModuleList(layers)
        self.project = conv(5 * out_channels, out_channels, 1, norm)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H, W)."""
        parts = [layer(x) for layer in self.convs]
        if torch.compiler.is_exporting() and self.pool is not None:
            parts[-1] = _enlarged(parts[-1], self.pool, x)
        else:
            parts[-1] = F.interpolate(parts[-1], size=x.shape[-2:], mode="bilinear", align_corners=False)
        joined: Tensor = self.project(torch.cat(parts, dim=1))
        return F.dropout(joined, self.dropout, self.training) if self.dropout else joined


class _Pool(nn.Module):
    """The mean of each window, or of the whole map."""

    def __init__(self, window: tuple[int, int] | None) -> None:
        super().__init__()
        self.window = window

    def forward(self, x: Tensor) -> Tensor:
        if self.window is None:
            return x.mean(dim=(2, 3), keepdim=True)
        if torch.compiler.is_exporting():
            down, across = (_means(side, length, x) for side, length in zip(self.window, x.shape[-2:], strict=True))
            return _both_ways(down, x, across)
        height, width = (min(side, length) for side, length in zip(self.window, x.shape[-2:], strict=True))
        return F.avg_pool2d(x, (height, width), stride=1)


def _means(window: int, length: int, like: Tensor) -> Tensor:
    """Weights of the means over all windows of `length` cells, (windows + 1, length); the last row occurs twice.

    So a program never has a single window, which would become a shape constraint.
    """
    side: Any = torch.sym_min(window, length)
    more: Any = torch.sym_max(length - window, 0)
    first = torch.arange(more + 2, device=like.device).clamp(max=more)[:, None]
    cell = torch.arange(length, device=like.device)
    return ((cell >= first) & (cell < first + side)).to(like.dtype) / side


def _enlarged(means: Tensor, window: tuple[int, int], like: Tensor) -> Tensor:
    """Means (B, C, rows + 1, columns + 1) upsampled bilinearly to the cells of `like`, without the repeated ones."""
    weights = []
    for side, length in zip(window, like.shape[-2:], strict=True):
        more: Any = torch.sym_max(length - side, 0)
        place = (torch.arange(length, device=like.device) + 0.5) * ((more + 1) / length) - 0.5
        place = place.clamp(min=0).minimum(torch.full_like(place, 1.0) * more)[:, None]
        weights.append((1 - (place - torch.arange(more + 2, device=like.device)).abs()).clamp(min=0).to(like.dtype))
    return _both_ways(weights[0], means, weights[1])


def _both_ways(down: Tensor, x: Tensor, across: Tensor) -> Tensor:
    """down (h, H) @ x (B, C, H, W) @ across (w, W), transposed, to (B, C, h, w); with operations of dynamic size."""
    rows = x.flatten(0, 1)
    rows = torch.bmm(rows, across.T.expand(rows.shape[0], -1, -1))
    return torch.bmm(down.expand(rows.shape[0], -1, -1), rows).unflatten(0, x.shape[:2])


def pool_size(where: str, train_size: tuple[int, int] | None, stride: int) -> tuple[int, int] | None:
    """The window of `ASPP` that covers a training image of `train_size` at this stride; None for None."""
    if train_size is None:
        return None
    if any(side < stride or side % stride for side in train_size):
        raise ConfigError(f"{where}.train_size", f"must be multiples of the stride {stride}", f"got {train_size}")
    return train_size[0] // stride, train_size[1] // stride
