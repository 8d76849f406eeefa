"""A body: its surface, charts, geodesic distances and symmetry; and the synthetic figure of this package."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from det_core.errors import DataError
from numpy.typing import NDArray
from torch import Tensor

from det_densepose.structures import ATLAS_COLUMNS, ATLAS_ROWS, Mesh

__all__ = ["FIGURE", "Body", "Charts", "Distances", "MatrixDistances", "PackedDistances", "figure"]

FIGURE = "det_figure"
"""The name of the synthetic figure, as a mesh."""


class Distances(Protocol):
    """Distances along a surface between pairs of vertices."""

    def between(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """The distance of each pair; both (P,), indices of vertices, all valid."""
        ...


@dataclass(frozen=True, eq=False)
class MatrixDistances:
    """Distances from a table (V, V)."""

    matrix: NDArray[Any]

    def between(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """The distance of each pair."""
        return np.asarray(self.matrix[first, second], np.float64)


@dataclass(frozen=True, eq=False)
class PackedDistances:
    """Distances from the strict lower triangle of a table, row after row, as the published evaluation file has them.

    The published arithmetic reads a list of the upper triangle backwards with both indices reversed, which is this.
    """

    values: NDArray[Any]

    @staticmethod
    def index(first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
        """The place i (i - 1) / 2 + j of each pair i > j, in any order; of a pair of equals, a place to be ignored."""
        high, low = np.maximum(first, second), np.minimum(first, second)
        return np.asarray(high * (high - 1) // 2 + low, np.int64)

    def between(self, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float64]:
        """The distance of each pair."""
        place = np.where(first == second, 0, self.index(first, second))
        return np.where(first == second, 0.0, np.asarray(self.values.reshape(-1)[place], np.float64))


@dataclass(frozen=True, eq=False)
class Charts:
    """Chart coordinates of the vertices of a body; a vertex on a seam has one row for each of its charts.

    Attributes:
        vertex: int64 (S,): index of the vertex.
        part: int64 (S,): number of the chart, from 1.
        uv: float64 (S, 2): u and v, in [0, 1].
        faces: int64 (F, 3): triangles as indices of these rows; None for points without triangles.
    """

    vertex: NDArray[np.int64]
    part: NDArray[np.int64]
    uv: NDArray[np.float64]
    faces: NDArray[np.int64] | None = None

    def nearest(self, part: NDArray[Any], u: NDArray[Any], v: NDArray[Any]) -> NDArray[np.int64]:
        """The vertex of the same part that is nearest in (u, v) of each point; -1 where no chart has that part."""
        vertices = np.full(len(part), -1, np.int64)
        for number in np.unique(part):
            rows = self._rows.get(int(number))
            if rows is None:
                continue
            in_part = part == number
            points = np.stack((u[in_part], v[in_part]), 1).astype(np.float64)
            distance = ((points[:, None] - self.uv[rows][None]) ** 2).sum(-1)
            vertices[in_part] = self.vertex[rows[distance.argmin(1)]]
        return vertices

    def in_atlas(self, count: int) -> NDArray[np.float32]:
        """Places of `count` vertices in an atlas, float32 (count, 2) in [0, 1]: u to the right, v upwards.

        A vertex on a seam is placed in the first of its charts, all of them a little inside of the tile.
        """
        vertex, first = np.unique(self.vertex, return_index=True)
        column, row = np.divmod(self.part[first] - 1, ATLAS_ROWS)
        u, v = (0.005 + 0.99 * self.uv[first]).T
        places = np.zeros((count, 2), np.float32)
        places[vertex] = np.stack(((column + u) / ATLAS_COLUMNS, 1 - (row + 1 - v) / ATLAS_ROWS), 1)
        return places

    @cached_property
    def _rows(self) -> dict[int, NDArray[np.int64]]:
        return {int(p): np.flatnonzero(self.part == p) for p in np.unique(self.part) if p > 0}


@dataclass(frozen=True, eq=False)
class Body:
    """A surface; unavailable attributes are None.

    Attributes:
        name: name of the mesh, such as "smpl_27554".
        num_vertices: number V of vertices of the mesh.
        vertices: coordinates, float32 (V, 3).
        faces: triangles, int64 (F, 3).
        symmetry: index of the mirror image of each vertex, int64 (V,).
        charts: chart coordinates of the vertices.
        texcoords: float32 (V, 2) in [0, 1], coordinates in one texture of the whole surface.
        geodesics: function that loads the geodesic distances, float32 (V, V).
        features: function that loads the first eigenfunctions of the Laplacian, float32 (V, K).
        skin: arrays for posing; only for the synthetic figure.
    """

    name: str
    num_vertices: int
    vertices: NDArray[np.float32] | None = None
    faces: NDArray[np.int64] | None = None
    symmetry: NDArray[np.int64] | None = None
    charts: Charts | None = None
    texcoords: NDArray[np.float32] | None = None
    geodesics: Callable[[], NDArray[np.float32]] | None = None
    features: Callable[[], NDArray[np.float32]] | None = None
    skin: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def mesh(self) -> Mesh:
        """The mesh for models."""
        return Mesh(
            name=self.name,
            num_vertices=self.num_vertices,
            geodesics=None if self.geodesics is None else _tensors(self.geodesics),
            features=None if self.features is None else _tensors(self.features),
            symmetry=None if self.symmetry is None else torch.from_numpy(self.symmetry.copy()),
        )

    def distances(self) -> Distances:
        """The distances between vertices.

        Raises:
            DataError: the body has no distances.
        """
        if self.geodesics is None:
            fix = "make them with `det densepose mesh make`, or put the published file into the folder of bodies"
            raise DataError(f"body {self.name}", "has no geodesic distances", fix=fix)
        return MatrixDistances(self.geodesics())


def _tensors(load: Callable[[], NDArray[np.float32]]) -> Callable[[], Tensor]:
    return lambda: torch.from_numpy(np.ascontiguousarray(load()))


@lru_cache(maxsize=1)
def figure() -> Body:
    """The synthetic figure of this package: 1990 vertices, 24 charts, 64 features; its distances take a second."""
    from det_densepose.bodies.geodesics import geodesics

    with np.load(Path(__file__).with_name("figure.npz"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    vertices, faces = arrays["vertices"], arrays["faces"].astype(np.int64)
    charts = Charts(
        vertex=arrays["chart_vertex"].astype(np.int64),
        part=arrays["chart_part"].astype(np.int64),
        uv=arrays["chart_uv"].astype(np.float64),
        faces=arrays["chart_faces"].astype(np.int64),
    )
    return Body(
        name=FIGURE,
        num_vertices=len(vertices),
        vertices=vertices,
        faces=faces,
        symmetry=arrays["symmetry"].astype(np.int64),
        charts=charts,
        texcoords=charts.in_atlas(len(vertices)),
        geodesics=lru_cache(maxsize=1)(lambda: geodesics(vertices, faces)),
        features=lambda: arrays["features"].astype(np.float32),
        skin={"weights": arrays["weights"], "joints": arrays["joints"]},
    )
