"""Smooth functions on a surface: eigenfunctions of its Laplace-Beltrami operator."""

import importlib.util

import numpy as np
from det_core.errors import DataError, MissingExtraError
from numpy.typing import NDArray

__all__ = ["cotangents", "laplacian_features"]

_DENSE = 5000
"""Vertices up to which NumPy alone is enough."""


def cotangents(
    vertices: NDArray[np.floating], faces: NDArray[np.integer]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Directed edges (E, 2) with cotangent weights (E,) and the area (V,) of each vertex (Pinkall and Polthier, 1993).

    The weight of an edge is half the sum of the cotangents of the angles opposite of it; edges of a triangle come
    separately and have to be added up. The area is a third of the triangles around.
    """
    points = np.asarray(vertices, np.float64)
    rows, weights = [], []
    area = np.zeros(len(points))
    for i in range(3):
        a, b, c = faces[:, i], faces[:, (i + 1) % 3], faces[:, (i + 2) % 3]
        one, two = points[b] - points[a], points[c] - points[a]
        double = np.linalg.norm(np.cross(one, two), axis=1)
        weight = 0.5 * (one * two).sum(1) / np.maximum(double, 1e-12)
        rows += [np.stack((b, c), 1), np.stack((c, b), 1)]
        weights += [weight, weight]
        np.add.at(area, a, double / 6)
    return np.concatenate(rows), np.concatenate(weights), area


def laplacian_features(
    vertices: NDArray[np.floating], faces: NDArray[np.integer], count: int = 256
) -> NDArray[np.float32]:
    """The `count` smoothest eigenfunctions, float32 (V, count), orthonormal by area; the first is constant.

    Signs are arbitrary and chosen so that the largest value of each is positive.

    Raises:
        DataError: the mesh has fewer vertices than functions are wanted, or a vertex without a triangle.
        MissingExtraError: the mesh is large and SciPy is not installed.
    """
    size = len(vertices)
    if not 0 < count <= size:
        raise DataError("features", "there are as many eigenfunctions as vertices", f"{count} of {size} vertices")
    edges, weights, area = cotangents(vertices, faces)
    if not (area > 0).all():
        found = f"{int((area <= 0).sum())} of {size}"
        raise DataError("features", "the mesh has vertices without area", found, "remove vertices that no face uses")
    scale = 1 / np.sqrt(area)
    if size <= _DENSE and not _has_scipy():
        matrix = np.zeros((size, size))
        np.add.at(matrix, (edges[:, 0], edges[:, 1]), -weights)
        np.fill_diagonal(matrix, matrix.diagonal() - matrix.sum(1))
        functions = np.linalg.eigh(matrix * scale * scale[:, None])[1][:, :count]
    else:
        functions = _sparse(edges, weights, scale, count)
    functions = functions * scale[:, None]
    signs = np.sign(functions[np.abs(functions).argmax(0), np.arange(count)])
    return np.asarray(functions * signs, np.float32)


def _has_scipy() -> bool:
    return importlib.util.find_spec("scipy") is not None


def _sparse(
    edges: NDArray[np.int64], weights: NDArray[np.float64], scale: NDArray[np.float64], count: int
) -> NDArray[np.float64]:
    try:
        from scipy.sparse import coo_matrix, diags
        from scipy.sparse.linalg import eigsh
    except ImportError as error:
        fix = "pip install 'det-densepose[meshes]'"
        raise MissingExtraError("features", f"a mesh of more than {_DENSE} vertices needs SciPy", fix=fix) from error
    size = len(scale)
    matrix = coo_matrix((-weights, (edges[:, 0], edges[:, 1])), (size, size)).tocsr()
    matrix = matrix - diags(np.asarray(matrix.sum(1)).ravel())
    values, functions = eigsh(diags(scale) @ matrix @ diags(scale), count, sigma=-1e-6)
    return np.asarray(functions[:, np.argsort(values)])
