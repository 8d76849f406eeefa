"""Reads triangles and polygons from Wavefront OBJ files."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["ObjMesh", "read_obj"]

_LARGEST = 256 * 1024**2


@dataclass(frozen=True, eq=False)
class ObjMesh:
    """A mesh: `vertices` float64 (V, 3), `faces` int64 (F, 3), and `texcoords` float32 (V, 2) or None.

    A vertex with several places in a texture keeps the first.
    """

    vertices: NDArray[np.float64]
    faces: NDArray[np.int64]
    texcoords: NDArray[np.float32] | None


def read_obj(path: Path) -> ObjMesh:
    """The vertices and faces of an OBJ file; polygons are cut into triangles from their first corner.

    Raises:
        DataError: the file cannot be read, a line is broken, a face names a vertex that is not there, a number is not
            finite, or there are no faces.
    """
    where = str(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise DataError(where, "is too large for a mesh", f"{path.stat().st_size} bytes")
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        raise DataError(where, "cannot be read", error.strerror or str(error), "check the path") from error
    vertices: list[list[float]] = []
    places: list[list[float]] = []
    faces: list[list[int]] = []
    of_vertex: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        kind, *words = line.split("#")[0].split() or [""]
        try:
            if kind == "v":
                vertices.append([float(word) for word in words[:3]])
            elif kind == "vt":
                places.append([float(word) for word in words[:2]])
            elif kind == "f":
                corners = [_corner(word, len(vertices), len(places), of_vertex) for word in words]
                if len(corners) < 3:
                    raise ValueError("a face needs three corners")
                faces += [[corners[0], a, b] for a, b in pairwise(corners[1:])]
        except (ValueError, IndexError) as error:
            raise DataError(f"{where}, line {number}", "is no line of an OBJ file", str(error)) from error
    if not faces:
        raise DataError(where, "has no faces", f"{len(vertices)} vertices", "give a mesh with lines that start with f")
    if any(len(vertex) != 3 for vertex in vertices) or not np.isfinite(vertices).all():
        raise DataError(where, "has a vertex that is not three finite numbers")
    texcoords = None
    if len(of_vertex) == len(vertices) and all(len(place) == 2 for place in places):
        texcoords = np.array([places[of_vertex[row]] for row in range(len(vertices))], np.float32)
    return ObjMesh(np.array(vertices), np.array(faces, np.int64), texcoords)


def _corner(word: str, num_vertices: int, num_places: int, of_vertex: dict[int, int]) -> int:
    """The vertex, from 0, of a corner such as 3, 3/1, 3//2 or -1."""
    parts = word.split("/")
    index = _index(parts[0], num_vertices)
    if len(parts) > 1 and parts[1]:
        of_vertex.setdefault(index, _index(parts[1], num_places))
    return index


def _index(text: str, count: int) -> int:
    value = int(text)
    index = value - 1 if value > 0 else count + value
    if value == 0 or not 0 <= index < count:
        raise ValueError(f"number {value} of {count}")
    return index
