"""Extras of DensePose in ground truth and predictions, and meshes.

All of it are extras: tensors with one row per object, under the keys of this module. Nothing here is particular to a
model, a dataset or a file format.
"""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from det_core.structures import Targets
from torch import Tensor
from torchvision import tv_tensors

__all__ = [
    "ATLAS_COLUMNS",
    "ATLAS_ROWS",
    "CHART_FIELDS",
    "COARSE",
    "EMBEDDING_FIELDS",
    "FRAME",
    "GRID",
    "MESH",
    "NUM_COARSE_PARTS",
    "NUM_PARTS",
    "POINTS",
    "PREFIX",
    "SURFACE",
    "UNKNOWN",
    "VERTICES",
    "CoarseParts",
    "Mesh",
    "MeshEmbeddings",
    "MeshSource",
    "SurfaceLabels",
    "has_coarse_parts",
    "has_points",
    "mesh_id",
]

PREFIX = "det-densepose/"
"""In front of every extra of this package."""

VERTICES = f"{PREFIX}vertices/"
"""In front of a mesh's name: the embeddings of its vertices, float32 (V, D), a constant of an exported file."""

NUM_PARTS = 24
"""Fine parts of the human body, each with a chart of its own; label 0 is the background."""

ATLAS_ROWS, ATLAS_COLUMNS = 6, 4
"""Tiles of an atlas, one for each part, which go down the columns, first column first."""

NUM_COARSE_PARTS = 14
"""Coarse parts of the human body; label 0 is the background."""

UNKNOWN = 255
"""In a coarse part map: nothing is annotated."""

# Ground truth: Targets.extras

POINTS = f"{PREFIX}points"
"""Where the annotated points are: `det_core.data.transforms.Points` float32 (N, P, 2), x and y in continuous pixels of
the image, not of the box. P is that of the object with the most points of the image; rows beyond an object's own points
are padding and hold 0. Objects without points have padding alone. A dataset always gives this extra together with
`SURFACE`; P may be 0."""

SURFACE = f"{PREFIX}surface"
"""What is annotated at the points: `SurfaceLabels` float32 (N, P, 4), part, u, v, vertex.

Part: 0 background, 1 to 24, or -1 where there is no chart annotation. u and v in [0, 1], 0 where there is none. Vertex:
index of the nearest vertex of the object's mesh, or -1 where there is none. Padding: (-1, 0, 0, -1)."""

MESH = f"{PREFIX}mesh"
"""The mesh of each object: int64 (N,), `mesh_id` of its name, or -1 where the object has no vertices annotated."""

COARSE = f"{PREFIX}coarse"
"""Coarse parts of each object: `CoarseParts` uint8 (N, 256, 256), label of each cell of the object's `FRAME`, 0
background, 1 to 14, or `UNKNOWN` in all cells of an object without annotation. Absent where no object has any."""

FRAME = f"{PREFIX}frame"
"""Where the cells of `COARSE` lie in the image: `Points` float32 (N, 3, 2), the upper left, upper right and lower left
corner of the annotated box. After mirroring or rotation they are where these corners have gone, so the cells themselves
are never resampled."""

GRID = f"{PREFIX}grid"
"""The points as stored in the file: float32 (N, P, 2), `dp_x` and `dp_y` in the 256-grid of the annotated box. For the
evaluation, which reads samples as stored and truncates; models do not read it, transforms do not change it."""

# Predictions: Detections.extras. Each name below stands under PREFIX, float32 (N, C, Z, Z) over the detection's box,
# before any softmax or resampling.

CHART_FIELDS: Mapping[str, int | None] = {
    "coarse_segm": None,  # 2 (background, body) or 15 channels
    "fine_segm": NUM_PARTS + 1,
    "u": NUM_PARTS + 1,
    "v": NUM_PARTS + 1,
    "sigma_2": NUM_PARTS + 1,
    "kappa_u": NUM_PARTS + 1,
    "kappa_v": NUM_PARTS + 1,
    "fine_segm_confidence": 1,
    "coarse_segm_confidence": 1,
}
"""Fields of a chart model and their channels. The first four are always there; the others where the model has them:
`sigma_2`, `kappa_u` and `kappa_v` before their softplus, the two confidences after it (and multiplied into the logits
of both segmentations already)."""

EMBEDDING_FIELDS: Mapping[str, int | None] = {
    "coarse_segm": 2,
    "embedding": None,  # as many channels as the embedding has, 16 as published; a `MeshEmbeddings`
    "coarse_segm_confidence": 1,
}
"""Fields of a CSE model and their channels; the confidence only where the model has it."""


class SurfaceLabels(tv_tensors.TVTensor):
    """The values of `SURFACE`. Mirroring exchanges left and right; every other transform leaves them as they are.

    A dataset sets the attributes that mirroring needs on the tensor; a transform hands them on.
    """


class CoarseParts(tv_tensors.TVTensor):
    """The values of `COARSE`. Mirroring exchanges left and right labels; the geometry is in `FRAME`."""


class MeshEmbeddings(Tensor):
    """Embeddings of pixels, (N, D, Z, Z), together with those of the vertices that they are compared with.

    Attributes:
        vertices: name of a mesh -> float32 (V, D), rows of length 1.
        mesh_of_label: name of the mesh of each label.
    """

    vertices: Mapping[str, Tensor]
    mesh_of_label: tuple[str, ...]

    @classmethod
    def of(cls, values: Tensor, vertices: Mapping[str, Tensor], mesh_of_label: tuple[str, ...]) -> "MeshEmbeddings":
        """The embeddings of pixels with what belongs to them."""
        embeddings = values.as_subclass(cls)
        embeddings.vertices, embeddings.mesh_of_label = vertices, mesh_of_label
        return embeddings

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Results of operations are plain tensors."""
        return torch._C._disabled_torch_function_impl(func, types, args, kwargs or {})


@dataclass(frozen=True, eq=False)
class Mesh:
    """A surface that pixels are mapped to.

    Attributes:
        name: name of the mesh, such as "smpl_27554".
        num_vertices: number V of vertices of the mesh.
        geodesics: loads the distances between vertices along the surface, float32 (V, V); None where there are none.
        features: loads smooth functions on the surface, one row a vertex, float32 (V, K), such as the first K
            eigenfunctions of its Laplacian; None where there are none.
        symmetry: int64 (V,): the mirror image of each vertex, an involution; None for a mesh without.
    """

    name: str
    num_vertices: int
    geodesics: Callable[[], Tensor] | None = None
    features: Callable[[], Tensor] | None = None
    symmetry: Tensor | None = None


@runtime_checkable
class MeshSource(Protocol):
    """Where meshes come from, such as a folder."""

    def mesh(self, name: str) -> Mesh:
        """The mesh of this name; DataError naming the file, its source and its licence where there is none.

        Cheap: geodesics and features are read on their first call, and raise the same error where they are missing.
        """
        ...


def mesh_id(name: str) -> int:
    """A number for the name of a mesh, always the same, so that it can stand in a tensor."""
    return zlib.crc32(name.encode())


def has_points(targets: Targets) -> Tensor:
    """Which objects have at least one annotated point, bool (N,)."""
    if SURFACE not in targets.extras:
        return torch.zeros(len(targets), dtype=torch.bool, device=targets.boxes.device)
    surface = targets.extras[SURFACE].as_subclass(Tensor)
    return ((surface[..., 0] >= 0) | (surface[..., 3] >= 0)).any(1)


def has_coarse_parts(targets: Targets) -> Tensor:
    """Which objects have coarse parts, bool (N,)."""
    if COARSE not in targets.extras:
        return torch.zeros(len(targets), dtype=torch.bool, device=targets.boxes.device)
    return targets.extras[COARSE].as_subclass(Tensor)[:, 0, 0] != UNKNOWN
