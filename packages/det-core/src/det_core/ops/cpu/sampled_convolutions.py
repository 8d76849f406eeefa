"""A stack of convolutions computed at selected pixels only."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from det_core.ops.layers import Conv2d

__all__ = ["at_pixels"]


def at_pixels(convs: Sequence[Conv2d], maps: Tensor, image: Tensor, row: Tensor, column: Tensor) -> Tensor:
    """Output of 3 x 3 convolutions of stride 1 at K pixels, from the pixels around each.

    Args:
        convs: convolutions, each with zero padding.
        maps: input maps (B, C, H, W).
        image: image index of each pixel, int64 (K,).
        row: row of each pixel, int64 (K,).
        column: column of each pixel, int64 (K,).

    Returns:
        (K, channels of the last convolution, 1, 1).
    """
    reach = torch.arange(-len(convs), len(convs) + 1, device=maps.device)
    rows, columns = (row[:, None] + reach)[:, :, None], (column[:, None] + reach)[:, None]
    height, width = maps.shape[-2:]
    inside = ((rows >= 0) & (rows < height) & (columns >= 0) & (columns < width))[:, None]
    around = maps[image[:, None, None], :, rows.clamp(0, height - 1), columns.clamp(0, width - 1)]
    x = around.permute(0, 3, 1, 2)
    for conv in convs:
        # Each convolution pads with zeros beyond the border of the maps.
        x = conv.finish(F.conv2d(x * inside, conv.weight, conv.bias))
        inside = inside[..., 1:-1, 1:-1]
    return x
