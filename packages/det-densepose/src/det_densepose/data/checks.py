"""Validation of the DensePose part of an annotation."""

from collections.abc import Iterator, Mapping
from typing import Any

from det_core.data.formats.coco_boxes import are_numbers
from det_core.data.formats.faults import Fault
from det_core.ops.rle import rle_counts

from det_densepose.bodies.body import FIGURE
from det_densepose.bodies.published import MESHES
from det_densepose.structures import NUM_COARSE_PARTS, NUM_PARTS

__all__ = ["GRID_SIDE", "SurfaceCheck", "has_surface"]

GRID_SIDE = 256
"""Cells of the grid that an annotated box is divided into, in both directions."""

_NUM_FIGURE = 1990
_KIND = "broken DensePose points"


def has_surface(record: Mapping[str, Any]) -> bool:
    """Whether an annotation has points: places, and charts or vertices for them."""
    charts = all(key in record for key in ("dp_I", "dp_U", "dp_V"))
    return "dp_x" in record and "dp_y" in record and (charts or "dp_vertex" in record)


class SurfaceCheck:
    """Validates the points and the coarse parts of an annotation.

    Args:
        vertices: name of a mesh -> number of its vertices, for meshes other than the published ones.
        default_mesh: category id -> mesh of annotations that name none.
    """

    def __init__(
        self, vertices: Mapping[str, int] | None = None, default_mesh: Mapping[int, str] | None = None
    ) -> None:
        self.vertices = {**MESHES, FIGURE: _NUM_FIGURE, **(vertices or {})}
        self.default_mesh = dict(default_mesh or {})

    def mesh_of(self, record: Mapping[str, Any]) -> Any:
        """The name of the mesh of an annotation; None where it names none."""
        return record.get("ref_model", self.default_mesh.get(record.get("category_id", -1)))

    def __call__(self, record: Mapping[str, Any]) -> Iterator[Fault]:
        """All faults of an annotation; none of one that has no DensePose at all."""
        if record.get("ignore", 0) not in (0, False, None):
            yield Fault("bad entry", f"has ignore {record['ignore']!r:.40}, which must be 0")
        present = [key for key in record if key in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "dp_vertex")]
        if present and not has_surface(record):
            fault = f"has {', '.join(map(repr, sorted(present)))}, but not 'dp_x', 'dp_y' and either charts or vertices"
            yield Fault(_KIND, fault)
        elif present:
            yield from self._points(record)
        if "dp_masks" in record:
            yield from _masks(record["dp_masks"])

    def _points(self, record: Mapping[str, Any]) -> Iterator[Fault]:
        keys = [key for key in ("dp_x", "dp_y", "dp_I", "dp_U", "dp_V", "dp_vertex") if key in record]
        for key in keys:
            if not are_numbers(record[key]):
                yield Fault(_KIND, f"has a {key!r} that is no list of finite numbers")
                return
        counts = {key: len(record[key]) for key in keys}
        if len(set(counts.values())) > 1:
            yield Fault(_KIND, f"has lists of points of different lengths: {counts}")
            return
        for key in ("dp_x", "dp_y"):
            outside = [value for value in record[key] if not 0 <= value <= GRID_SIDE]
            if outside:
                text = f"has {len(outside)} points outside of its box: {key!r} is {outside[0]:g}, not within 0 to 256"
                yield Fault("DensePose points outside the box", text)
        if "dp_I" in record:
            parts = record["dp_I"]
            if wrong := [value for value in parts if value != int(value) or not 0 <= value <= NUM_PARTS]:
                yield Fault(_KIND, f"has the part {wrong[0]:g}, which is not a whole number from 0 to {NUM_PARTS}")
            for key in ("dp_U", "dp_V"):
                if wrong := [value for value in record.get(key, ()) if not 0 <= value <= 1]:
                    yield Fault(_KIND, f"has a value of {key!r} out of 0 to 1: {wrong[0]:g}")
        if "dp_vertex" in record:
            yield from self._vertices(record)

    def _vertices(self, record: Mapping[str, Any]) -> Iterator[Fault]:
        mesh, values = self.mesh_of(record), record["dp_vertex"]
        if not isinstance(mesh, str) or not mesh:
            yield Fault(_KIND, "has 'dp_vertex', but no 'ref_model', the name of their mesh")
            return
        count = self.vertices.get(mesh)
        if wrong := [v for v in values if v != int(v) or v < 0 or (count is not None and v >= count)]:
            text = f"has the vertex {wrong[0]:g}, which mesh {mesh!r:.40} does not have"
            yield Fault(_KIND, text if count is None else f"{text}: it has {count}")


def _masks(masks: Any) -> Iterator[Fault]:
    """What is wrong with coarse parts: a list of at most 14 RLEs of 256 x 256, some of them empty; or one RLE."""
    kind = "broken DensePose masks"
    if isinstance(masks, dict):
        masks = [masks]
    if not isinstance(masks, list) or len(masks) > NUM_COARSE_PARTS:
        found = f"{len(masks)}" if isinstance(masks, list) else type(masks).__name__
        yield Fault(kind, f"has 'dp_masks' that are no list of at most {NUM_COARSE_PARTS} masks, but {found}")
        return
    for number, mask in enumerate(masks, 1):
        if not mask:
            continue
        size = mask.get("size") if isinstance(mask, dict) else None
        if not isinstance(size, list) or list(size) != [GRID_SIDE, GRID_SIDE]:
            yield Fault(kind, f"has a mask of coarse part {number} of the size {size!r:.40}, which must be 256 x 256")
            continue
        try:
            rle_counts(mask, (GRID_SIDE, GRID_SIDE))
        except ValueError as error:
            yield Fault(kind, f"{error} (coarse part {number})")
