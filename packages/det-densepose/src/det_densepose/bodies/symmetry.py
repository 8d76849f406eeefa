"""Left and right of a body: the mirror image of each vertex, of each part, and of each place in a chart."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

from det_densepose.bodies.body import Body

__all__ = [
    "COARSE_OF_PART",
    "COARSE_SYMMETRY",
    "PART_SYMMETRY",
    "mirror_vertices",
    "require_involution",
    "uv_symmetry",
]

PART_SYMMETRY = (0, 1, 2, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23)
"""The part that each of the 24 parts of a person is in a mirror; 0 is the background."""

COARSE_SYMMETRY = (0, 1, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 14)
"""The same of the 14 coarse parts."""

COARSE_OF_PART = (0, 1, 1, 2, 3, 4, 5, 6, 7, 6, 7, 8, 9, 8, 9, 10, 11, 10, 11, 12, 13, 12, 13, 14, 14)
"""The coarse part that each part belongs to."""

SIDE = 256
"""Cells of a symmetry table in u and in v, as published."""


def require_involution(symmetry: NDArray[Any], count: int, where: str) -> NDArray[np.int64]:
    """The mirror image of each vertex as int64 (V,), checked.

    Raises:
        DataError: it is not one vertex for each of `count`, or the mirror image of a mirror image is another vertex.
    """
    values = np.asarray(symmetry).reshape(-1)
    if len(values) != count or not np.issubdtype(values.dtype, np.integer):
        found = f"got {len(values)} values of type {values.dtype} for {count} vertices"
        raise DataError(where, "a symmetry must name one vertex for each", found)
    values = values.astype(np.int64)
    if count and not 0 <= values.min() <= values.max() < count:
        found = f"from {values.min()} to {values.max()} of {count} vertices"
        raise DataError(where, "a symmetry names vertices that are not there", found)
    wrong = np.flatnonzero(values[values] != np.arange(count))
    if len(wrong):
        first = int(wrong[0])
        found = f"vertex {first} goes to {values[first]}, and that to {values[values[first]]}; {len(wrong)} are so"
        raise DataError(where, "the symmetry is no involution", found, "mirroring twice must change nothing")
    return values


def mirror_vertices(
    vertices: NDArray[np.floating], axis: int = 0, tolerance: float = 0.02, where: str = "mesh"
) -> NDArray[np.int64]:
    """The vertex nearest to the mirrored place of each, int64 (V,), in a plane through the middle of the body.

    Args:
        vertices: coordinates of the vertices, (V, 3).
        axis: axis that is mirrored, 0, 1 or 2.
        tolerance: maximum distance from the mirrored position, relative to the extent of the body along `axis`.
        where: name of the mesh in error messages.

    Raises:
        DataError: the mesh is not symmetric: a vertex has no mirror image, or that of its image is another vertex.
    """
    points = np.asarray(vertices, np.float64).copy()
    low, high = points[:, axis].min(), points[:, axis].max()
    points[:, axis] -= (low + high) / 2
    mirrored = points.copy()
    mirrored[:, axis] *= -1
    mirror, distance = np.zeros(len(points), np.int64), np.zeros(len(points))
    for start in range(0, len(points), 512):
        chunk = mirrored[start : start + 512]
        squared = ((chunk[:, None] - points[None]) ** 2).sum(-1)
        mirror[start : start + 512], distance[start : start + 512] = squared.argmin(1), np.sqrt(squared.min(1))
    far = distance > tolerance * max(high - low, 1e-12)
    if far.any():
        found = (
            f"{int(far.sum())} of {len(points)} vertices have no mirror image; the worst is {distance.max():.3g} off"
        )
        fix = "name another axis, or make it without a symmetry"
        raise DataError(where, f"is not symmetric in {'xyz'[axis]}", found, fix)
    return require_involution(mirror, len(points), where)


def uv_symmetry(body: Body, parts: Sequence[int] = PART_SYMMETRY) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each place of each chart is in the mirror image: u and v, each float32 (parts, 256, 256).

    Entry [part - 1, 255 v, 255 u] is for a point of `part` and holds its place in the opposite part, as the published
    `UV_symmetry_transforms.mat` does. Places that no triangle covers take the value of the nearest that one does.

    Raises:
        DataError: the body has no charts with faces or no symmetry, or its charts are not symmetric.
    """
    charts, symmetry = body.charts, body.symmetry
    if charts is None or charts.faces is None or symmetry is None:
        raise DataError(f"body {body.name}", "needs charts with faces and a symmetry")
    row = {(int(p), int(v)): n for n, (p, v) in enumerate(zip(charts.part, charts.vertex, strict=True))}
    mirror = np.array(
        [row.get((parts[int(p)], int(symmetry[v])), -1) for p, v in zip(charts.part, charts.vertex, strict=True)]
    )
    if (mirror < 0).any():
        found = f"{int((mirror < 0).sum())} of {len(mirror)} chart vertices have no mirror image"
        raise DataError(f"body {body.name}", "its charts are not symmetric", found)
    tables = np.zeros((len(parts) - 1, 2, SIDE, SIDE), np.float32)
    for part in range(1, len(parts)):
        faces = charts.faces[charts.part[charts.faces[:, 0]] == part]
        filled = np.zeros((SIDE, SIDE), bool)
        # Drawn on a grid of texels whose centers are k / 255.
        for face in faces:
            _fill(charts.uv[face] * (SIDE - 1), charts.uv[mirror[face]], tables[part - 1], filled)
        _spread(tables[part - 1], filled)
    return tables[:, 0].copy(), tables[:, 1].copy()


def _fill(corners: NDArray[Any], values: NDArray[Any], table: NDArray[Any], filled: NDArray[np.bool_]) -> None:
    """Draw a triangle with corners (3, 2) in texels (x, y) and values (3, 2) into a table (2, S, S)."""
    low, high = np.floor(corners.min(0)).astype(int), np.ceil(corners.max(0)).astype(int)
    ys, xs = np.mgrid[low[1] : high[1] + 1, low[0] : high[0] + 1]
    (ax, ay), (bx, by), (cx, cy) = corners
    double = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if abs(double) < 1e-9:
        return
    second = ((xs - ax) * (cy - ay) - (ys - ay) * (cx - ax)) / double
    third = ((bx - ax) * (ys - ay) - (by - ay) * (xs - ax)) / double
    inside = (second >= -1e-6) & (third >= -1e-6) & (second + third <= 1 + 1e-6)
    inside &= (xs >= 0) & (ys >= 0) & (xs < table.shape[2]) & (ys < table.shape[1])
    y, x = ys[inside], xs[inside]
    weights = np.stack((1 - second - third, second, third))[:, inside]
    table[:, y, x] = values.T @ weights
    filled[y, x] = True


def _spread(table: NDArray[Any], filled: NDArray[np.bool_]) -> None:
    """Give cells that are not filled the value of a filled neighbor, until all are."""
    while filled.any() and not filled.all():
        for axis, step in ((1, 1), (1, -1), (0, 1), (0, -1)):
            there = np.roll(filled, step, axis)
            edge = [slice(None), slice(None)]
            edge[axis] = slice(0, 1) if step == 1 else slice(-1, None)
            there[tuple(edge)] = False
            new = there & ~filled
            table[:, new] = np.roll(table, step, axis + 1)[:, new]
            filled |= new
