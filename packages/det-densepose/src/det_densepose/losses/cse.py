"""The losses of a model of continuous surface embeddings (Neverova et al., 2020)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from det_core.errors import ConfigError, StructureError
from det_core.recipes import Factory
from torch import Tensor
from torch.nn import functional as F

from det_densepose.losses.coarse import CoarseLoss, CoarseLossFromParts, instance_masks
from det_densepose.losses.cycles import PixToShapeCycleLoss, ShapeToShapeCycleLoss
from det_densepose.losses.embedding import EmbeddingLoss, PixelLoss
from det_densepose.losses.geodesics import Geodesics
from det_densepose.losses.points import cells_at_points
from det_densepose.losses.regions import Regions
from det_densepose.structures import MeshSource, mesh_id

__all__ = ["CseWeights", "DensePoseCseLoss", "VertexEmbeddings"]


@runtime_checkable
class VertexEmbeddings(Protocol):
    """Embeddings of the vertices of meshes."""

    names: tuple[str, ...]

    def __call__(self, mesh: str) -> Tensor:
        """Float32 (V, D), rows of length 1."""
        ...


@dataclass(frozen=True)
class CseWeights:
    """Weights of the losses of a model of embeddings.

    Args:
        coarse: weight of the coarse segmentation loss, "loss_densepose_S".
        embedding: weight of the embedding loss, "loss_densepose_E" and the name of the mesh.
    """

    coarse: float = 5.0
    embedding: float = 0.6


class DensePoseCseLoss:
    """The losses of a model of continuous surface embeddings.

    Args:
        weights: weights of the losses; null for the published ones.
        embedding: loss of the pixel embeddings; null for `EmbeddingLoss`.
        coarse: loss of the coarse segmentation; null for `CoarseLossFromParts`.
        shape_to_shape: cycle loss between meshes; null for none.
        pix_to_shape: cycle loss between pixels and meshes; null for none.
        meshes: source of the geodesic distances that `SoftEmbeddingLoss` and `shape_to_shape` need, read at the first
            training step.
    """

    def __init__(
        self,
        weights: CseWeights | None = None,
        embedding: PixelLoss | None = None,
        coarse: CoarseLoss | None = None,
        shape_to_shape: ShapeToShapeCycleLoss | None = None,
        pix_to_shape: PixToShapeCycleLoss | None = None,
        meshes: Factory[MeshSource] | None = None,
    ) -> None:
        self.weights, self.embedding = weights or CseWeights(), embedding or EmbeddingLoss()
        self.coarse = coarse or CoarseLossFromParts()
        self.shape_to_shape, self.pix_to_shape = shape_to_shape, pix_to_shape
        self.geodesics = Geodesics(meshes)
        self.uses_masks = self.coarse.uses_masks

    def __call__(
        self, outputs: Mapping[str, Tensor], regions: Regions, embedder: VertexEmbeddings | None = None
    ) -> dict[str, Tensor]:
        """{"loss_densepose_S", "loss_densepose_E<mesh>" for each mesh, "loss_shape2shape", "loss_pix2shape"}.

        Raises:
            ConfigError: the model has no embedder.
            StructureError: an object is annotated with a mesh that the embedder does not have.
        """
        if embedder is None:
            fix = "name the meshes in its `embedder`"
            raise ConfigError("DensePoseCseLoss", "needs the embeddings of vertices", "the model has none", fix)
        vertices = {name: embedder(name) for name in embedder.names}
        target = regions.surface[..., 3].long()
        annotated = (target >= 0).any(1)
        require_known(regions.mesh[annotated], embedder.names)
        losses = self._embeddings(outputs["embedding"], regions, vertices)
        losses["loss_densepose_S"] = self.coarse(outputs["coarse_segm"], regions, annotated) * self.weights.coarse
        if self.shape_to_shape is not None:
            enough = len(vertices) > 1 and bool(annotated.any())
            zero = torch.stack([each.sum() for each in vertices.values()]).sum() * 0
            losses["loss_shape2shape"] = self.shape_to_shape(vertices, self.geodesics) if enough else zero
        if self.pix_to_shape is not None:
            some = set(regions.mesh[annotated].unique().tolist())
            if some and self.pix_to_shape.all_meshes:
                some = {mesh_id(name) for name in vertices}
            used = {name: each for name, each in vertices.items() if mesh_id(name) in some}
            masks, _ = instance_masks(regions, outputs["embedding"].shape[-1])
            losses["loss_pix2shape"] = self.pix_to_shape(outputs["embedding"], masks, used)
        return losses

    def _embeddings(self, maps: Tensor, regions: Regions, vertices: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The loss of the points on each mesh, 0 for those without."""
        cells = cells_at_points(regions.boxes, regions.points, maps.shape[-1])
        target = regions.surface[..., 3].flatten().long()
        mesh = regions.mesh[cells.region]
        losses = {}
        for name, table in vertices.items():
            used = cells.valid & (target >= 0) & (mesh == mesh_id(name))
            if used.any():
                require_vertices(target[used], name, len(table))
                pixels = F.normalize(cells.select(used).read(maps.float()), dim=1, eps=1e-6)
                loss = self.embedding(pixels, table, target[used], self.geodesics.rows(name))
            else:
                loss = maps.float().sum() * 0 + table.sum() * 0
            losses[f"loss_densepose_E{name}"] = loss * self.weights.embedding
        return losses


def require_known(meshes: Tensor, names: tuple[str, ...]) -> None:
    """Raise StructureError where the meshes of objects, int64 (K,), are not among those of a model."""
    unknown = set(meshes.unique().tolist()) - {mesh_id(name) for name in names}
    if unknown:
        found = f"the model has {', '.join(names)}; {len(unknown)} of the objects' meshes are none of these"
        fix = "add them to the model's `embedder`, or leave out their categories"
        raise StructureError("Targets.extras['det-densepose/mesh']", "names meshes without embeddings", found, fix)


def require_vertices(vertices: Tensor, mesh: str, count: int) -> None:
    """Raise StructureError where vertices, int64 (K,), are beyond those of a mesh."""
    if (largest := int(vertices.max())) >= count:
        found = f"vertex {largest} of {mesh!r}, which has {count} in the model"
        fix = "correct `num_vertices` of the embedder, or the annotations"
        raise StructureError("Targets.extras['det-densepose/surface']", "names vertices that are not there", found, fix)
