"""Atrous spatial pyramid pooling, as `detectron2.layers.aspp` (Chen et al., "DeepLabV3+", 2018)."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_detectron2.layer.layers.batch_norm import get_norm
from det_detectron2.layer.layers.blocks import DepthwiseSeparableConv2d
from det_detectron2.layer.layers.wrappers import Conv2d

__all__ = ["ASPP"]


class ASPP(nn.Module):
    """Convolutions of several dilations and a pooled branch side by side, then joined.

    Args:
        in_channels: number of channels of the input.
        out_channels: number of channels of each branch and of the output.
        dilations: three dilations of 3 x 3 convolutions.
        norm: name of the norm of all convolutions.
        activation: activation function after each convolution.
        pool_kernel_size: size (height, width) of the average pooling; None pools the whole map.
        dropout: probability, in [0, 1).
        use_depthwise_separable_conv: whether the dilated branches use depthwise separable convolutions.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        dilations: Sequence[int],
        *,
        norm: Any,
        activation: Callable[[Tensor], Tensor],
        pool_kernel_size: tuple[int, int] | None = None,
        dropout: float = 0.0,
        use_depthwise_separable_conv: bool = False,
    ) -> None:
        super().__init__()
        assert len(dilations) == 3, f"ASPP expects 3 dilations, got {len(dilations)}"
        self.pool_kernel_size, self.dropout = pool_kernel_size, dropout

        def plain(channels: int, size: int, dilation: int = 1, **options: Any) -> Conv2d:
            padding = dilation if size == 3 else 0
            conv = Conv2d(
                channels, out_channels, size, padding=padding, dilation=dilation, bias=options.get("bias", norm == ""),
                norm=get_norm(options.get("norm", norm), out_channels), activation=copy.deepcopy(activation),
            )  # fmt: skip
            nn.init.kaiming_uniform_(conv.weight, a=1)
            if conv.bias is not None:
                nn.init.constant_(conv.bias, 0)
            return conv

        self.convs = nn.ModuleList([plain(in_channels, 1)])
        for dilation in dilations:
            if use_depthwise_separable_conv:
                layer_kwargs = {"norm1": norm, "activation1": activation, "norm2": norm, "activation2": activation}
                self.convs.append(
                    DepthwiseSeparableConv2d(
                        in_channels, out_channels, kernel_size=3, padding=dilation, dilation=dilation, **layer_kwargs
                    )
                )
            else:
                self.convs.append(plain(in_channels, 3, dilation))
        pool: nn.Module = (
            nn.AdaptiveAvgPool2d(1) if pool_kernel_size is None else nn.AvgPool2d(pool_kernel_size, stride=1)
        )
        # A norm of one pixel is not defined in training, so the branch of the whole map has none.
        branch = plain(in_channels, 1, norm="", bias=True) if pool_kernel_size is None else plain(in_channels, 1)
        self.convs.append(nn.Sequential(pool, branch))
        self.project = plain(5 * out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        size = x.shape[-2:]
        if self.pool_kernel_size is not None and any(a % b for a, b in zip(size, self.pool_kernel_size, strict=True)):
            raise ValueError(f"`pool_kernel_size` must be divisible by the shape of inputs. Input size: {size}")
        branches = [conv(x) for conv in self.convs]
        branches[-1] = F.interpolate(branches[-1], size=size, mode="bilinear", align_corners=False)
        out = self.project(torch.cat(branches, dim=1))
        return F.dropout(out, self.dropout, training=self.training) if self.dropout > 0 else out
