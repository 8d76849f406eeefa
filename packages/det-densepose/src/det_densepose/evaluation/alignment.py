"""Mesh alignment: whether embeddings of different bodies agree at corresponding key points."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from det_densepose.bodies.body import Distances
from det_densepose.evaluation.similarity import MESH_KAPPA

__all__ = ["mesh_alignment"]


def mesh_alignment(
    embeddings: Mapping[str, NDArray[np.floating]],
    key_vertices: Mapping[str, Mapping[str, int]],
    distances: Mapping[str, Distances],
) -> dict[str, float]:
    """How far named places of one mesh land from those of another, in meters, and as geodesic point similarity.

    Args:
        embeddings: name of a mesh -> embeddings (V, D), rows of length 1.
        key_vertices: name of a mesh -> vertex of each key point.
        distances: name of a mesh -> geodesic distances.

    Returns:
        `GE` and `GPS`, the means over meshes, and `GE-NAME` and `GPS-NAME`, the means over all other meshes: each named
        vertex of NAME goes to the vertex of the other mesh with the largest inner product.
    """
    names = [name for name in key_vertices if name in embeddings]
    errors: dict[str, float] = {}
    scores: dict[str, float] = {}
    for first in names:
        own_errors, own_scores = [], []
        for second in names:
            shared = [key for key in key_vertices[first] if key in key_vertices[second]]
            if first == second or not shared:
                continue
            sources = np.array([key_vertices[first][key] for key in shared], np.int64)
            target = np.array([key_vertices[second][key] for key in shared], np.int64)
            nearest = (embeddings[first][sources] @ embeddings[second].T).argmax(1)
            distance = distances[second].between(nearest, target)
            own_errors.append(float(distance.mean()))
            own_scores.append(float(np.exp(-(distance**2) / (2 * MESH_KAPPA**2)).mean()))
        if own_errors:
            errors[first], scores[first] = float(np.mean(own_errors)), float(np.mean(own_scores))
    if not errors:
        return {}
    metrics = {"GE": float(np.mean(list(errors.values()))), "GPS": float(np.mean(list(scores.values())))}
    metrics |= {f"GE-{name}": value for name, value in errors.items()}
    return metrics | {f"GPS-{name}": value for name, value in scores.items()}
