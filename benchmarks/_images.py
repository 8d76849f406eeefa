"""Photographs at the sizes that are measured."""

from pathlib import Path

import torch
from det_core.data import read_image
from det_core.structures import ImageBatch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["batch_of", "resized"]


def resized(image: Tensor, size: tuple[int, int]) -> Tensor:
    """An image uint8 (3, H, W) at (height, width)."""
    return F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0].round().to(torch.uint8)


def batch_of(path: Path, size: tuple[int, int]) -> ImageBatch:
    """A batch of one image file at (height, width)."""
    return ImageBatch(pixels=resized(read_image(path), size)[None], sizes=(size,))
