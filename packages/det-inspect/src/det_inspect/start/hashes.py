"""Hashes of pictures, in which copies and nearly equal pictures differ by few bits."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from det_core.data.images import read_image
from numpy.typing import NDArray
from PIL import Image

__all__ = ["near", "perceptual_hash", "picture_hash"]

_SIDE = 16  # of the picture whose neighbours are compared: 2 * 16 * 16 bits
_NEAR = 40  # of 512 bits; smaller or brighter copies differ in up to 30, other photographs in 50 and more
_BLOCK = 512


def perceptual_hash(path: Path) -> NDArray[np.uint8]:
    """The `picture_hash` of a file.

    Raises:
        DataError: the picture cannot be read.
    """
    return picture_hash(read_image(path).permute(1, 2, 0).numpy())


def picture_hash(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A difference hash, uint8 (64,): whether each of 16 x 16 patches is brighter than its right and lower neighbour.

    Copies in another size, format or brightness have nearly the same. After Krawetz, "Kind of Like That" (2013).

    Args:
        pixels: RGB (H, W, 3).
    """
    small = Image.fromarray(pixels).convert("L").resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX)
    values = np.asarray(small).astype(np.int16)
    right = values[:-1, 1:] > values[:-1, :-1] + 1
    lower = values[1:, :-1] > values[:-1, :-1] + 1
    return np.packbits(np.stack((right, lower)))


def near(hashes: NDArray[np.uint8], others: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """The places of each pair of hashes (N, 64) and (M, 64) that differ in few bits, row by row.

    Pictures without structure, whose hashes have few bits set, are near to none.
    """
    signs, other_signs = _signs(hashes), _signs(others)
    structured = [(each > 0).sum(axis=1) > _NEAR for each in (signs, other_signs)]
    for start in range(0, len(signs), _BLOCK):
        distance = (signs.shape[1] - signs[start : start + _BLOCK] @ other_signs.T) / 2
        both = structured[0][start : start + _BLOCK, None] & structured[1]
        for first, second in zip(*np.nonzero((distance <= _NEAR) & both), strict=True):
            yield start + int(first), int(second)


def _signs(hashes: NDArray[np.uint8]) -> Any:
    return 2 * np.unpackbits(hashes, axis=1).astype(np.float32) - 1
