"""Reads annotations in the format of DensePose-COCO: points on the surface of people and animals, and coarse parts."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from det_core.data.formats.coco import mask_form
from det_core.data.formats.coco_index import BadAnnotations, CocoIndex, read_content
from det_core.data.formats.indexed import IndexedImages
from det_core.data.formats.listing import Listing
from det_core.data.formats.packed import PackedTexts
from det_core.data.transforms import Points
from det_core.errors import ConfigError, DataError
from det_core.ops.rle import rle_counts
from det_core.structures import Sample
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import tv_tensors

from det_densepose.bodies.body import FIGURE
from det_densepose.bodies.published import MESHES, BodyFolder
from det_densepose.data.checks import GRID_SIDE, SurfaceCheck, has_surface
from det_densepose.data.mirror import BodySymmetry
from det_densepose.structures import (
    COARSE,
    FRAME,
    GRID,
    MESH,
    POINTS,
    PREFIX,
    SURFACE,
    UNKNOWN,
    CoarseParts,
    SurfaceLabels,
    mesh_id,
)

__all__ = ["IGNORED", "DensePoseDataset"]

IGNORED = f"{PREFIX}ignored"
"""Image extra: regions in which nothing is annotated, a mask bool (1, H, W); absent where an image has none."""

_ROW = f"{PREFIX}row"
_MAX_LISTED = 10
_CHARTS = ("dp_I", "dp_U", "dp_V")


class DensePoseDataset(IndexedImages):
    """A file in the format of DensePose-COCO: charts (`dp_I`, `dp_U`, `dp_V`), vertices (`dp_vertex`), or both.

    It reads the published files of people (DensePose-COCO, its CSE form), DensePose-PoseTrack with regions to ignore,
    chimpanzees with one mask for the whole body, and animals of LVIS. Samples have the extras of
    `det_densepose.structures`. Objects without points are given too: they train boxes, and masks where there are any.

    Args:
        images: folder of the images; files with only a `coco_url` are located by its last two components.
        annotations: path of the JSON file.
        classes: names of the classes; the label is the index.
        class_map: name of a category -> new name, such as {"bear": "sheep"}.
        class_meshes: name of a category -> mesh of annotations that name none.
        bodies: folder of bodies, for the symmetry that flips need; None for the synthetic figure alone.
        body: name of the body on whose charts the points are.
        keep_empty: whether to keep images without usable objects.
        keep: images to keep: "all", those with "points" on at least one object, or those with "points or masks".
        masks: form of segmentations, as of `det_core.data.CocoDataset`.
        keypoints: whether to read keypoints, float32 (N, K, 3).
        bad_annotations: "stop" raises an error for invalid boxes or points; "skip" leaves them out.

    Attributes:
        classes: names of the labels.
        mesh_names: names of the meshes in the annotations.
        num_surfaces: number of objects with points.

    Raises:
        DataError: as `det_core.data.CocoDataset`; or points lie outside of their box, a part, u or v is out of range, a
            vertex is not of its mesh, coarse masks are not 256 x 256; or `keep` leaves no image of a file with objects.
    """

    evaluators: tuple[str, ...] = ("coco", "det-densepose/densepose")

    def __init__(
        self,
        images: Path,
        annotations: Path,
        classes: Sequence[str] | None = None,
        class_map: Mapping[str, str] | None = None,
        class_meshes: Mapping[str, str] | None = None,
        bodies: Path | None = None,
        body: str = "smpl_27554",
        keep_empty: bool = True,
        keep: Literal["all", "points", "points or masks"] = "all",
        masks: bool | Literal["bitmaps", "polygons"] = False,
        keypoints: bool = False,
        bad_annotations: BadAnnotations = "stop",
    ) -> None:
        listing = self.listing(images, annotations, class_map, class_meshes, bodies)
        content, skipped = _sound(listing, bad_annotations)
        if masks:
            content = _with_segmentations(content)
        listing = replace(listing, content=content)
        index = listing.checked(classes, mask_form(masks), keypoints, bad_annotations=bad_annotations)
        index = replace(index, skipped=(*index.skipped, *skipped), marks={_ROW: np.arange(len(index.boxes))})
        self._surfaces = _Surfaces.of(listing, index, _check(content, class_meshes, bodies))
        self.mesh_names = self._surfaces.meshes
        self.num_surfaces = int((np.diff(self._surfaces.first) > 0).sum())
        self._symmetry = BodySymmetry(None if bodies is None else Path(bodies), body, self.mesh_names)
        super().__init__(index, listing.images, listing.annotations, keep_empty, polygons=masks == "polygons")
        self._ignored = {
            image["id"]: (image["ignore_regions_x"], image["ignore_regions_y"])
            for image in content["images"]
            if image.get("ignore_regions_x")
        }
        if keep != "all":
            self._rows = np.array([row for row in self._rows.tolist() if self._keeps(row, keep)], np.int64)
            if not len(self._rows) and self.num_objects:
                problem = f"no object has {'points' if keep == 'points' else 'points or a mask'}"
                fix = "name a file with points of DensePose, or set keep to 'all'"
                raise DataError(str(listing.annotations), problem, f"it has {self.num_objects} objects", fix)

    @classmethod
    def listing(
        cls,
        images: Path,
        annotations: Path,
        class_map: Mapping[str, str] | None = None,
        class_meshes: Mapping[str, str] | None = None,
        bodies: Path | None = None,
    ) -> Listing:
        """The unchecked content of the file; file names as in COCO, categories after `class_map`."""
        content = read_content(Path(annotations))
        named = [_with_file_name(image) for image in content["images"]]
        content = _mapped({**content, "images": named}, class_map or {}, str(annotations))
        check = _check(content, class_meshes, bodies)
        return Listing(content, Path(images), Path(annotations), checks=(check,))

    def __getitem__(self, index: int) -> Sample:
        """The image and its objects as stored."""
        sample = super().__getitem__(index)
        if sample.targets is None:
            return sample
        extras = dict(sample.targets.extras)
        rows = extras.pop(_ROW).tolist()
        extras |= self._surfaces.extras(rows, sample.size, self._symmetry)
        image_extras = dict(sample.targets.image_extras)
        if sample.id in self._ignored:
            image_extras[IGNORED] = tv_tensors.Mask(_regions(*self._ignored[sample.id], sample.size)[None])
        return replace(sample, targets=replace(sample.targets, extras=extras, image_extras=image_extras))

    def _keeps(self, row: int, keep: str) -> bool:
        object_rows = self._object_rows(int(row))
        points = np.diff(self._surfaces.first)[object_rows] > 0
        if keep == "points or masks" and self._index.segmentations is not None:
            points = points | [self._index.segmentations[n] != "[]" for n in range(object_rows.start, object_rows.stop)]
        return bool((points & ~self._index.crowd[object_rows]).any())


@dataclass(frozen=True, eq=False)
class _Surfaces:
    """Points and coarse parts of all objects, in the order of an index.

    Attributes:
        first: int64 (A + 1,): the points of object i are rows first[i] to first[i + 1] of `points`.
        points: float32 (T, 6): x, y in the grid, part, u, v, vertex.
        boxes: float32 (A, 4): annotated boxes, x, y, width, height.
        slots: int64 (A,): the mesh, an index of `meshes`; -1 where an object has no vertices.
        meshes: names.
        masks: A texts, the JSON of `dp_masks`; "" where there are none.
    """

    first: NDArray[np.int64]
    points: NDArray[np.float32]
    boxes: NDArray[np.float32]
    slots: NDArray[np.int64]
    meshes: tuple[str, ...]
    masks: PackedTexts

    @classmethod
    def of(cls, listing: Listing, index: CocoIndex, check: SurfaceCheck) -> "_Surfaces":
        by_id = {each["id"]: each for each in listing.content.get("annotations", ()) if isinstance(each, dict)}
        records = [by_id[number] for number in index.object_ids.tolist()]
        names = {check.mesh_of(record) for record in records if "dp_vertex" in record}
        meshes = tuple(sorted(names))
        points = [_points(record) for record in records]
        return cls(
            first=np.cumsum([0, *map(len, points)], dtype=np.int64),
            points=np.concatenate([np.zeros((0, 6), np.float32), *points]),
            boxes=np.array([record["bbox"] for record in records], np.float32).reshape(-1, 4),
            slots=np.array([meshes.index(check.mesh_of(r)) if "dp_vertex" in r else -1 for r in records], np.int64),
            meshes=meshes,
            masks=PackedTexts(json.dumps(r["dp_masks"]) if r.get("dp_masks") else "" for r in records),
        )

    def extras(self, rows: Sequence[int], size: tuple[int, int], symmetry: BodySymmetry) -> dict[str, Tensor]:
        """The extras of the objects in `rows`, which are those of one image of `size`."""
        points_per_object = [self.points[self.first[row] : self.first[row + 1]] for row in rows]
        # One row of padding at least: its u is the slot of the object's mesh, for mirroring.
        longest = max(map(len, points_per_object), default=0) + 1
        table = np.zeros((len(rows), longest, 6), np.float32)
        table[..., 2] = table[..., 5] = -1
        for target, points in zip(table, points_per_object, strict=True):
            target[: len(points)] = points
        boxes = torch.from_numpy(self.boxes[list(rows)].reshape(-1, 4))
        slots = torch.from_numpy(self.slots[list(rows)])
        values = torch.from_numpy(table)
        grid = values[..., :2].clone()
        real = (values[..., 2] >= 0) | (values[..., 5] >= 0)
        place = boxes[:, None, :2] + grid * (boxes[:, None, 2:] / GRID_SIDE)
        surface = values[..., 2:].clone()
        surface[:, -1, 1] = slots.clamp(min=0).float()
        labels = SurfaceLabels(surface)
        labels.symmetry = symmetry
        corners = boxes[:, None, :2] + boxes[:, None, 2:] * torch.tensor([[0.0, 0], [1, 0], [0, 1]])
        names = [mesh_id(self.meshes[slot]) if slot >= 0 else -1 for slot in slots.tolist()]
        extras: dict[str, Tensor] = {
            POINTS: Points(place * real[..., None], canvas_size=size),
            SURFACE: labels,
            GRID: grid,
            MESH: torch.tensor(names, dtype=torch.int64),
            FRAME: Points(corners, canvas_size=size),
        }
        coarse = self._coarse(rows)
        return extras if coarse is None else {**extras, COARSE: CoarseParts(coarse)}

    def _coarse(self, rows: Sequence[int]) -> Tensor | None:
        texts = [self.masks[row] for row in rows]
        if not any(texts):
            return None
        maps = torch.full((len(rows), GRID_SIDE, GRID_SIDE), UNKNOWN, dtype=torch.uint8)
        for target, text in zip(maps, texts, strict=True):
            if text:
                target.copy_(_coarse_map(json.loads(text)))
        return maps


def _points(record: Mapping[str, Any]) -> NDArray[np.float32]:
    """x, y, part, u, v, vertex of the points of an annotation, (P, 6)."""
    if not has_surface(record):
        return np.zeros((0, 6), np.float32)
    count = len(record["dp_x"])
    charts = all(key in record for key in _CHARTS)
    columns = [record["dp_x"], record["dp_y"]]
    columns += [record[key] for key in _CHARTS] if charts else [[-1] * count, [0] * count, [0] * count]
    columns.append(record.get("dp_vertex", [-1] * count))
    return np.array(columns, np.float32).reshape(6, count).T


def _coarse_map(masks: Any) -> Tensor:
    """Coarse parts on the grid, uint8 (256, 256); a later mask covers an earlier one; one RLE is the whole body."""
    grid = np.zeros(GRID_SIDE * GRID_SIDE, np.uint8)  # column by column, as the runs are
    for label, mask in enumerate([masks] if isinstance(masks, dict) else masks, 1):
        if mask:
            ends = np.cumsum(rle_counts(mask, (GRID_SIDE, GRID_SIDE)))
            for start, end in zip(ends[::2].tolist(), ends[1::2].tolist(), strict=False):
                grid[start:end] = label
    return torch.from_numpy(grid.reshape(GRID_SIDE, GRID_SIDE).T.copy())


def _regions(xs: Sequence[Any], ys: Sequence[Any], size: tuple[int, int]) -> Tensor:
    """Polygons as a mask, bool (H, W)."""
    polygons = [np.stack((x, y), 1).ravel().astype(float).tolist() for x, y in zip(xs, ys, strict=True) if len(x) > 2]
    if not polygons:
        return torch.zeros(size, dtype=torch.bool)
    merged = coco_mask.merge(coco_mask.frPyObjects(polygons, *size))
    return torch.from_numpy(coco_mask.decode(merged).astype(bool))


def _check(content: Mapping[str, Any], class_meshes: Mapping[str, str] | None, bodies: Path | None) -> SurfaceCheck:
    ids = {each.get("name"): each.get("id") for each in content["categories"] if isinstance(each, dict)}
    default: dict[Any, str] = {ids[name]: mesh for name, mesh in (class_meshes or {}).items() if name in ids}
    vertex_counts = {}
    if bodies is not None:
        records = (each for each in content.get("annotations", ()) if isinstance(each, dict))
        names = {each["ref_model"] for each in records if isinstance(each.get("ref_model"), str)} - {FIGURE, *MESHES}
        vertex_counts = {name: BodyFolder(bodies).body(name).num_vertices for name in names}
    return SurfaceCheck(vertex_counts, default)


def _sound(listing: Listing, bad: BadAnnotations) -> tuple[dict[str, Any], list[str]]:
    """The content without annotations at fault, and a sentence for each of these; raises unless they are skipped."""
    good, faults = [], []
    for number, record in enumerate(listing.content.get("annotations", ()), 1):
        checks = listing.checks if isinstance(record, dict) else ()
        fault = next((each for check in checks for each in check(record)), None)
        if fault is None:
            good.append(record)
        else:
            faults.append(f"annotation {record.get('id', number)!r:.40} {fault.text}")
    if faults and bad == "stop":
        detail = "; ".join(faults[:_MAX_LISTED]) + (
            f"; and {len(faults) - _MAX_LISTED} more" if len(faults) > _MAX_LISTED else ""
        )
        problem = f"{len(faults)} annotations cannot be used" if len(faults) > 1 else "1 annotation cannot be used"
        fix = "correct the file, or set bad_annotations to 'skip'"
        raise DataError(str(listing.annotations), problem, detail, fix)
    content = dict(listing.content)
    if "annotations" in content:
        content["annotations"] = good
    for image in content["images"]:
        if isinstance(image, dict) and (wrong := _region_fault(image)):
            raise DataError(str(listing.annotations), f"image {image.get('id')!r:.40} {wrong}")
    return content, faults


def _region_fault(image: Mapping[str, Any]) -> str | None:
    xs, ys = image.get("ignore_regions_x", []), image.get("ignore_regions_y", [])
    if not isinstance(xs, list) or not isinstance(ys, list) or len(xs) != len(ys):
        return "has regions to ignore whose x and y do not belong together"
    both = zip(xs, ys, strict=True)
    good = all(isinstance(x, list) and isinstance(y, list) and len(x) == len(y) for x, y in both)
    return None if good else "has a region to ignore with more of x than of y"


def _with_segmentations(content: dict[str, Any]) -> dict[str, Any]:
    """Objects without `segmentation` get the coarse parts, pasted into their box; published training needs one."""
    sizes = {image["id"]: (image["height"], image["width"]) for image in content["images"] if isinstance(image, dict)}
    records = [
        {**r, "segmentation": _pasted(r, sizes[r["image_id"]])}
        if isinstance(r, dict) and not r.get("segmentation") and r.get("dp_masks") and r.get("image_id") in sizes
        else r
        for r in content.get("annotations", ())
    ]
    return {**content, "annotations": records}


def _pasted(record: Mapping[str, Any], size: tuple[int, int]) -> dict[str, Any]:
    """The union of the coarse parts as an RLE of the image, by the nearest cell to each pixel's middle."""
    x, y, width, height = record["bbox"]
    union = _coarse_map(record["dp_masks"]).numpy() > 0
    ys, xs = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    rows, columns = np.floor((ys - y) / height * GRID_SIDE), np.floor((xs - x) / width * GRID_SIDE)
    inside = ((rows >= 0) & (rows < GRID_SIDE))[:, None] & ((columns >= 0) & (columns < GRID_SIDE))[None]
    index = rows.clip(0, GRID_SIDE - 1).astype(int)[:, None], columns.clip(0, GRID_SIDE - 1).astype(int)[None]
    rle = coco_mask.encode(np.asfortranarray((union[index] & inside).astype(np.uint8)))
    return {"size": list(size), "counts": rle["counts"].decode()}


def _with_file_name(image: Any) -> Any:
    """An image of LVIS has its address alone: folder and file are its last two parts."""
    if not isinstance(image, dict) or "file_name" in image or not isinstance(image.get("coco_url"), str):
        return image
    return {**image, "file_name": "/".join(image["coco_url"].split("/")[-2:])}


def _mapped(content: dict[str, Any], class_map: Mapping[str, str], where: str) -> dict[str, Any]:
    """The content with categories renamed and joined."""
    if not class_map:
        return content
    categories = [each for each in content["categories"] if isinstance(each, dict)]
    ids = {each.get("name"): each.get("id") for each in categories}
    if missing := [name for name in class_map if name not in ids]:
        raise ConfigError("class_map", f"{where} has no category {missing[0]!r}", f"it has {', '.join(map(str, ids))}")
    targets = {name: ids.get(target) for name, target in class_map.items()}
    largest = max((number for number in ids.values() if isinstance(number, int)), default=0)
    added = []
    for target in dict.fromkeys(class_map.values()):
        if target not in ids:
            largest += 1
            added.append({"id": largest, "name": target})
    new = {each["name"]: each["id"] for each in added}
    moved = {ids[name]: new.get(class_map[name], number) for name, number in targets.items()}
    records = [
        {**r, "category_id": moved[r["category_id"]]} if isinstance(r, dict) and r.get("category_id") in moved else r
        for r in content.get("annotations", ())
    ]
    remaining = [
        each for each in categories if class_map.get(str(each.get("name")), each.get("name")) == each.get("name")
    ]
    return {**content, "categories": remaining + added, "annotations": records}
