"""Takes textures out of pictures of people, into an atlas."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from det_densepose.results.conversion import ChartResult

__all__ = ["take_texture"]

_NUM_PARTS = 24


def take_texture(
    views: Iterable[tuple[NDArray[np.uint8], ChartResult]], side: int = 200, fill: bool = True
) -> NDArray[np.uint8]:
    """The atlas of what a person wears, uint8 RGBA (24, side, side, 4), from one picture or several of the same person.

    Args:
        views: pictures uint8 RGB (H, W, 3), each with where the person is in it.
        side: height and width of a tile, in texels.
        fill: give texels that no pixel falls into the color of the nearest ones of their part, as far as pixels lie
            apart; they are then half transparent (alpha 128).

    Each pixel adds its color to the texel of its part, u and v; a texel is the mean of its pixels. Alpha is 255 where
    there is one.
    """
    total = np.zeros((_NUM_PARTS, side, side, 3))
    count = np.zeros((_NUM_PARTS, side, side))
    for image, person in views:
        x, y, _, _ = person.box
        ys, xs = np.nonzero(person.mask)
        inside = (ys + y >= 0) & (ys + y < image.shape[0]) & (xs + x >= 0) & (xs + x < image.shape[1])
        ys, xs = ys[inside], xs[inside]
        u, v = np.clip(person.uv[:, ys, xs], 0, 1)
        place = person.labels[ys, xs] - 1, ((1 - v) * (side - 1)).astype(int), (u * (side - 1)).astype(int)
        np.add.at(total, place, image[ys + y, xs + x].astype(np.float64))
        np.add.at(count, place, 1)
    atlas = np.zeros((_NUM_PARTS, side, side, 4), np.uint8)
    covered = count > 0
    colors = total / np.maximum(count, 1)[..., None]
    if fill:
        _fill(colors, covered.copy(), steps=max(2, side // 8))
        near = colors.any(-1) & ~covered
        atlas[near] = np.concatenate([colors[near], np.full((int(near.sum()), 1), 128)], 1).round()
    atlas[covered] = np.concatenate([colors[covered], np.full((int(covered.sum()), 1), 255)], 1).round()
    return atlas


def _fill(colors: NDArray[np.float64], covered: NDArray[np.bool_], steps: int) -> None:
    """Spread colors (P, S, S, 3) into texels that are not taken, by the mean of their taken neighbors, step by step."""
    for _ in range(steps):
        total, count = np.zeros_like(colors), np.zeros(covered.shape)
        for axis in (1, 2):
            for step in (1, -1):
                there = np.roll(covered, step, axis)
                edge = [slice(None)] * 3
                edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
                there[tuple(edge)] = False
                total += np.roll(colors, step, axis) * there[..., None]
                count += there
        new = ~covered & (count > 0)
        if not new.any():
            return
        colors[new] = total[new] / count[new][:, None]
        covered |= new
