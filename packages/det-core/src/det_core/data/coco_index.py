"""Reading and checking a COCO annotation file into a few NumPy arrays, small enough to hand to every worker."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from det_core import jsonfile
from det_core.data.coco_boxes import are_numbers, box_fault, boxes_of
from det_core.data.packed import PackedTexts
from det_core.errors import DataError
from det_core.ops.rle import rle_counts

__all__ = [
    "AnnotationCheck",
    "BadAnnotations",
    "CocoIndex",
    "MaskForm",
    "checked",
    "read_content",
    "segmentation_fault",
    "sound",
    "sound_categories",
    "sound_images",
]

MaskForm = Literal["bitmaps", "polygons"] | None
"""How segmentations are wanted: RLE can become bitmaps alone."""

BadAnnotations = Literal["stop", "skip"]
"""What to do with annotations that cannot be used: raise one error that lists them, or leave them out."""

_SHOWN = 10
_LARGEST_SIDE = 1_000_000
# An absolute path, of either kind of system, one with a step up, or none at all.
_LEAVES = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)|\0")
_Record = Mapping[str, Any]
_Fault = str | None


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoIndex:
    """A checked annotation file. Images keep the file's order; objects are grouped by image.

    Attributes:
        classes: class names, by label.
        category_ids: the file's category ids, by label.
        keypoint_names: names of the K keypoints of an object; empty if they were not asked for.
        image_ids: (M,) int64 or text.
        file_names: M texts.
        sizes: int32 (M, 2): height, width.
        first: int64 (M + 1,): the objects of image i are rows first[i] to first[i + 1] of what follows.
        object_ids: (A,) int64 or text.
        boxes: float32 (A, 4), xyxy; or (A, 5) if rotated ones were asked for.
        labels: int64 (A,).
        crowd: bool (A,).
        areas: float32 (A,).
        segmentations: A texts, the JSON of polygons or RLE; None if masks were not asked for.
        keypoints: float32 (A, K, 3); None if they were not asked for.
        annotated: False if the file does not list annotations at all, as those of test images.
        skipped: what was left out and why, one sentence each.
        marks: (A, ...): what else is said of each object, by the key of its extra; a dataset may add its own.
    """

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    keypoint_names: tuple[str, ...]
    image_ids: NDArray[Any]
    file_names: PackedTexts
    sizes: NDArray[np.int32]
    first: NDArray[np.int64]
    object_ids: NDArray[Any]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    areas: NDArray[np.float32]
    segmentations: PackedTexts | None
    keypoints: NDArray[np.float32] | None
    annotated: bool
    skipped: tuple[str, ...]
    marks: Mapping[str, NDArray[Any]] = field(default_factory=dict)


def checked(
    content: Mapping[str, Any],
    path: Path,
    classes: Sequence[str] | None = None,
    masks: MaskForm = None,
    keypoints: bool = False,
    rotated: bool = False,
    bad_annotations: BadAnnotations = "stop",
    marks: Mapping[str, str] | None = None,
) -> CocoIndex:
    """The index of what a COCO file holds, or of what another format says in its words.

    Args:
        content: with the lists "images", "categories" and perhaps "annotations".
        path: where it came from, for messages.
        classes: as in `CocoDataset`.
        masks: how segmentations are wanted.
        keypoints: whether keypoints are wanted.
        rotated: as in `CocoDataset`.
        bad_annotations: as in `CocoDataset`.
        marks: entries of an annotation that say yes or no, by the key of the extra that they become.

    Raises:
        DataError: naming `path` and the first ten faults of a kind, with their ids and how many there are.
    """
    images, categories = sound_images(content["images"], path), sound_categories(content["categories"], path)
    categories = _chosen(categories, classes, path)
    labels = {category["id"]: label for label, category in enumerate(categories)}
    names = _keypoint_names(categories, path) if keypoints else ()
    check = AnnotationCheck(
        rows={image["id"]: row for row, image in enumerate(images)},
        sizes=[(image["height"], image["width"]) for image in images],
        category_ids={category["id"] for category in content["categories"]},
        masks=masks,
        num_keypoints=len(names) if keypoints else None,
        rotated=rotated,
    )
    records, skipped = sound(content.get("annotations", []), "annotation", check, path, bad_annotations)
    records = [record for record in records if record["category_id"] in labels]
    owners = np.array([check.rows[record["image_id"]] for record in records], np.int64)
    # Stable, so that the objects of an image keep the file's order.
    order = np.argsort(owners, kind="stable")
    records = [records[i] for i in order]
    return CocoIndex(
        classes=tuple(category["name"] for category in categories),
        category_ids=tuple(labels),
        keypoint_names=names,
        image_ids=_ids(images, "image", path),
        file_names=PackedTexts(image["file_name"] for image in images),
        sizes=np.array(check.sizes, np.int32).reshape(-1, 2),
        first=np.searchsorted(owners[order], np.arange(len(images) + 1)).astype(np.int64),
        object_ids=_ids(records, "annotation", path),
        boxes=boxes_of([record["bbox"] for record in records], rotated),
        labels=np.array([labels[record["category_id"]] for record in records], np.int64),
        crowd=np.array([bool(record.get("iscrowd", 0)) for record in records], np.bool_),
        areas=np.array([record.get("area", record["bbox"][2] * record["bbox"][3]) for record in records], np.float32),
        segmentations=PackedTexts(json.dumps(record["segmentation"]) for record in records) if masks else None,
        keypoints=_keypoints(records, len(names)) if keypoints else None,
        annotated="annotations" in content,
        skipped=tuple(skipped),
        marks={
            key: np.array([bool(record.get(name, 0)) for record in records], np.bool_)
            for key, name in (marks or {}).items()
        },
    )


def read_content(path: Path) -> dict[str, Any]:
    """The file as an object that holds the lists of a COCO file; `annotations` may be absent."""
    where = str(path)
    content = jsonfile.read(path)
    fix = "give a COCO instances file: an object with the lists 'images', 'annotations' and 'categories'"
    if not isinstance(content, dict):
        raise DataError(where, "is not a COCO annotation file", f"it holds a {type(content).__name__}", fix)
    for key in ("images", "categories", "annotations"):
        if key not in content and key != "annotations":
            found = f"it has no '{key}', only {', '.join(map(repr, list(content)[:8])) or 'nothing'}"
            raise DataError(where, "is not a COCO annotation file", found, fix)
        if not isinstance(content.get(key, []), list):
            found = f"'{key}' is a {type(content[key]).__name__}, not a list"
            raise DataError(where, "is not a COCO annotation file", found, fix)
    return content


def sound(
    records: Sequence[Any], what: str, check: Callable[[Any], _Fault], path: Path, bad: BadAnnotations = "stop"
) -> tuple[list[Any], list[str]]:
    """The records without fault, and a sentence for each of the others; raises at any fault unless they are skipped."""
    good: list[Any] = []
    faults: list[str] = []
    seen: set[Any] = set()
    for position, record in enumerate(records):
        fault = "is not an object" if not isinstance(record, dict) else _id_fault(record, seen) or check(record)
        if fault is None:
            seen.add(record["id"])
            good.append(record)
        else:
            known = isinstance(record, dict) and "id" in record
            name = f"{what} {record['id']!r:.40}" if known else f"{what} number {position + 1} of the list"
            faults.append(f"{name} {fault}")
    if faults and bad == "stop":
        problem = f"1 {what} cannot be used" if len(faults) == 1 else f"{len(faults)} {what}s cannot be used"
        rest = [f"and {len(faults) - _SHOWN} more"] if len(faults) > _SHOWN else []
        found = "; ".join(faults[:_SHOWN] + rest)
        fix = "correct the file" + (", or set bad_annotations to 'skip'" if what == "annotation" else "")
        raise DataError(str(path), problem, found, fix)
    return good, faults


def _id_fault(record: _Record, seen: set[Any]) -> _Fault:
    if "id" not in record:
        return "has no 'id'"
    if not _is_id(record["id"]):
        return "has an id that is neither a whole number nor a text"
    return "has an id that another one has too" if record["id"] in seen else None


def _is_id(value: Any) -> bool:
    return (_is_int(value) and abs(value) < 2**63) or isinstance(value, str)


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def sound_images(records: Sequence[Any], path: Path) -> list[dict[str, Any]]:
    """The entries of images; raises at any fault."""

    def check(image: _Record) -> _Fault:
        if missing := [key for key in ("file_name", "height", "width") if key not in image]:
            return f"has no '{missing[0]}'"
        if not isinstance(image["file_name"], str) or not image["file_name"]:
            return f"has the file_name {image['file_name']!r:.60}, which is not a text"
        if _LEAVES.search(image["file_name"]):
            return f"has the file_name {image['file_name']!r:.60}, which leads out of the folder of images"
        if not all(_is_int(image[side]) and 0 < image[side] <= _LARGEST_SIDE for side in ("height", "width")):
            return f"has the height {image['height']!r:.40} and the width {image['width']!r:.40}"
        return None

    return sound(records, "image", check, path)[0]


def sound_categories(records: Sequence[Any], path: Path) -> list[dict[str, Any]]:
    """The entries of categories, at least one, by id; raises at any fault."""
    names: set[str] = set()

    def check(category: _Record) -> _Fault:
        name = category.get("name")
        if not _is_int(category["id"]):
            return "has an id that is not a whole number"
        if not isinstance(name, str) or not name:
            return "has no 'name'" if name is None else f"has the name {name!r:.60}, which is not a text"
        if name in names:
            return f"has the name {name!r}, which another one has too"
        names.add(name)
        return None

    categories = sound(records, "category", check, path)[0]
    if not categories:
        raise DataError(str(path), "lists no category", fix="name at least one class under 'categories'")
    return sorted(categories, key=lambda category: category["id"])


def _chosen(categories: list[dict[str, Any]], classes: Sequence[str] | None, path: Path) -> list[dict[str, Any]]:
    """The categories named by `classes`, in that order."""
    if classes is None:
        return categories
    by_name = {category["name"]: category for category in categories}
    if len(set(classes)) != len(classes) or not classes:
        raise DataError(str(path), "`classes` must name at least one class, each once", f"got {list(classes)}")
    for name in classes:
        if name not in by_name:
            near = get_close_matches(name, by_name, n=3) or list(by_name)[:10]
            raise DataError(str(path), f"has no category named {name!r}", fix=f"it has {', '.join(map(repr, near))}")
    return [by_name[name] for name in classes]


def _ids(records: Sequence[_Record], what: str, path: Path) -> NDArray[Any]:
    kinds = {type(record["id"]) for record in records}
    if len(kinds) > 1:
        raise DataError(str(path), f"the ids of its {what}s are partly numbers, partly texts", fix="use one kind")
    return np.array([record["id"] for record in records], np.str_ if kinds == {str} else np.int64)


def _keypoint_names(categories: Sequence[_Record], path: Path) -> tuple[str, ...]:
    """The keypoints that all categories which have any agree on."""
    kinds = {tuple(category["keypoints"]) for category in categories if category.get("keypoints")}
    if len(kinds) != 1:
        found = f"{len(kinds)} different lists of 'keypoints' among its categories"
        raise DataError(
            str(path), "keypoints were asked for, one kind for all classes", found, "set keypoints to false"
        )
    return kinds.pop()


def _keypoints(records: Sequence[_Record], count: int) -> NDArray[np.float32]:
    """(A, count, 3); where an object has none, zeros.

    The file gives indices of pixels; ours are continuous coordinates, in which a pixel's middle lies half a pixel on.
    """
    none = [0] * (3 * count)
    points = np.array([record.get("keypoints", none) for record in records], np.float32).reshape(-1, count, 3)
    labelled = points[..., 2:] > 0
    points[..., :2] = np.where(labelled, points[..., :2] + 0.5, 0)
    return points


@dataclass(frozen=True)
class AnnotationCheck:
    """Finds what is wrong with one annotation, given what the rest of the file says."""

    rows: Mapping[int | str, int]
    sizes: Sequence[tuple[int, int]]
    category_ids: set[int]
    masks: MaskForm
    num_keypoints: int | None
    rotated: bool

    def __call__(self, record: _Record) -> _Fault:
        """What is wrong with the entry; None if it can be used."""
        needed = ("image_id", "category_id", "bbox", *(("segmentation",) if self.masks else ()))
        if missing := [key for key in needed if key not in record]:
            return f"has no '{missing[0]}'"
        if not _is_id(record["image_id"]) or record["image_id"] not in self.rows:
            return f"belongs to image {record['image_id']!r:.40}, which is not listed"
        if not _is_int(record["category_id"]) or record["category_id"] not in self.category_ids:
            return f"is of category {record['category_id']!r:.40}, which is not listed"
        area = record.get("area", 0)
        if not are_numbers([area]) or area < 0:
            return f"has the area {area!r:.40}"
        if not isinstance(record.get("iscrowd", 0), int) or record.get("iscrowd", 0) not in (0, 1):
            return f"has iscrowd {record['iscrowd']!r:.40}, not 0 or 1"
        height, width = self.sizes[self.rows[record["image_id"]]]
        return (
            box_fault(record["bbox"], height, width, self.rotated)
            or (self._segmentation_fault(record, height, width) if self.masks else None)
            or self._keypoints_fault(record)
        )

    def _segmentation_fault(self, record: _Record, height: int, width: int) -> _Fault:
        if self.masks == "polygons" and isinstance(record["segmentation"], dict) and not record.get("iscrowd", 0):
            return "has an RLE, where polygons were asked for: set masks to 'bitmaps'"
        return segmentation_fault(record["segmentation"], height, width)

    def _keypoints_fault(self, record: _Record) -> _Fault:
        if self.num_keypoints is None or "keypoints" not in record:
            return None
        values = record["keypoints"]
        if not are_numbers(values) or len(values) != 3 * self.num_keypoints:
            return f"has keypoints that are not {3 * self.num_keypoints} finite numbers"
        return None if set(values[2::3]) <= {0, 1, 2} else "has a keypoint visibility other than 0, 1 or 2"


def segmentation_fault(segmentation: Any, height: int, width: int) -> str | None:
    """What is wrong with polygons or an RLE in an image of `height` and `width`; None if they can be used."""
    if isinstance(segmentation, dict):
        try:
            rle_counts(segmentation, (height, width))
        except ValueError as error:
            return str(error)
        return None
    if not isinstance(segmentation, list) or not segmentation:
        return "has a segmentation that is neither polygons nor RLE"
    for polygon in segmentation:
        if not are_numbers(polygon) or len(polygon) < 6 or len(polygon) % 2:
            return "has a polygon that is not at least three pairs of finite numbers"
        # Rasterising takes memory by the length of the outline, so one absurd corner would be enough to crash.
        if not all(-width <= x <= 2 * width for x in polygon[::2]) or not all(
            -height <= y <= 2 * height for y in polygon[1::2]
        ):
            return "has a polygon far outside its image"
    return None
