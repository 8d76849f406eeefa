"""Validation of entries of COCO files: readers refuse invalid ones, `det data check` lists them."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from det_core.data.formats.coco_boxes import are_numbers, box_fault
from det_core.data.formats.faults import Fault
from det_core.errors import DataError
from det_core.ops.rle import rle_counts
from det_core.printable import quoted

__all__ = [
    "AnnotationCheck",
    "BadAnnotations",
    "MaskForm",
    "category_fault",
    "faults_of",
    "image_fault",
    "segmentation_fault",
    "sound",
    "valid_categories",
    "valid_images",
]

MaskForm = Literal["bitmaps", "polygons"] | None
"""How segmentations are wanted: RLE can become bitmaps alone."""

BadAnnotations = Literal["stop", "skip"]
"""Handling of invalid annotations: raise one error that lists them, or leave them out."""

_MAX_LISTED = 10
_LARGEST_SIDE = 1_000_000
# An absolute path, of either kind of system, one with a step up, or none at all.
_LEAVES = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")
_Record = Mapping[str, Any]


def faults_of(
    records: Sequence[Any], what: str, check: Callable[[Any], Fault | None]
) -> Iterator[tuple[str, Any, Fault | None]]:
    """The name of each record, the record, and its fault or None; an id counts from its first valid use."""
    used_ids: set[Any] = set()
    for position, record in enumerate(records):
        if not isinstance(record, dict):
            fault: Fault | None = Fault("bad entry", "is not an object")
        else:
            fault = _id_fault(record, used_ids) or check(record)
        has_id = isinstance(record, dict) and "id" in record
        number = quoted(record["id"], 60) if has_id else f"number {position + 1} of the list"
        yield f"{what} {number}", record, fault
        if fault is None:
            used_ids.add(record["id"])


def sound(
    records: Sequence[Any],
    what: str,
    check: Callable[[Any], Fault | None],
    path: Path,
    bad: BadAnnotations = "stop",
) -> tuple[list[Any], list[str]]:
    """The records without fault, and a sentence for each of the others; raises at any fault unless they are skipped."""
    good: list[Any] = []
    faults: list[str] = []
    for name, record, fault in faults_of(records, what, check):
        if fault is None:
            good.append(record)
        else:
            faults.append(f"{name} {fault.text}")
    if faults and bad == "stop":
        plural = "categories" if what == "category" else f"{what}s"
        problem = f"1 {what} cannot be used" if len(faults) == 1 else f"{len(faults)} {plural} cannot be used"
        rest = [f"and {len(faults) - _MAX_LISTED} more"] if len(faults) > _MAX_LISTED else []
        detail = "; ".join(faults[:_MAX_LISTED] + rest)
        fix = "correct the file" + (", or set bad_annotations to 'skip'" if what == "annotation" else "")
        raise DataError(str(path), problem, detail, fix)
    return good, faults


def valid_images(records: Sequence[Any], path: Path) -> list[dict[str, Any]]:
    """The entries of images; raises at any fault."""
    return sound(records, "image", image_fault, path)[0]


def valid_categories(records: Sequence[Any], path: Path) -> list[dict[str, Any]]:
    """The entries of categories, at least one, by id; raises at any fault."""
    categories = sound(records, "category", category_fault(), path)[0]
    if not categories:
        raise DataError(str(path), "lists no category", fix="name at least one class under 'categories'")
    return sorted(categories, key=lambda category: category["id"])


def image_fault(image: _Record) -> Fault | None:
    """The fault of the entry of an image with an id; None if it is valid."""
    if missing := [key for key in ("file_name", "height", "width") if key not in image]:
        return Fault("bad entry", f"has no '{missing[0]}'")
    if not isinstance(image["file_name"], str) or not image["file_name"]:
        return Fault("bad entry", f"has the file_name {quoted(image['file_name'], 60)}, which is not a text")
    if _LEAVES.search(image["file_name"]):
        found = f"has the file_name {quoted(image['file_name'], 60)}, which leads out of the folder of images"
        return Fault("path leaves the folder", found)
    if not all(_is_int(image[side]) and 0 < image[side] <= _LARGEST_SIDE for side in ("height", "width")):
        return Fault(
            "bad entry", f"has the height {quoted(image['height'], 60)} and the width {quoted(image['width'], 60)}"
        )
    return None


def category_fault() -> Callable[[_Record], Fault | None]:
    """A check of categories with an id; it remembers their names."""
    names: set[str] = set()

    def check(category: _Record) -> Fault | None:
        name = category.get("name")
        if not _is_int(category["id"]):
            return Fault("bad entry", "has an id that is not a whole number")
        if not isinstance(name, str) or not name:
            found = "has no 'name'" if name is None else f"has the name {quoted(name, 60)}, which is not a text"
            return Fault("bad entry", found)
        if name in names:
            return Fault("name used twice", f"has the name {quoted(name, 60)}, which another one has too")
        names.add(name)
        return None

    return check


def _id_fault(record: _Record, used_ids: set[Any]) -> Fault | None:
    if "id" not in record:
        return Fault("bad entry", "has no 'id'")
    if not _is_id(record["id"]):
        return Fault("bad entry", "has an id that is neither a whole number of 64 bits nor a text")
    return Fault("id used twice", "has an id that another one has too") if record["id"] in used_ids else None


def _is_id(value: Any) -> bool:
    return (_is_int(value) and abs(value) < 2**63) or isinstance(value, str)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


@dataclass(frozen=True)
class AnnotationCheck:
    """Finds the faults of annotations, given the images and categories of the file."""

    rows: Mapping[int | str, int]
    sizes: Sequence[tuple[int, int]]
    category_ids: set[int]
    masks: MaskForm
    num_keypoints: int | None
    rotated: bool
    _rings: dict[int | str, list[Any]] = field(default_factory=dict, init=False)

    @property
    def broken_rings(self) -> int:
        """How many rings are left out of polygons that were checked."""
        return sum(rings.count(None) for rings in self._rings.values())

    def segmentation(self, record: _Record) -> Any:
        """The segmentation of an entry that was checked, without rings that cannot be used."""
        return [ring for ring in self._rings.get(record["id"], ()) if ring] or record["segmentation"]

    def __call__(self, record: _Record) -> Fault | None:
        """The first fault of the entry; None if it can be used."""
        return next(self.faults(record), None)

    def faults(self, record: _Record) -> Iterator[Fault]:
        """All faults of the entry."""
        if isinstance(record.get("fault"), Fault):  # which a reader of another format has found; JSON makes no such
            yield record["fault"]
            return
        needed = ("image_id", "category_id", "bbox", *(("segmentation",) if self.masks else ()))
        if missing := [key for key in needed if key not in record]:
            yield Fault("bad entry", f"has no '{missing[0]}'")
            return
        if not _is_int(record["category_id"]) or record["category_id"] not in self.category_ids:
            yield Fault("unknown category", f"is of category {quoted(record['category_id'], 60)}, which is not listed")
        area = record.get("area", 0)
        if not are_numbers([area]) or area < 0:
            yield Fault("bad entry", f"has the area {quoted(area, 60)}")
        if not isinstance(record.get("iscrowd", 0), int) or record.get("iscrowd", 0) not in (0, 1):
            yield Fault("bad entry", f"has iscrowd {quoted(record['iscrowd'], 60)}, not 0 or 1")
        if not _is_id(record["image_id"]) or record["image_id"] not in self.rows:
            yield Fault("unknown image", f"belongs to image {quoted(record['image_id'], 60)}, which is not listed")
            return
        height, width = self.sizes[self.rows[record["image_id"]]]
        if fault := box_fault(record["bbox"], height, width, self.rotated):
            yield fault
        if self.masks and (fault := self._segmentation_fault(record, height, width)):
            yield fault
        if fault := self._keypoints_fault(record):
            yield fault

    def _segmentation_fault(self, record: _Record, height: int, width: int) -> Fault | None:
        if self.masks == "polygons" and isinstance(record["segmentation"], dict) and not record.get("iscrowd", 0):
            return Fault("bad entry", "has an RLE, where polygons were asked for: set masks to 'bitmaps'")
        fault = segmentation_fault(record["segmentation"], height, width)
        if not fault or not isinstance(record["segmentation"], list):
            return fault
        rings = [None if _ring_fault(ring, height, width) else ring for ring in record["segmentation"]]
        if not any(rings):
            return fault
        self._rings[record["id"]] = rings
        return None

    def _keypoints_fault(self, record: _Record) -> Fault | None:
        if self.num_keypoints is None or "keypoints" not in record:
            return None
        values = record["keypoints"]
        if not are_numbers(values) or len(values) != 3 * self.num_keypoints:
            return Fault("broken keypoints", f"has keypoints that are not {3 * self.num_keypoints} finite numbers")
        if set(values[2::3]) <= {0, 1, 2}:
            return None
        return Fault("broken keypoints", "has a keypoint visibility other than 0, 1 or 2")


def segmentation_fault(segmentation: Any, height: int, width: int) -> Fault | None:
    """The fault of polygons or an RLE in an image of `height` and `width`; None if they are valid."""
    if isinstance(segmentation, dict):
        try:
            rle_counts(segmentation, (height, width))
        except ValueError as error:
            return Fault("broken RLE", str(error))
        return None
    if not isinstance(segmentation, list) or not segmentation:
        return Fault("broken polygon", "has a segmentation that is neither polygons nor RLE")
    return next(filter(None, (_ring_fault(polygon, height, width) for polygon in segmentation)), None)


def _ring_fault(polygon: Any, height: int, width: int) -> Fault | None:
    if not are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
        return Fault("broken polygon", "has a polygon that is not at least three pairs of finite numbers")
    # Rasterizing takes memory by the length of the boundary, so one absurd corner would be enough to crash.
    if not all(-width <= x <= 2 * width for x in polygon[::2]) or not all(
        -height <= y <= 2 * height for y in polygon[1::2]
    ):
        return Fault("broken polygon", "has a polygon far outside its image")
    return None
