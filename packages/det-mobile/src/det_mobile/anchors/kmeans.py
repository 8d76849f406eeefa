"""k-means over the sizes of boxes (Lloyd, 1982; Arthur and Vassilvitskii, "k-means++", 2007)."""

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["cluster_sizes", "within_squares"]

Array = NDArray[np.float64]


def cluster_sizes(sizes: Array, clusters: int, *, seed: int = 3, starts: int = 10, most_steps: int = 300) -> Array:
    """The centers of `clusters` groups of sizes, by ascending area, float64 (clusters, 2).

    The best of several starts, each of which draws distant sizes and then moves the centers until no size changes its
    group.

    Args:
        sizes: width and height of each box in pixels, (N, 2).
        clusters: number of groups of boxes.
        seed: seed of the random number generator.
        starts: number of random starts, of which the best is returned.
        most_steps: maximum number of steps of each start.

    Raises:
        DataError: there are fewer different sizes than clusters, or a size is not a positive number.
    """
    sizes = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise DataError("anchors", "sizes of boxes must be positive numbers")
    if clusters < 1 or len(different := np.unique(sizes, axis=0)) < clusters:
        count = len(np.unique(sizes, axis=0))
        fix = f"give at least 1 and at most {count}" if count else "give a dataset with boxes"
        raise DataError("anchors", f"cannot make {clusters} groups", f"there are {count} different sizes of boxes", fix)
    random, best = np.random.default_rng(seed), (np.inf, different[:clusters])
    for _ in range(starts):
        centers = _moved(sizes, _first_centers(sizes, clusters, random), most_steps)
        best = min(best, (within_squares(sizes, centers), centers), key=lambda each: each[0])
    centers = best[1]
    return centers[np.argsort(centers.prod(axis=1), kind="stable")]


def within_squares(sizes: Array, centers: Array) -> float:
    """The sum of squared distances of sizes (N, 2) from the nearest of the centers (K, 2), in square pixels."""
    return float(_distances(np.asarray(sizes, dtype=np.float64), centers).min(axis=1).sum())


def _distances(sizes: Array, centers: Array) -> Array:
    squares: Array = ((sizes[:, None] - centers) ** 2).sum(axis=2)
    return squares


def _first_centers(sizes: Array, clusters: int, random: np.random.Generator) -> Array:
    """Sizes as first centers, each drawn by its squared distance from those before."""
    centers = sizes[random.integers(len(sizes))][None]
    while len(centers) < clusters:
        weight = _distances(sizes, centers).min(axis=1)
        centers = np.concatenate((centers, sizes[random.choice(len(sizes), p=weight / weight.sum())][None]))
    return centers


def _moved(sizes: Array, centers: Array, most_steps: int) -> Array:
    groups = np.full(len(sizes), -1)
    for _ in range(most_steps):
        nearest = _distances(sizes, centers).argmin(axis=1)
        if (nearest == groups).all():
            break
        groups = nearest
        centers = np.stack(
            [sizes[groups == k].mean(axis=0) if (groups == k).any() else old for k, old in enumerate(centers)]
        )
    return centers
