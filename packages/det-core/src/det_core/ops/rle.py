"""COCO's run-length encoded masks: alternating runs of background and foreground pixels, column by column."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from det_core.structures import Size

__all__ = ["rle_counts", "rle_to_mask"]


def rle_counts(rle: Any, size: "Size") -> list[int]:
    """The run lengths of an RLE mapping, compressed or as a list; they add up to height * width.

    pycocotools is not used, because it fills missing runs with uninitialized memory.

    Raises:
        ValueError: the end of a sentence about the fault of `rle` that starts with "it ".
    """
    rle_size = rle.get("size") if isinstance(rle, dict) else None
    if not isinstance(rle_size, list | tuple) or list(rle_size) != list(size):
        raise ValueError(f"has an RLE that is not of its image's size {list(size)}")
    counts = rle.get("counts")
    if isinstance(counts, str | bytes):
        counts = _unpacked(counts.encode(errors="replace") if isinstance(counts, str) else counts)
    if not isinstance(counts, list) or not all(type(count) is int and count >= 0 for count in counts):
        raise ValueError("has an RLE whose counts are neither text nor whole numbers")
    if sum(counts) != size[0] * size[1]:
        raise ValueError(f"has an RLE of {sum(counts)} pixels in an image of {size[0] * size[1]}")
    return counts


def rle_to_mask(counts: Sequence[int], size: "Size") -> "Tensor":
    """The mask, bool (height, width), of validated `rle_counts`."""
    import torch  # here, because result files are validated without torch

    inside = np.arange(len(counts)) % 2 == 1
    return torch.from_numpy(np.repeat(inside, counts).reshape(size[1], size[0]).T)


def _unpacked(text: bytes) -> list[int]:
    """Each number is a row of 5-bit digits, lowest first, sign in the last; from the fourth on, a difference."""
    counts: list[int] = []
    value = shift = 0
    for character in text:
        digit = character - 48
        if not 0 <= digit < 64 or shift > 30:
            raise ValueError("has an RLE that is damaged")
        value |= (digit & 31) << shift
        shift += 5
        if not digit & 32:
            value -= (digit & 16) << (shift - 4)
            counts.append(value + counts[-2] if len(counts) > 2 else value)
            value = shift = 0
    if shift:
        raise ValueError("has an RLE that is cut short")
    return counts
