"""Geodesic point similarity: distances of predicted and annotated points along the surface of the body."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from det_densepose.bodies.body import Charts, Distances

__all__ = [
    "GROUP_OF_PART",
    "KAPPA_OF_GROUP",
    "MESH_KAPPA",
    "ChartReader",
    "GroundTruthPoints",
    "Reader",
    "VertexReader",
    "similarity",
]

KAPPA_OF_GROUP = (0.0, 0.351, 0.107, 0.126, 0.237, 0.173, 0.142, 0.128, 0.150)
"""Distance in meters at which a point counts exp(-1/2), by group of parts; as published."""

GROUP_OF_PART = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8)
"""The group of each of the 24 parts; 0 is the background."""

MESH_KAPPA = 0.255
"""The same for vertices of meshes without parts."""

_SIDE = 255.0
"""The evaluation divides points by 255, not by the 256 cells of the grid; as published."""


@dataclass(frozen=True, eq=False)
class GroundTruthPoints:
    """The annotated points of one object.

    Attributes:
        grid: float64 (P, 2): x and y in the grid of the box.
        box: x, y, width and height of the annotated box.
        vertex: int64 (P,): annotated vertex, -1 for none.
        kappa: float64 (P,): distance with a similarity of exp(-1/2), in meters.
        mesh: name of the mesh, "" for charts.
    """

    grid: NDArray[np.float64]
    box: tuple[float, float, float, float]
    vertex: NDArray[np.int64]
    kappa: NDArray[np.float64]
    mesh: str = ""

    def __len__(self) -> int:
        return len(self.grid)

    def pixels(self, x: float, y: float) -> NDArray[np.int64]:
        """Where the points are, counted in whole pixels from (x, y), cut off towards zero: int64 (P, 2)."""
        size = np.array(self.box[2:], np.float64)
        return (self.grid * size / _SIDE + self.box[:2] - np.array([x, y], np.float64)).astype(np.int64)


class Reader(Protocol):
    """Predicted vertices at pixels of a box."""

    def at(self, pixels: NDArray[np.int64], points: GroundTruthPoints) -> NDArray[np.int64]:
        """The vertex at each pixel (P, 2), x and y within the box; -1 where there is none."""
        ...


@dataclass(frozen=True, eq=False)
class ChartReader:
    """Part, 255 u and 255 v over a box, uint8 (3, h, w), and the charts in which the vertices lie."""

    quantized: NDArray[np.uint8]
    charts: Charts

    def at(self, pixels: NDArray[np.int64], points: GroundTruthPoints) -> NDArray[np.int64]:
        """The vertex of the same part that is nearest in u and v."""
        part, u, v = self.quantized[:, pixels[:, 1], pixels[:, 0]]
        return self.charts.nearest(part.astype(np.int64), u / 255.0, v / 255.0)


class VertexReader:
    """The nearest vertices of embeddings over a box, for the mesh of the ground truth.

    Args:
        result: gives mask and vertex of pixels; takes ys, xs and the name of a mesh.
    """

    def __init__(self, result: "VertexLookup") -> None:
        self._result = result

    def at(self, pixels: NDArray[np.int64], points: GroundTruthPoints) -> NDArray[np.int64]:
        """The nearest vertex where the object is."""
        return self._result(pixels[:, 1], pixels[:, 0], points.mesh)


class VertexLookup(Protocol):
    """The vertex at rows and columns of a box, -1 outside of the object."""

    def __call__(self, ys: NDArray[np.int64], xs: NDArray[np.int64], mesh: str) -> NDArray[np.int64]:
        """The vertices, int64 (P,)."""
        ...


def similarity(
    reader: Reader, box: tuple[float, float, float, float], points: GroundTruthPoints, distances: Distances
) -> float:
    """The geodesic point similarity of a prediction and an object, in [0, 1].

    Args:
        reader: predicted vertices at image positions.
        box: x, y, width and height of the predicted box.
        points: annotated points of the object.
        distances: geodesic distances on the object's mesh, in meters.

    The mean of exp(-d^2 / (2 kappa^2)) over points with a true vertex, where d is infinite if the prediction has no
    vertex there; 0 if no point lies in the box (Gueler et al., 2018, equation 5).
    """
    pixels = points.pixels(box[0], box[1])
    inside = (pixels >= 0).all(1) & (pixels < np.array([int(box[2]), int(box[3])])).all(1)
    if not inside.any():
        return 0.0
    vertex = np.full(len(points), -1, np.int64)
    vertex[inside] = reader.at(pixels[inside], points)
    has_vertex = points.vertex >= 0
    both = has_vertex & (vertex >= 0)
    values = np.zeros(len(points))
    distance = distances.between(points.vertex[both], vertex[both])
    values[both] = np.exp(-(distance**2) / (2 * points.kappa[both] ** 2))
    return float(values[has_vertex].mean()) if has_vertex.any() else 0.0
