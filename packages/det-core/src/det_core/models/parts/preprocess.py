"""Image preprocessing for the backbone: mean, standard deviation, channel order and padding."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from det_core.structures import ImageBatch, Size

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "Color", "Normalize"]

Color = tuple[float, float, float]
IMAGENET_MEAN: Color = (123.675, 116.28, 103.53)  # of ImageNet, as torchvision's weights expect it: red, green, blue
IMAGENET_STD: Color = (58.395, 57.12, 57.375)


class Normalize(nn.Module):
    """Subtracts the mean of each channel, divides by its standard deviation, and pads.

    Args:
        divisibility: height and width are padded to multiples of this, in pixels.
        mean: channel means in [0, 255], in the order of `channel_order`; by default ImageNet's, for RGB.
        std: channel standard deviations, in the same order.
        channel_order: channel order of the backbone's weights; the input is always RGB.
    """

    contract = "Preprocess"

    def __init__(
        self,
        divisibility: int,
        *,
        mean: Color = IMAGENET_MEAN,
        std: Color = IMAGENET_STD,
        channel_order: Literal["RGB", "BGR"] = "RGB",
    ) -> None:
        super().__init__()
        self.flip, self.divisibility = channel_order == "BGR", divisibility
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)

    mean: Tensor
    std: Tensor

    def forward(self, batch: ImageBatch) -> Tensor:
        """Float32 (B, 3, H, W) with H and W multiples of the divisibility, zeros outside each image."""
        pixels = batch.pixels.flip(1) if self.flip else batch.pixels
        pixels = (pixels - self.mean) / self.std
        height, width = pixels.shape[-2:]
        pixels = F.pad(pixels, (0, -width % self.divisibility, 0, -height % self.divisibility))
        if torch.compiler.is_exporting():
            return pixels * _inside(pixels, batch.sizes)
        for image, size in zip(pixels, batch.sizes, strict=True):
            if size != (height, width):
                image[:, size[0] :] = 0
                image[:, :, size[1] :] = 0
        return pixels


def _inside(pixels: Tensor, sizes: Sequence[Size]) -> Tensor:
    """1 within each image and 0 in its padding, (B, 1, H, W); without branches, for sizes known only at run time."""
    rows = torch.arange(pixels.shape[2], device=pixels.device)[:, None]
    columns = torch.arange(pixels.shape[3], device=pixels.device)
    masks = [(rows < height) & (columns < width) for height, width in sizes]
    return torch.stack(masks)[:, None].to(pixels.dtype)
