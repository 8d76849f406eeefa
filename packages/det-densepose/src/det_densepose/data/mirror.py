"""Points and parts that follow mirroring: left and right change places by the symmetry of the body.

Importing this module registers kernels for `SurfaceLabels` and `CoarseParts` with torchvision's transforms.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from det_core.errors import DataError
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional

from det_densepose.bodies.body import FIGURE, figure
from det_densepose.bodies.published import BodyFolder
from det_densepose.bodies.symmetry import COARSE_SYMMETRY, PART_SYMMETRY, uv_symmetry
from det_densepose.structures import CoarseParts, SurfaceLabels

__all__ = ["BodySymmetry", "mirror_coarse", "mirror_labels", "uv_tables"]


@dataclass(frozen=True)
class BodySymmetry:
    """How labels of one dataset are mirrored. Names alone, so that it travels between processes; tables are read late.

    Attributes:
        folder: folder of bodies; None: only the synthetic figure is available.
        body: the body whose charts the points are on.
        meshes: names of the meshes of vertices; slot k of an object stands for meshes[k].
    """

    folder: Path | None
    body: str
    meshes: tuple[str, ...] = ()

    def tables(self) -> tuple[Tensor, Tensor]:
        """The symmetry of charts: u and v, each float32 (24, 256, 256).

        Raises:
            DataError: the file that they stand in is not there.
        """
        return uv_tables(self.folder, self.body)

    def mirror_vertices(self, slot: int) -> Tensor:
        """The mirror image of each vertex of a mesh, int64 (V,)."""
        return _mirror_vertices(self.folder, self.meshes[slot])


@lru_cache(maxsize=4)
def uv_tables(folder: Path | None, body: str) -> tuple[Tensor, Tensor]:
    """Where each place of the charts of a body is in a mirror: u and v, each float32 (24, 256, 256)."""
    u, v = uv_symmetry(figure()) if body == FIGURE else BodyFolder(folder).uv_transforms
    return torch.from_numpy(u), torch.from_numpy(v)


@lru_cache(maxsize=32)
def _mirror_vertices(folder: Path | None, name: str) -> Tensor:
    bodies = BodyFolder(folder)
    symmetry = bodies.body(name).mesh().symmetry
    if symmetry is None:
        bodies.require(f"symmetry_{name}.pkl")
        raise DataError(f"body {name}", "has no symmetry, so its points cannot be mirrored", fix="train without flips")
    return symmetry


def mirror_labels(part: Tensor, u: Tensor, v: Tensor, tables: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """Parts and places of points in a mirror.

    Args:
        part: int64, any shape; what is not 1 to 24 stays as it is.
        u: float32, of the same shape; v likewise.
        tables: u and v of the mirror image, as `BodySymmetry.tables` returns them.

    Returns:
        Part, u and v. The table is that of the old part; its row is 255 v, its column 255 u, both cut off.
    """
    chart = (part > 0) & (part < len(PART_SYMMETRY))
    index = torch.where(chart, part - 1, 0)
    row, column = ((value.clamp(0, 1) * 255).long() for value in (v, u))
    new_u, new_v = (table.to(u)[index, row, column] for table in tables)
    order = torch.tensor(PART_SYMMETRY, device=part.device)
    opposite = order[torch.where(chart, part, 0)]
    return torch.where(chart, opposite, part), torch.where(chart, new_u, u), torch.where(chart, new_v, v)


def mirror_coarse(labels: Tensor) -> Tensor:
    """Coarse parts (any shape) with left and right exchanged; what is not 0 to 14 stays. No pixel moves."""
    order = torch.arange(256, dtype=labels.dtype, device=labels.device)
    order[: len(COARSE_SYMMETRY)] = torch.tensor(COARSE_SYMMETRY, dtype=labels.dtype, device=labels.device)
    return order[labels.long()]


def _mirrored_surface(surface: SurfaceLabels) -> Tensor:
    values = surface.as_subclass(Tensor)
    # The last row of an object is padding, whose u is the slot of the object's mesh.
    real = (values[..., 0] >= 0) | (values[..., 3] >= 0)
    if not bool(real.any()):
        return values
    symmetry: BodySymmetry | None = getattr(surface, "symmetry", None)
    if symmetry is None:
        fix = "read the points with det-densepose's dataset, and give it `bodies`"
        raise DataError("det-densepose/surface", "points cannot be mirrored without the symmetry of the body", fix=fix)
    part, u, v, vertex = values.unbind(-1)
    if bool((part > 0).any()):
        charts = real & (part > 0)
        new = mirror_labels(torch.where(charts, part, 0).long(), u, v, symmetry.tables())
        part, u, v = (torch.where(charts, after.to(u), before) for after, before in zip(new, (part, u, v), strict=True))
    slots = values[:, -1, 1].long()
    for slot in slots.unique().tolist():
        of_mesh = (slots == slot)[:, None] & (vertex >= 0)
        if bool(of_mesh.any()):
            mirror = symmetry.mirror_vertices(slot).to(vertex.device)
            vertex = torch.where(of_mesh, mirror[vertex.clamp(0, len(mirror) - 1).long()].to(vertex), vertex)
    return torch.stack((part, u, v, vertex), -1)


def _flip_surface(inpt: SurfaceLabels) -> SurfaceLabels:
    return _like(_mirrored_surface(inpt), inpt)


def _flip_coarse(inpt: CoarseParts) -> CoarseParts:
    return _like(mirror_coarse(inpt.as_subclass(Tensor)), inpt)


def _like(values: Tensor, before: Any) -> Any:
    wrapper = tv_tensors.wrap(values, like=before)
    wrapper.__dict__.update(before.__dict__)
    return wrapper


def _unchanged(inpt: Any, *arguments: Any, **keywords: Any) -> Any:
    """Labels do not move; the points and the frame that they belong to do."""
    return inpt


for _flip in (functional.horizontal_flip, functional.vertical_flip):
    functional.register_kernel(_flip, SurfaceLabels)(_flip_surface)
    functional.register_kernel(_flip, CoarseParts)(_flip_coarse)
for _move in (
    functional.resize,
    functional.crop,
    functional.center_crop,
    functional.resized_crop,
    functional.pad,
    functional.rotate,
    functional.affine,
):
    for _kind in (SurfaceLabels, CoarseParts):
        functional.register_kernel(_move, _kind)(_unchanged)
