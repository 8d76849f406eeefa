"""Bodies in a folder: the published files, which cannot be shipped, and those of `det densepose mesh make`.

The published meshes derive from SMPL (Max Planck Institute), whose licence allows neither passing them on nor
commercial use; get them from where they are published, and read their licence.
"""

from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from det_core.errors import DataError
from det_core.weights.reading import read_pickle
from numpy.typing import NDArray

from det_densepose.bodies.body import FIGURE, Body, Charts, Distances, PackedDistances, figure
from det_densepose.bodies.matfile import read_mat
from det_densepose.bodies.symmetry import require_involution
from det_densepose.structures import Mesh

__all__ = ["MESHES", "BodyFolder", "read_body"]

_BASE = "https://dl.fbaipublicfiles.com/densepose"
_LICENCE = "licence: SMPL body, non-commercial (smpl.is.tue.mpg.de) and CC BY-NC 4.0 (DensePose)"

MESHES = {
    "smpl_27554": 27554,
    "chimp_5029": 5029,
    "cat_5001": 5001,
    "cat_7466": 7466,
    "sheep_5004": 5004,
    "zebra_5002": 5002,
    "horse_5004": 5004,
    "giraffe_5002": 5002,
    "elephant_5002": 5002,
    "dog_5002": 5002,
    "dog_7466": 7466,
    "cow_5002": 5002,
    "bear_4936": 4936,
}
"""Published meshes and their numbers of vertices, in the order of their published numbers."""

# File -> where it is published.
_SOURCES = {
    "SMPL_subdiv.mat": f"{_BASE}/data/SMPL_subdiv.mat",
    "SMPL_SUBDIV_TRANSFORM.mat": f"{_BASE}/data/SMPL_SUBDIV_TRANSFORM.mat",
    "Pdist_matrix.pkl": f"{_BASE}/data/Pdist_matrix.pkl",
    "UV_symmetry_transforms.mat": f"{_BASE}/data/UV_symmetry_transforms.mat",
}
_NUM_SMPL = 27554


class BodyFolder:
    """A folder that you fill: published files by their names, and bodies that `det densepose mesh make` made.

    Of a mesh NAME it reads `NAME.npz` (ours), or `geodists_NAME.pkl`, `symmetry_NAME.pkl`, `texcoords_NAME.pkl` and
    `phi_NAME_256.pkl`; of the person `SMPL_subdiv.mat`, `SMPL_SUBDIV_TRANSFORM.mat`, `Pdist_matrix.pkl` and
    `UV_symmetry_transforms.mat`. Folders within it are searched too. The synthetic figure is always there.

    Args:
        folder: path of the folder; None for the synthetic figure alone.

    Raises:
        DataError: the folder does not exist; later, a required file is missing or has other content.
    """

    def __init__(self, folder: Path | None = None) -> None:
        if folder is not None and not Path(folder).is_dir():
            raise DataError(str(folder), "there is no such folder of bodies", fix="check the path")
        self.folder = None if folder is None else Path(folder)

    def mesh(self, name: str) -> Mesh:
        """The mesh of this name, as the models take it."""
        return self.body(name).mesh()

    def body(self, name: str) -> Body:
        """All that the folder holds of a body; distances and features are read when they are asked for."""
        if name == FIGURE:
            return figure()
        if (file := self._find(f"{name}.npz")) is not None:
            return read_body(file)
        if name not in MESHES:
            fix = f"it is one of {', '.join((FIGURE, *MESHES))}, or make NAME.npz with `det densepose mesh make`"
            raise DataError(str(self.folder or "bodies"), f"there is no body {name!r}", fix=fix)
        count = MESHES[name]
        symmetry = self._find(f"symmetry_{name}.pkl")
        texcoords = self._find(f"texcoords_{name}.pkl")
        return Body(
            name=name,
            num_vertices=count,
            symmetry=None if symmetry is None else _symmetry(symmetry, count),
            texcoords=None if texcoords is None else _table(read_pickle(texcoords), (count, 2), texcoords),
            charts=self.charts() if name == "smpl_27554" and self._find("SMPL_subdiv.mat") else None,
            geodesics=self._lazy(f"geodists_{name}.pkl", "geodists", name, (count, count), ()),
            features=self._lazy(f"phi_{name}_256.pkl", "lbo", name, (count, None), ("features", "phi")),
        )

    def charts(self) -> Charts:
        """The charts of the published person: each vertex of the finer mesh, in the 27 554 that distances are for."""
        path = self.require("SMPL_subdiv.mat")
        transform = self.require("SMPL_SUBDIV_TRANSFORM.mat")
        subdivided, index = read_mat(path), read_mat(transform)
        parts, u, v = (_column(subdivided, key, path) for key in ("Part_ID_subdiv", "U_subdiv", "V_subdiv"))
        vertex = _column(index, "index", transform).astype(np.int64) - 1
        if not len(parts) == len(u) == len(v) == len(vertex):
            found = f"{len(parts)} parts, {len(u)} u, {len(v)} v and {len(vertex)} vertices"
            raise DataError(str(path), "does not belong to the other file", found)
        return Charts(vertex=vertex, part=parts.astype(np.int64), uv=np.stack((u, v), 1).astype(np.float64))

    def chart_distances(self) -> Distances:
        """The distances between vertices of the published person, as the evaluation of charts uses them."""
        path = self.require("Pdist_matrix.pkl")
        content = read_pickle(path)
        values = content.get("Pdist_matrix") if isinstance(content, dict) else content
        expected = _NUM_SMPL * (_NUM_SMPL - 1) // 2
        if not isinstance(values, np.ndarray) or values.size != expected:
            found = f"got {getattr(values, 'size', type(values).__name__)} values instead of {expected}"
            raise DataError(str(path), "is not the published table of distances", found)
        return PackedDistances(values)

    @cached_property
    def uv_transforms(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The published symmetry of charts, in the form of `symmetry.uv_symmetry`."""
        path = self.require("UV_symmetry_transforms.mat")
        content = read_mat(path)
        tables = []
        for key in ("U_transforms", "V_transforms"):
            cells = content.get(key)
            if not isinstance(cells, list) or len(cells) != 24 or any(np.shape(c) != (256, 256) for c in cells):
                raise DataError(str(path), f"has no {key!r} of 24 tables of 256 x 256")
            tables.append(np.stack(cells).astype(np.float32))
        return tables[0], tables[1]

    def require(self, file: str, source: str = "") -> Path:
        """The path of a published file; DataError telling where it comes from where it is not there."""
        path = self._find(file)
        if path is None:
            where = str(self.folder / file) if self.folder is not None else file
            source = source or _SOURCES.get(file, _BASE)
            fix = f"get it from {source} ({_LICENCE}) and put it into the folder of bodies"
            raise DataError(where, "this published file is needed and cannot be shipped", fix=fix)
        return path

    def _find(self, file: str) -> Path | None:
        if self.folder is None:
            return None
        if (self.folder / file).is_file():
            return self.folder / file
        return next((path for path in sorted(self.folder.rglob(file)) if path.is_file()), None)

    def _lazy(
        self, file: str, kind: str, name: str, shape: tuple[int | None, ...], keys: Sequence[str]
    ) -> Callable[[], NDArray[np.float32]]:
        """Reads a table when it is asked for, once."""

        @lru_cache(maxsize=1)
        def load() -> NDArray[np.float32]:
            path = self.require(file, f"{_BASE}/meshes/{kind}/{file}")
            content = read_pickle(path)
            if isinstance(content, dict):
                content = next((content[key] for key in (*keys, kind) if key in content), None)
            return _table(content, shape, path)

        return load


def read_body(path: Path) -> Body:
    """A body from an npz file with `vertices`, `faces` and perhaps `symmetry`, `geodesics`, `features`, `texcoords`.

    Raises:
        DataError: the file is not there, is none of ours, or its symmetry is no involution.
    """
    where = str(path)
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError) as error:
        raise DataError(
            where, "cannot be read as a body", str(error), "make it with `det densepose mesh make`"
        ) from error
    if "vertices" not in arrays or arrays["vertices"].ndim != 2 or arrays["vertices"].shape[1] != 3:
        found = f"it holds {', '.join(arrays) or 'nothing'}"
        raise DataError(where, "is not a body", found, "make it with `det densepose mesh make`")
    count = len(arrays["vertices"])

    def table(name: str, shape: tuple[int | None, ...]) -> NDArray[np.float32] | None:
        return _table(arrays[name], shape, path) if name in arrays else None

    distances, features = table("geodesics", (count, count)), table("features", (count, None))
    symmetry = arrays.get("symmetry")
    return Body(
        name=path.stem,
        num_vertices=count,
        vertices=arrays["vertices"].astype(np.float32),
        faces=arrays["faces"].astype(np.int64) if "faces" in arrays else None,
        symmetry=None if symmetry is None else require_involution(symmetry, count, where),
        texcoords=table("texcoords", (count, 2)),
        geodesics=None if distances is None else lambda: distances,
        features=None if features is None else lambda: features,
    )


def _symmetry(path: Path, count: int) -> NDArray[np.int64]:
    content = read_pickle(path)
    values = content.get("vertex_transforms") if isinstance(content, dict) else content
    return require_involution(np.asarray(values), count, str(path))


def _table(values: Any, shape: tuple[int | None, ...], path: Path) -> NDArray[np.float32]:
    actual = np.shape(values)
    same = len(actual) == len(shape) and all(b is None or a == b for a, b in zip(actual, shape, strict=True))
    if not isinstance(values, np.ndarray) or not same:
        expected = " x ".join("K" if side is None else str(side) for side in shape)
        raise DataError(str(path), f"must hold a table of {expected} numbers", f"got {actual}")
    if not np.isfinite(values).all():
        raise DataError(str(path), "holds numbers that are not finite")
    return values.astype(np.float32, copy=False)


def _column(content: dict[str, Any], key: str, path: Path) -> NDArray[Any]:
    if not isinstance(content.get(key), np.ndarray):
        raise DataError(str(path), f"has no {key!r}", f"it holds {', '.join(content) or 'nothing'}")
    return np.asarray(content[key]).reshape(-1)
