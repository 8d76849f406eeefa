"""Deformable convolutions (Dai et al., "Deformable convolutional networks", 2017; Zhu et al., "... v2", 2019)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torchvision
from torch import Tensor

from det_core.ops.layers import Conv2d
from det_core.ops.precision import precise

__all__ = ["Deformable", "Deformation", "deform_conv", "offset_channels"]

Deformable = Literal["v1", "v2"]
"""Kinds: "v1" predicts offsets, "v2" also a weight per sample (modulated)."""


@dataclass(frozen=True)
class Deformation:
    """Settings of the deformable convolutions of a residual network.

    Attributes:
        stages: names of the stages whose 3 x 3 convolutions are deformable.
        kind: kind of deformation, see `Deformable`.
        groups: number of channel groups with separate offsets.
    """

    stages: Sequence[str] = ()
    kind: Deformable = "v1"
    groups: int = 1


def offset_channels(kind: Deformable, groups: int) -> int:
    """Channels of the offsets of a 3 x 3 convolution: vertical and horizontal offset of each sample, and weight."""
    return groups * 9 * (3 if kind == "v2" else 2)


def deform_conv(x: Tensor, offsets: Tensor, conv: Conv2d, modulated: bool) -> Tensor:
    """`conv(x)`, sampled at offsets.

    Args:
        x: (B, C, H, W).
        offsets: (B, `offset_channels`, H / stride, W / stride).
        conv: convolution, with its norm and activation.
        modulated: whether a third of the offsets are weights of the samples, before the sigmoid.
    """
    samples = offsets.shape[1] // 3 if modulated else 0
    features, offsets, kernel = precise(x, offsets, conv.weight)
    offsets, weights = offsets.split([offsets.shape[1] - samples, samples], dim=1)
    out = torchvision.ops.deform_conv2d(
        features,
        offsets,
        kernel,
        None if conv.bias is None else conv.bias.to(kernel.dtype),  # present with a folded norm
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        mask=weights.sigmoid() if samples else None,
    )
    return conv.finish(out.to(x.dtype))
