"""Makes a body of a user's own mesh: features, distances, symmetry, checked; and draws it."""

from pathlib import Path

import numpy as np
from det_core.errors import DataError
from numpy.typing import NDArray

from det_densepose.bodies.body import Body, Charts
from det_densepose.bodies.geodesics import geodesics
from det_densepose.bodies.laplacian import laplacian_features
from det_densepose.bodies.objfile import read_obj
from det_densepose.bodies.symmetry import mirror_vertices, require_involution
from det_densepose.render.raster import rasterize
from det_densepose.visual.colors import JET, PARULA, apply
from det_densepose.visual.drawings import surface_values

__all__ = ["draw_body", "make_body", "save_body"]


def make_body(path: Path, axis: int | None = 0, tolerance: float = 0.02, features: int = 256) -> Body:
    """A body of the mesh in an OBJ file, in units in which it is 1.7 high.

    Published distances are in meters of a person of about that height, and so are the kappas of the evaluation.

    Args:
        path: path of the OBJ file.
        axis: axis from left to right, 0, 1 or 2; None for a mesh without symmetry.
        tolerance: maximum distance of mirrored vertices, relative to the width of the body.
        features: number of eigenfunctions of the Laplacian; fewer if the mesh has fewer vertices.

    Raises:
        DataError: the file is no mesh, falls into parts, is too large, or is not symmetric.
    """
    mesh = read_obj(path)
    extent = float(np.ptp(mesh.vertices, axis=0).max())
    if extent <= 0:
        raise DataError(str(path), "all its vertices are at one place")
    vertices = (mesh.vertices - mesh.vertices.mean(0)) * (1.7 / extent)
    used = np.zeros(len(vertices), bool)
    used[mesh.faces] = True
    if not used.all():
        found = f"{int((~used).sum())} of {len(used)}"
        raise DataError(str(path), "has vertices that no face uses", found, "remove them")
    symmetry = None if axis is None else mirror_vertices(vertices, axis, tolerance, str(path))
    table = geodesics(vertices, mesh.faces)
    functions = laplacian_features(vertices, mesh.faces, min(features, len(vertices)))
    if symmetry is not None:
        require_involution(symmetry, len(vertices), str(path))
        off = float(np.abs(table[symmetry][:, symmetry] - table).mean() / max(float(table.mean()), 1e-12))
        if off > 0.1:
            found = f"distances differ by {off:.0%} from those of the mirror image"
            raise DataError(str(path), "its symmetry does not keep distances", found, "name another axis")
    return Body(
        name=path.stem,
        num_vertices=len(vertices),
        vertices=vertices.astype(np.float32),
        faces=mesh.faces,
        symmetry=symmetry,
        texcoords=mesh.texcoords,
        geodesics=lambda: table,
        features=lambda: functions,
    )


def save_body(body: Body, path: Path) -> None:
    """Write a body as npz, which `det_densepose.bodies.published.BodyFolder` reads."""
    arrays: dict[str, NDArray[np.generic]] = {}
    for name in ("vertices", "faces", "symmetry", "texcoords"):
        if (value := getattr(body, name)) is not None:
            arrays[name] = value
    if body.geodesics is not None:
        arrays["geodesics"] = body.geodesics()
    if body.features is not None:
        arrays["features"] = body.features()
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]


def draw_body(body: Body, side: int = 320) -> NDArray[np.uint8]:
    """Views of a body from both sides of each of three kinds, uint8 RGB (2 side, 3 side, 3).

    A smooth function over the surface; lines of equal distance from its first vertex; and left against right, by how
    far a vertex is from its mirror image (gray without symmetry).
    """
    if body.vertices is None or body.faces is None or body.geodesics is None:
        raise DataError(f"body {body.name}", "has no surface to draw")
    distance = body.geodesics()[int(np.argmin(body.vertices[:, 1]))].astype(float)
    bands = (distance / max(distance.max(), 1e-9) * 16) % 1
    apart = np.full(body.num_vertices, 0.5)
    if body.symmetry is not None:
        offset = body.vertices - body.vertices[body.symmetry]
        signed = offset @ offset[np.abs(offset).sum(1).argmax()]
        apart = 0.5 + 0.5 * signed / max(np.abs(signed).max(), 1e-9)
    kinds = (apply(surface_values(body), PARULA), apply(bands, PARULA), apply(apart, JET))
    charts = Charts(
        np.arange(body.num_vertices), np.ones(body.num_vertices, int), np.zeros((body.num_vertices, 2)), body.faces
    )
    charted_body = Body(body.name, body.num_vertices, body.vertices, body.faces, charts=charts)
    center = (body.vertices.max(0) + body.vertices.min(0)) / 2
    views = []
    for turn in (np.eye(3), np.diag([-1.0, 1, -1])):
        moved = (body.vertices - center) @ turn.T
        scale = 0.9 * side / max(float(np.ptp(moved[:, :2], axis=0).max()), 1e-9)
        layers = rasterize(charted_body, moved, (side, side), scale, (side / 2, side / 2))
        light = (0.35 + 0.65 * layers.light)[..., None]
        views.append([np.where(layers.mask[..., None], colors[layers.vertex] * light, 255) for colors in kinds])
    return np.concatenate([np.concatenate(row, 1) for row in views]).round().clip(0, 255).astype(np.uint8)
