"""Distances along the surfaces of meshes, for losses."""

from collections.abc import Callable
from typing import Any

import torch
from det_core.errors import ConfigError, DataError
from det_core.recipes import Factory
from torch import Tensor

from det_densepose.structures import MeshSource

__all__ = ["Geodesics"]


class Geodesics:
    """Distances along the surfaces of meshes, read when they are first needed and kept on the device that needs them.

    Args:
        meshes: makes the source of the meshes; None where there is none.
    """

    def __init__(self, meshes: Factory[MeshSource] | None = None) -> None:
        self.meshes = meshes
        self._source: MeshSource | None = None
        self._tables: dict[str, Any] = {}

    def rows(self, mesh: str) -> Callable[[Tensor], Tensor]:
        """A function from vertices, int64 (K,), to their distances to all vertices, float32 (K, V).

        It raises ConfigError without a source, and DataError where the source has no distances of the mesh.
        """
        return lambda vertices: self._table(mesh, vertices.device)[vertices]

    def between(self, mesh: str, vertices: Tensor) -> Tensor:
        """The distances of some vertices, int64 (K,), to each other, float32 (K, K)."""
        return self.rows(mesh)(vertices)[:, vertices]

    def _table(self, name: str, device: torch.device) -> Any:
        if name not in self._tables:
            if self.meshes is None:
                fix = "give the loss the folder of the bodies, as `meshes`"
                raise ConfigError("DensePoseCseLoss.meshes", "is needed for distances along the surface", fix=fix)
            self._source = self._source or Factory.of(self.meshes)()
            mesh = self._source.mesh(name)
            if mesh.geodesics is None:
                raise DataError(f"mesh {name!r}", "has no distances along its surface, which the losses need")
            self._tables[name] = mesh.geodesics()
        table = self._tables[name]
        if isinstance(table, Tensor) and table.device != device:
            table = self._tables[name] = table.to(device)
        return table

    def __getstate__(self) -> dict[str, Any]:
        """Without the distances, which may be gigabytes and can be read again."""
        return {**self.__dict__, "_source": None, "_tables": {}}
