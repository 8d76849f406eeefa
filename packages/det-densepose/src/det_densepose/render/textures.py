"""Atlases: one square of texture for each of the 24 charts, and the one picture that they are stored as."""

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

from det_densepose.structures import ATLAS_COLUMNS, ATLAS_ROWS, NUM_PARTS

__all__ = ["join_atlas", "random_atlas", "sample_atlas", "split_atlas"]


def split_atlas(picture: NDArray[np.uint8], where: str = "atlas") -> NDArray[np.uint8]:
    """The tiles (24, T, T, C) of an atlas (6 T, 4 T, C): parts go down the columns, first column first.

    Raises:
        DataError: the picture has another layout.
    """
    if (
        picture.ndim != 3
        or picture.shape[0] * ATLAS_COLUMNS != picture.shape[1] * ATLAS_ROWS
        or picture.shape[0] % ATLAS_ROWS
    ):
        found = f"got {picture.shape[1]} x {picture.shape[0]} pixels" if picture.ndim == 3 else f"got {picture.shape}"
        fix = f"give {ATLAS_ROWS} rows and {ATLAS_COLUMNS} columns of square tiles, such as 800 x 1200 pixels"
        raise DataError(where, "is no texture atlas of 24 parts", found, fix)
    side = picture.shape[0] // ATLAS_ROWS
    tiles = picture.reshape(ATLAS_ROWS, side, ATLAS_COLUMNS, side, -1)
    return tiles.transpose(2, 0, 1, 3, 4).reshape(NUM_PARTS, side, side, -1)


def join_atlas(tiles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture (6 T, 4 T, C) of tiles (24, T, T, C)."""
    side, channels = tiles.shape[1], tiles.shape[3]
    grid = tiles.reshape(ATLAS_COLUMNS, ATLAS_ROWS, side, side, channels)
    return grid.transpose(1, 2, 0, 3, 4).reshape(ATLAS_ROWS * side, ATLAS_COLUMNS * side, channels)


def sample_atlas(
    tiles: NDArray[np.uint8], part: NDArray[np.integer], u: NDArray[np.floating], v: NDArray[np.floating]
) -> NDArray[np.uint8]:
    """The texture at points of charts, (..., C): column u (T - 1) and row (1 - v) (T - 1) of the part's tile.

    Both are cut off, as published. Where `part` is 0 the result is 0.
    """
    side = tiles.shape[1]
    x = (np.clip(u, 0, 1) * (side - 1)).astype(np.int64)
    y = ((1 - np.clip(v, 0, 1)) * (side - 1)).astype(np.int64)
    colors = tiles[np.maximum(part.astype(np.int64) - 1, 0), y, x]
    return np.where((part > 0)[..., None], colors, 0).astype(tiles.dtype)


def random_atlas(random: np.random.Generator, side: int = 64) -> NDArray[np.uint8]:
    """Random clothes, uint8 (24, side, side, 3): skin, hair, a shirt with stripes in front, trousers, shoes."""
    tiles = np.zeros((NUM_PARTS, side, side, 3))
    skin = np.array([225, 180, 150]) * random.uniform(0.45, 1.05)
    hair, shirt, trousers, shoes = (random.uniform(20, 235, 3) for _ in range(4))
    stripes = np.clip(255 - shirt + random.uniform(-30, 30, 3), 0, 255)
    v, u = 1 - np.linspace(0, 1, side)[:, None], np.linspace(0, 1, side)[None]
    number = int(random.integers(4, 8))
    band = (np.floor(v * number) % 2 == 0) & (u >= 0)

    def put(parts: tuple[int, ...], color: NDArray[np.float64]) -> None:
        tiles[[part - 1 for part in parts]] = color

    put((1, 2, 15, 16, 17, 18), shirt)
    put((3, 4), skin)
    put((19, 20, 21, 22), skin if random.random() < 0.5 else shirt)
    put((7, 8, 9, 10), trousers)
    put((11, 12, 13, 14), trousers if random.random() < 0.7 else skin)
    put((5, 6), shoes)
    tiles[1][band] = stripes  # the front of the torso
    tiles[[6, 7, 10, 11]] *= 0.75  # the backs of the legs
    for part, front in ((23, u < 0.5), (24, u > 0.5)):
        face = front & (v < 0.72) & (u >= 0)
        tiles[part - 1] = np.where(face[..., None], skin, hair)
        eye = (np.hypot((u - (0.3 if part == 23 else 0.7)) * 1.0, v - 0.56) < 0.06)[..., None]
        tiles[part - 1] = np.where(eye, 20, tiles[part - 1])
    tiles += random.normal(0, 6, tiles.shape)
    return tiles.clip(1, 255).astype(np.uint8)
