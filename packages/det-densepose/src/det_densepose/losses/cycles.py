"""Cycle consistency losses: from a mesh to another and back, and from pixels to a mesh and back.

Neverova et al., "Discovering relationships between object categories via universal canonical maps", 2021.
"""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from det_densepose.losses.geodesics import Geodesics

__all__ = ["PixToShapeCycleLoss", "ShapeToShapeCycleLoss"]


class ShapeToShapeCycleLoss:
    """From vertices of one mesh to another and back, by the similarity of their embeddings.

    What does not come back costs its distance along the surface. Each step takes one pair of meshes, at random, and of
    each mesh some vertices, at random.

    Args:
        weight: factor on the loss in the sum.
        temperature: divisor of the similarities before the softmax; lower is sharper.
        max_vertices: maximum number of vertices of a mesh in a step.
        norm: order of the norm of the cost matrix.
    """

    def __init__(
        self, weight: float = 0.025, temperature: float = 0.05, max_vertices: int = 4936, norm: float = 2
    ) -> None:
        self.weight, self.temperature, self.max_vertices, self.norm = weight, temperature, max_vertices, norm

    def __call__(self, embeddings: Mapping[str, Tensor], geodesics: Geodesics) -> Tensor:
        """The weighted loss, a scalar, of the embeddings (V, D) of at least two meshes, of length 1."""
        sample = {name: self.vertices(len(embeddings[name])) for name in self.pair(tuple(embeddings))}
        (one, two) = sample
        rows = {name: sample[name].to(embeddings[name].device) for name in sample}
        similar = embeddings[one][rows[one]] @ embeddings[two][rows[two]].T / self.temperature
        there, back = similar.softmax(1), similar.T.softmax(1)
        cycles = {one: there @ back, two: back @ there}
        costs = [
            _norm(geodesics.between(name, rows[name]).to(cycle) * cycle, self.norm) for name, cycle in cycles.items()
        ]
        return (costs[0] + costs[1]) * self.weight

    def pair(self, names: tuple[str, ...]) -> tuple[str, str]:
        """Two different meshes, at random."""
        first, second = torch.randperm(len(names))[:2].tolist()
        return names[first], names[second]

    def vertices(self, count: int) -> Tensor:
        """Which of so many vertices are used, int64, at random where there are too many."""
        return torch.arange(count) if count <= self.max_vertices else torch.randperm(count)[: self.max_vertices]


class PixToShapeCycleLoss:
    """From pixels of an object to a mesh and back, by the similarity of their embeddings.

    What does not come back costs its squared distance, in cells of the region.

    Args:
        weight: factor on the loss in the sum.
        pixel_temperature: temperature of the softmax from pixels to vertices.
        vertex_temperature: temperature of the softmax from vertices back to pixels.
        max_pixels: maximum number of pixels of a region, sampled at random from its mask.
        all_meshes: whether to use all meshes instead of only those of the objects in the batch.
        norm: order of the norm of the cost matrix.
    """

    def __init__(
        self,
        weight: float = 1e-4,
        pixel_temperature: float = 0.05,
        vertex_temperature: float = 0.05,
        max_pixels: int = 100,
        all_meshes: bool = False,
        norm: float = 2,
    ) -> None:
        self.weight, self.max_pixels, self.all_meshes, self.norm = weight, max_pixels, all_meshes, norm
        self.pixel_temperature, self.vertex_temperature = pixel_temperature, vertex_temperature

    def __call__(self, pixels: Tensor, masks: Tensor, embeddings: Mapping[str, Tensor]) -> Tensor:
        """The weighted loss, a scalar: the mean over all regions and meshes; a region without pixels costs 0.

        Args:
            pixels: embeddings (R, D, Z, Z).
            masks: bool (R, Z, Z).
            embeddings: vertex embeddings of each mesh in the loss, (V, D) of length 1.
        """
        costs = []
        for region, mask in zip(pixels, masks, strict=True):
            places = torch.nonzero(mask)
            if not len(places):
                continue
            places = places[self.choose(len(places)).to(places.device)]
            pixel_embeddings = F.normalize(region[:, places[:, 0], places[:, 1]].T.float(), dim=1, eps=1e-6)
            far = (places[:, None] - places).square().sum(-1).to(pixel_embeddings)
            costs += [
                _norm(far * self._cycle(pixel_embeddings, vertices), self.norm) for vertices in embeddings.values()
            ]
        if not costs:
            return pixels.sum() * 0
        return torch.stack(costs).sum() / (len(pixels) * len(embeddings)) * self.weight

    def choose(self, count: int) -> Tensor:
        """Which of so many pixels are used, int64, at random where there are too many."""
        return torch.arange(count) if count <= self.max_pixels else torch.randperm(count)[: self.max_pixels]

    def _cycle(self, pixels: Tensor, vertices: Tensor) -> Tensor:
        """How much of each pixel comes back to each, (N, N)."""
        similar = pixels @ vertices.T
        there = (similar / self.pixel_temperature).softmax(1)
        return there @ (similar.T / self.vertex_temperature).softmax(1)


def _norm(costs: Tensor, order: float) -> Tensor:
    """The norm of all entries of a matrix; its gradient is 0, not NaN, where all of them are 0."""
    return torch.linalg.vector_norm(costs, order)
