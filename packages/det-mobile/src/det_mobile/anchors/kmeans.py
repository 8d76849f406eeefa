"""k-means over the sizes of boxes (Lloyd, 1982; Arthur and Vassilvitskii, "k-means++", 2007)."""

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["cluster_sizes", "within_squares"]

Array = NDArray[np.float64]


def cluster_sizes(sizes: Array, clusters: int, *, seed: int = 3, starts: int = 10, most_steps: int = 300) -> Array:
    """The centres of `clusters` groups of sizes, by rising area, float64 (clusters, 2).

    The best of several starts, each of which draws distant sizes and then moves the centres until no size changes its
    group.

    Args:
        sizes: width and height of each box in pixels, (N, 2).
        clusters: how many.
        seed: of the draws.
        starts: how many times to begin anew.
        most_steps: of each start.

    Raises:
        DataError: there are fewer different sizes than clusters, or sizes that are no positive numbers.
    """
    sizes = np.asarray(sizes, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(sizes).all() or (sizes <= 0).any():
        raise DataError("anchors", "sizes of boxes must be positive numbers")
    if clusters < 1 or len(different := np.unique(sizes, axis=0)) < clusters:
        count = len(np.unique(sizes, axis=0))
        fix = f"ask for at least 1 and at most {count}" if count else "give a dataset with boxes"
        raise DataError("anchors", f"cannot make {clusters} groups", f"there are {count} different sizes of boxes", fix)
    random, best = np.random.default_rng(seed), (np.inf, different[:clusters])
    for _ in range(starts):
        centres = _moved(sizes, _drawn(sizes, clusters, random), most_steps)
        best = min(best, (within_squares(sizes, centres), centres), key=lambda each: each[0])
    centres = best[1]
    return centres[np.argsort(centres.prod(axis=1), kind="stable")]


def within_squares(sizes: Array, centres: Array) -> float:
    """The sum of squared distances of sizes (N, 2) from the nearest of the centres (K, 2), in square pixels."""
    return float(_distances(np.asarray(sizes, dtype=np.float64), centres).min(axis=1).sum())


def _distances(sizes: Array, centres: Array) -> Array:
    squares: Array = ((sizes[:, None] - centres) ** 2).sum(axis=2)
    return squares


def _drawn(sizes: Array, clusters: int, random: np.random.Generator) -> Array:
    """Sizes as first centres, each drawn by its squared distance from those before."""
    centres = sizes[random.integers(len(sizes))][None]
    while len(centres) < clusters:
        weight = _distances(sizes, centres).min(axis=1)
        centres = np.concatenate((centres, sizes[random.choice(len(sizes), p=weight / weight.sum())][None]))
    return centres


def _moved(sizes: Array, centres: Array, most_steps: int) -> Array:
    groups = np.full(len(sizes), -1)
    for _ in range(most_steps):
        nearest = _distances(sizes, centres).argmin(axis=1)
        if (nearest == groups).all():
            break
        groups = nearest
        centres = np.stack(
            [sizes[groups == k].mean(axis=0) if (groups == k).any() else old for k, old in enumerate(centres)]
        )
    return centres
