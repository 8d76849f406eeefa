"""Losses of pixel embeddings, which compare them with the embeddings of the annotated vertices.

Neverova et al., "Continuous surface embeddings", 2020.
"""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor
from torch.nn import functional as F

__all__ = ["EmbeddingLoss", "PixelLoss", "SoftEmbeddingLoss", "squared_distances"]


@runtime_checkable
class PixelLoss(Protocol):
    """Compares embeddings of points with those of the vertices of a mesh.

    Attributes:
        uses_geodesics: whether it needs distances along the surface.
    """

    uses_geodesics: bool

    def __call__(
        self, pixels: Tensor, vertices: Tensor, target: Tensor, geodesics: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """The loss, a scalar: the mean over K points, at least one.

        Args:
            pixels: float32 (K, D), of length 1.
            vertices: float32 (V, D), of length 1.
            target: int64 (K,), the vertex of each point.
            geodesics: vertices, int64 (K,), to their distances along the surface to all, float32 (K, V).
        """
        ...


class EmbeddingLoss:
    """Cross-entropy over the vertices of the mesh; the score of a vertex is its negative squared distance.

    Args:
        sigma: positive number that divides the squared distances; lower is sharper.
    """

    uses_geodesics = False

    def __init__(self, sigma: float = 0.01) -> None:
        self.sigma = sigma

    def __call__(
        self, pixels: Tensor, vertices: Tensor, target: Tensor, geodesics: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """As `PixelLoss`."""
        return F.cross_entropy(squared_distances(pixels, vertices) / -self.sigma, target)


class SoftEmbeddingLoss:
    """As `EmbeddingLoss`, with soft targets for vertices near the annotated one, by their geodesic distance.

    Args:
        sigma: positive number that divides the squared distances of embeddings; lower is sharper.
        geodesic_sigma: scale that divides the geodesic distances, in meters, which are not squared.
    """

    uses_geodesics = True

    def __init__(self, sigma: float = 0.01, geodesic_sigma: float = 0.01) -> None:
        self.sigma, self.geodesic_sigma = sigma, geodesic_sigma

    def __call__(
        self, pixels: Tensor, vertices: Tensor, target: Tensor, geodesics: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """As `PixelLoss`."""
        share = (geodesics(target).to(pixels) / -self.geodesic_sigma).softmax(1)
        return F.cross_entropy(squared_distances(pixels, vertices) / -self.sigma, share)


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Squared Euclidean distances of rows (M, D) to rows (N, D): (M, N)."""
    return a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
