"""Polygons around masks."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["contours"]

Points = NDArray[np.float64]


def contours(mask: NDArray[np.bool_], tolerance: float = 0.7) -> list[Points]:
    """The outer contour of each connected part of a mask, largest first; holes are filled.

    Args:
        mask: mask of one object, bool (H, W).
        tolerance: maximum distance of the polygon from the pixels' edges, in pixels; 0 keeps each corner of a pixel.

    Returns:
        float64 (P, 2) of each part, P >= 3: x, y, where pixel i covers [i, i + 1). Pixels that meet at a corner alone
        are different parts.
    """
    rings = [ring for ring in _rings(mask) if _area(ring) > 0]
    rings.sort(key=_area, reverse=True)
    return [_simplified(ring, tolerance) for ring in rings]


def _rings(mask: NDArray[np.bool_]) -> list[Points]:
    """Closed lines along the edges of pixels, with the mask on their right as y points down: outer ones turn right."""
    inside = np.pad(mask, 1)
    following: dict[tuple[int, int], list[tuple[int, int]]] = {}
    # An edge between a pixel of the mask and one outside: where it begins, and its direction.
    for down, across, start, step in (
        (-1, 0, (0, 0), (1, 0)),  # top, to the right
        (0, 1, (1, 0), (0, 1)),  # right, down
        (1, 0, (1, 1), (-1, 0)),  # bottom, to the left
        (0, -1, (0, 1), (0, -1)),  # left, up
    ):
        edge = inside & ~np.roll(inside, (-down, -across), (0, 1))
        for y, x in np.argwhere(edge).tolist():
            following.setdefault((x - 1 + start[0], y - 1 + start[1]), []).append(step)
    rings = []
    while following:
        point = first = next(iter(following))
        step, ring = (0, 0), []
        while True:
            steps = following[point]
            # Where two pixels meet at a corner, the turn to the right stays with the first of them.
            right = (-step[1], step[0])
            new = right if right in steps else steps[0]
            steps.remove(new)
            if not steps:
                del following[point]
            if new != step:
                ring.append(point)
            step, point = new, (point[0] + new[0], point[1] + new[1])
            if point == first:
                break
        rings.append(np.array(ring, np.float64))
    return rings


def _area(ring: Points) -> float:
    """Positive where the inside is on the right of the line as y points down; holes are negative."""
    x, y = ring.T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def _simplified(ring: Points, tolerance: float) -> Points:
    """Fewer points, none of the others farther than `tolerance` from the line (Douglas and Peucker, 1973)."""
    if tolerance <= 0 or len(ring) <= 4:
        return ring
    far = int(((ring - ring[0]) ** 2).sum(axis=1).argmax())
    keep = np.zeros(len(ring) + 1, np.bool_)
    closed = np.concatenate((ring, ring[:1]))
    keep[[0, far]] = True
    parts = [(0, far), (far, len(ring))]
    while parts:
        first, last = parts.pop()
        if last - first < 2:
            continue
        between, (dx, dy) = closed[first + 1 : last] - closed[first], closed[last] - closed[first]
        distances = np.abs(between[:, 0] * dy - between[:, 1] * dx) / max(float(np.hypot(dx, dy)), 1e-9)
        place = int(distances.argmax())
        if distances[place] > tolerance:
            keep[first + 1 + place] = True
            parts += [(first, first + 1 + place), (first + 1 + place, last)]
    return ring[keep[:-1]] if keep[:-1].sum() >= 3 else ring
