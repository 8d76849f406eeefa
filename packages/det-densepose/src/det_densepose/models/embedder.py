"""Embeddings of the vertices of meshes, to which pixel embeddings are compared (Neverova et al., 2020)."""

from collections.abc import Mapping
from typing import Any, Protocol, cast, runtime_checkable

import torch
from det_core.errors import DataError
from det_core.recipes import Factory
from torch import Tensor, nn
from torch.nn import functional as F

from det_densepose.structures import MeshSource

__all__ = ["Embedder", "VertexDirectEmbedder", "VertexEmbedder", "VertexFeatureEmbedder"]


@runtime_checkable
class VertexEmbedder(Protocol):
    """Embeds the vertices of one mesh. Built with `embed_dim`."""

    def forward(self) -> Tensor:
        """Float32 (V, embed_dim), not normalized yet."""
        ...


class VertexDirectEmbedder(nn.Module):
    """A learned vector for each vertex.

    The vectors are initialized at random: at zero, as published, they have no direction and no gradient.

    Args:
        num_vertices: number of vertices of the mesh, V.
        embed_dim: dimension of the embeddings, D.
        trainable: whether the vectors are trained.
    """

    def __init__(self, num_vertices: int, embed_dim: int = 16, trainable: bool = True) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.empty(num_vertices, embed_dim), requires_grad=trainable)
        nn.init.normal_(self.embeddings, std=embed_dim**-0.5)

    def forward(self) -> Tensor:
        """The vectors, (V, D)."""
        return self.embeddings


class VertexFeatureEmbedder(nn.Module):
    """A linear map of features of each vertex, such as the first eigenfunctions of the mesh's Laplacian.

    Features that are smooth on the surface result in smooth embeddings. They are part of the weights, also of published
    files. Without weights, the first training step reads them from `meshes`. Without `meshes`, they stay random, and
    then distinguish vertices, but have no information on their neighborhood. With the zeros of the published code,
    nothing would be trained.

    Args:
        num_vertices: number of vertices of the mesh, V.
        feature_dim: number of features of a vertex, K.
        embed_dim: dimension of the embeddings, D.
        trainable: whether the linear map is trained.
        features_trainable: whether the features are trained as well.
        meshes: source of the features; null for random features.
    """

    def __init__(
        self,
        num_vertices: int,
        feature_dim: int = 256,
        embed_dim: int = 16,
        trainable: bool = True,
        features_trainable: bool = False,
        meshes: Factory[MeshSource] | None = None,
    ) -> None:
        super().__init__()
        self.meshes, self._given = meshes, False
        features = torch.empty(num_vertices, feature_dim)
        nn.init.normal_(features, std=feature_dim**-0.5)
        if features_trainable:
            self.features = nn.Parameter(features)
        else:
            self.register_buffer("features", features)
        self.embeddings = nn.Parameter(torch.empty(feature_dim, embed_dim), requires_grad=trainable)
        nn.init.normal_(self.embeddings, std=embed_dim**-0.5)

    features: Tensor

    def forward(self) -> Tensor:
        """The embeddings of all vertices, (V, D)."""
        return self.features @ self.embeddings

    def prepare(self, mesh: str) -> None:
        """Take the features of a mesh from their source, unless weights have brought them.

        Raises:
            DataError: the source has no such mesh or no features of it, or they have another shape.
        """
        if self._given or self.meshes is None:
            return
        source: MeshSource = Factory.of(self.meshes)()
        load = source.mesh(mesh).features
        if load is None:
            fix = "make them, or leave `meshes` out to start from random ones"
            raise DataError(f"mesh {mesh!r}", "has no features, which its embeddings are made of", fix=fix)
        features = load()
        if features.shape[0] != self.features.shape[0] or features.shape[1] < self.features.shape[1]:
            found = f"got {tuple(features.shape)}, the model has {tuple(self.features.shape)}"
            raise DataError(f"features of mesh {mesh!r}", "do not fit the embedder", found, "correct the recipe")
        with torch.no_grad():
            self.features.copy_(features[:, : self.features.shape[1]])
        self._given = True

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        self._given = self._given or f"{prefix}features" in state_dict
        super()._load_from_state_dict(state_dict, prefix, *rest)


class Embedder(nn.Module):
    """Embeddings of the vertices of several meshes.

    Args:
        meshes: name of a mesh -> factory of its embedder, called with `embed_dim`.
        embed_dim: number of dimensions of an embedding.

    Attributes:
        names: names of the meshes with embeddings.
    """

    def __init__(self, meshes: Mapping[str, Factory[VertexEmbedder]], embed_dim: int) -> None:
        super().__init__()
        self.names, self._prepared = tuple(meshes), False
        for name, one in meshes.items():
            self.add_module(f"embedder_{name}", cast(nn.Module, Factory.of(one)(embed_dim=embed_dim)))

    def forward(self, mesh: str) -> Tensor:
        """The embeddings of a mesh, float32 (V, embed_dim), rows of length 1."""
        return F.normalize(self.get_submodule(f"embedder_{mesh}")(), dim=1, eps=1e-6)

    def prepare(self) -> None:
        """Before the first step of training: take features that no weights have brought; see `VertexFeatureEmbedder`.

        Raises:
            DataError: as `VertexFeatureEmbedder.prepare`, or the embeddings of a mesh are all zero.
        """
        if self._prepared:
            return
        for name in self.names:
            one = self.get_submodule(f"embedder_{name}")
            if isinstance(one, VertexFeatureEmbedder):
                one.prepare(name)
            with torch.no_grad():
                self.require_nonzero(name)
        self._prepared = True

    def require_nonzero(self, mesh: str) -> None:
        """Refuse zero embeddings, such as the published ones before weights are loaded: they have no gradient.

        Raises:
            DataError: all embeddings of the mesh are zero.
        """
        if self.get_submodule(f"embedder_{mesh}")().any():
            return
        problem = "are all zero, so that nothing can be learned from them"
        fix = f"leave them out of the weights, with weights.skip: [roi_heads.embedder.embedder_{mesh}]"
        raise DataError(f"embeddings of mesh {mesh!r}", problem, fix=fix)
