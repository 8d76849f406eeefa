"""Deformable convolutions, as `detectron2.layers.deform_conv`; computed by torchvision."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair
from torchvision.ops import deform_conv2d

__all__ = ["DeformConv", "ModulatedDeformConv"]


class _Deformable(nn.Module):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = False,
        norm: nn.Module | None = None,
        activation: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride, self.padding, self.dilation = stride, padding, dilation
        self.groups, self.deformable_groups = groups, deformable_groups
        self.norm, self.activation = norm, activation
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        nn.init.kaiming_uniform_(self.weight, nonlinearity="relu")

    def _compute(self, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
        form = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation}
        out = deform_conv2d(x, offset, self.weight, self.bias, mask=mask, **form)
        out = out if self.norm is None else self.norm(out)
        return out if self.activation is None else self.activation(out)

    def extra_repr(self) -> str:
        """The settings."""
        names = ("in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups")
        settings = ", ".join(f"{name}={getattr(self, name)}" for name in (*names, "deformable_groups"))
        return f"{settings}, bias={self.bias is not None}"


class DeformConv(_Deformable):
    """A convolution whose samples are moved by offsets (Dai et al., 2017); without bias, as published."""

    def __init__(self, *args: Any, bias: bool = False, **kwargs: Any) -> None:
        assert not bias, "DeformConv has no bias"
        super().__init__(*args, **kwargs)
        self.stride, self.padding, self.dilation = map(_pair, (self.stride, self.padding, self.dilation))

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """(N, C, H, W) and offsets (N, 2 * groups * kernel, H', W') to (N, out_channels, H', W')."""
        if x.numel() == 0:
            settings: Any = (self.padding, self.dilation, self.kernel_size, self.stride)
            sides = zip(x.shape[-2:], *settings, strict=True)
            size = [(i + 2 * p - (d * (k - 1) + 1)) // s + 1 for i, p, d, k, s in sides]
            return x.new_zeros(x.shape[0], self.out_channels, *size)
        return self._compute(x, offset, None)


class ModulatedDeformConv(_Deformable):
    """One whose samples are also weighted by a mask (Zhu et al., "Deformable ConvNets v2", 2019)."""

    def __init__(self, *args: Any, bias: bool = True, **kwargs: Any) -> None:
        super().__init__(*args, **{"bias": bias, **kwargs})
        bound = 1 / math.sqrt(self.weight[0].numel())
        nn.init.uniform_(self.weight, -bound, bound)

    def forward(self, x: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        """As `DeformConv`, with `mask` (N, groups * kernel, H', W')."""
        return self._compute(x, offset, mask)
