"""Distances along a surface: shortest paths over its edges and over pairs of unfolded triangles."""

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["geodesics", "graph"]

_LARGEST = 12_000
"""Vertices; the table of more would need over half a gigabyte."""


def graph(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Pairs of vertices (E, 2), each once, and their distances (E,).

    They are the edges, and for each edge the two corners opposite of it: the two triangles are unfolded into a plane,
    and the straight line counts where it crosses the edge between them.
    """
    points = np.asarray(vertices, np.float64)
    faces = np.asarray(faces, np.int64)
    corners = np.concatenate([faces[:, [0, 1, 2]], faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]])
    edges, inverse, counts = np.unique(np.sort(corners[:, :2], 1), axis=0, return_inverse=True, return_counts=True)
    lengths = np.linalg.norm(points[edges[:, 0]] - points[edges[:, 1]], axis=1)
    # Edges with two triangles: their opposite corners.
    order = np.argsort(inverse.reshape(-1), kind="stable")
    first = np.concatenate([[0], counts.cumsum()])[:-1]
    two = counts == 2
    opposite = np.stack((corners[order[first[two]], 2], corners[order[first[two] + 1], 2]), 1)
    a, b = points[edges[two, 0]], points[edges[two, 1]]
    axis = (b - a) / np.maximum(lengths[two], 1e-12)[:, None]
    along, away = [], []
    for corner in opposite.T:
        offset = points[corner] - a
        place = (offset * axis).sum(1)
        along.append(place)
        away.append(np.linalg.norm(offset - place[:, None] * axis, axis=1))
    total = np.maximum(away[0] + away[1], 1e-12)
    crossing = along[0] + (along[1] - along[0]) * away[0] / total
    straight = np.hypot(along[1] - along[0], total)
    good = (crossing > 0) & (crossing < lengths[two]) & (opposite[:, 0] != opposite[:, 1])
    return np.concatenate([edges, opposite[good]]), np.concatenate([lengths, straight[good]])


def geodesics(vertices: NDArray[np.floating], faces: NDArray[np.integer]) -> NDArray[np.float32]:
    """The distance between all pairs of vertices, float32 (V, V); some percent above the true one, never below.

    Paths are relaxed for all sources at once, through the vertices from one end of the body to the other and back,
    until nothing changes; the result is that of Dijkstra's algorithm on `graph`.

    Raises:
        DataError: the surface falls into parts that no path joins, or is too large.
    """
    count = len(vertices)
    if count > _LARGEST:
        found = f"it has {count} vertices, {_LARGEST} is the most"
        raise DataError("geodesics", "the mesh is too large", found, "simplify the mesh")
    pairs, lengths = graph(vertices, faces)
    order = np.argsort(np.asarray(vertices)[:, int(np.ptp(vertices, axis=0).argmax())], kind="stable")
    both = np.concatenate([pairs, pairs[:, ::-1]])
    weights = np.concatenate([lengths, lengths]).astype(np.float32)
    by_vertex = np.argsort(both[:, 0], kind="stable")
    ends = np.searchsorted(both[by_vertex, 0], np.arange(count + 1))
    neighbors = [both[by_vertex[a:b], 1] for a, b in zip(ends[:-1], ends[1:], strict=True)]
    steps = [weights[by_vertex[a:b], None] for a, b in zip(ends[:-1], ends[1:], strict=True)]
    table = np.full((count, count), np.inf, np.float32)
    np.fill_diagonal(table, 0)
    while True:
        before = table.copy()
        for sweep in (order, order[::-1]):
            for vertex in sweep:
                if len(neighbors[vertex]):
                    row = (table[neighbors[vertex]] + steps[vertex]).min(0)
                    np.minimum(table[vertex], row, out=table[vertex])
        if np.array_equal(before, table):
            break
    if not np.isfinite(table).all():
        reached = int(np.isfinite(table[0]).sum())
        found = f"from the first of {count} vertices {reached} can be reached"
        raise DataError("geodesics", "the surface falls into several parts", found, "join them, or leave one out")
    return np.minimum(table, table.T)
