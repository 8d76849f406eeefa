"""Images of several sizes in one tensor, as `detectron2.structures.image_list`."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["ImageList"]


class ImageList:
    """Images padded at the right and at the bottom to one size.

    Args:
        tensor: padded images, (N, H, W) or (N, C, H, W).
        image_sizes: (height, width) of each image without padding.
    """

    def __init__(self, tensor: Tensor, image_sizes: list[tuple[int, int]]) -> None:
        self.tensor, self.image_sizes = tensor, image_sizes

    def __len__(self) -> int:
        return len(self.image_sizes)

    def __getitem__(self, idx: int) -> Tensor:
        """An image without its padding, (H, W) or (C, H, W)."""
        height, width = self.image_sizes[idx]
        return self.tensor[idx, ..., :height, :width]

    def to(self, *args: Any, **kwargs: Any) -> "ImageList":
        """With the tensor on another device or of another dtype."""
        return ImageList(self.tensor.to(*args, **kwargs), self.image_sizes)

    @property
    def device(self) -> torch.device:
        """Where the tensor is."""
        return self.tensor.device

    @staticmethod
    def from_tensors(
        tensors: Sequence[Tensor],
        size_divisibility: int = 0,
        pad_value: float = 0.0,
        padding_constraints: Mapping[str, int] | None = None,
    ) -> "ImageList":
        """Images (..., H, W), alike but for their last two dimensions, in one tensor.

        Args:
            tensors: images, at least one.
            size_divisibility: divisor of the padded height and width; at most 1 for none.
            pad_value: value of padded pixels.
            padding_constraints: "size_divisibility", which is used instead, and "square_size", the side of a square
                that images are padded to, 0 for none.
        """
        assert isinstance(tensors, list | tuple)
        assert tensors
        assert all(each.shape[:-2] == tensors[0].shape[:-2] for each in tensors)
        sizes = [(int(each.shape[-2]), int(each.shape[-1])) for each in tensors]
        height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
        if padding_constraints is not None:
            side = padding_constraints.get("square_size", 0)
            height, width = (side, side) if side > 0 else (height, width)
            size_divisibility = padding_constraints.get("size_divisibility", size_divisibility)
        if size_divisibility > 1:
            height, width = (-(-each // size_divisibility) * size_divisibility for each in (height, width))
        padded = [
            F.pad(each, (0, width - each.shape[-1], 0, height - each.shape[-2]), value=pad_value) for each in tensors
        ]
        return ImageList(torch.stack(padded).contiguous(), sizes)
