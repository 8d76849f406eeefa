"""Reading and checking a COCO annotation file into a few NumPy arrays, small enough to hand to every worker."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from det_core.data.formats.coco_boxes import convert_boxes
from det_core.data.formats.coco_checks import (
    AnnotationCheck,
    BadAnnotations,
    MaskForm,
    sound,
    valid_categories,
    valid_images,
)
from det_core.data.formats.packed import PackedTexts
from det_core.errors import DataError
from det_core.files import jsonfile
from det_core.ops.annotations import normalized

__all__ = ["BadAnnotations", "CocoIndex", "MaskForm", "checked", "read_content"]

_Record = Mapping[str, Any]
_RINGS = "rings of polygons that cannot be used, of objects that can"
_UNUSABLE, _NOT_CHOSEN = "annotations that cannot be used", "objects of classes that were not chosen"


@dataclass(frozen=True, eq=False, kw_only=True)
class CocoIndex:
    """A checked annotation file. Images keep the file's order; objects are grouped by image.

    Attributes:
        classes: names of the classes; the label is the index.
        category_ids: the file's category ids, by label.
        keypoint_names: names of the K keypoints of an object; empty if they were not asked for.
        image_ids: ids of the M images, int64 or text.
        file_names: file names of the M images.
        sizes: int32 (M, 2): height, width.
        first: int64 (M + 1,): the objects of image i are rows first[i] to first[i + 1] of the arrays below.
        object_ids: ids of the A objects, int64 or text.
        boxes: float32 (A, 4), xyxy; or (A, 5) if rotated ones were asked for.
        labels: label of each object, int64 (A,).
        crowd: whether each object is a crowd, bool (A,).
        areas: area of each object in square pixels, float32 (A,).
        segmentations: A texts, the JSON of polygons or RLE; None if masks were not asked for.
        keypoints: float32 (A, K, 3); None if they were not asked for.
        annotated: False if the file does not list annotations at all, as those of test images.
        skipped: entries that were left out and why, one sentence each.
        left_out: counts of left-out parts, as `det_core.data.skipped_entries` describes them.
        marks: (A, ...): further properties of each object, by the key of the extra; a dataset may add its own.
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
    left_out: Mapping[str, int] = field(default_factory=dict)


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
    """The index of the content of a COCO file, or of another format converted to it.

    Args:
        content: COCO data with the lists "images", "categories" and perhaps "annotations".
        path: path of the file, for error messages.
        classes: names of the categories to keep; None keeps all.
        masks: form of segmentations, as of `CocoDataset`.
        keypoints: whether to read keypoints of objects.
        rotated: whether to read rotated boxes, (A, 5).
        bad_annotations: "stop" raises an error for invalid annotations; "skip" leaves them out.
        marks: flags of an annotation, by the key of the extra that they become.

    Raises:
        DataError: naming `path` and the first ten faults of a kind, with their ids and how many there are.
    """
    images, categories = valid_images(content["images"], path), valid_categories(content["categories"], path)
    categories = _select(categories, classes, path)
    labels = {category["id"]: label for label, category in enumerate(categories)}
    names = _keypoint_names(categories, path) if keypoints else ()
    forms = {"masks": masks, "num_keypoints": len(names) if keypoints else None, "rotated": rotated}
    check = _annotation_check(images, content["categories"], **forms)
    records, skipped = sound(content.get("annotations", []), "annotation", check, path, bad_annotations)
    selected, first = _by_image([record for record in records if record["category_id"] in labels], check)
    return CocoIndex(
        classes=tuple(category["name"] for category in categories),
        category_ids=tuple(labels),
        keypoint_names=names,
        image_ids=_ids(images, "image", path),
        file_names=PackedTexts(image["file_name"] for image in images),
        sizes=np.array(check.sizes, np.int32).reshape(-1, 2),
        first=first,
        annotated="annotations" in content,
        skipped=tuple(skipped),
        left_out={_UNUSABLE: len(skipped), _NOT_CHOSEN: len(records) - len(selected), _RINGS: check.broken_rings},
        object_ids=_ids(selected, "annotation", path),
        labels=np.array([labels[record["category_id"]] for record in selected], np.int64),
        **_columns(selected, check, marks or {}),
    )


def _annotation_check(images: Sequence[_Record], categories: Sequence[_Record], **forms: Any) -> AnnotationCheck:
    return AnnotationCheck(
        rows={image["id"]: row for row, image in enumerate(images)},
        sizes=[(image["height"], image["width"]) for image in images],
        category_ids={category["id"] for category in categories},
        **forms,
    )


def _by_image(records: list[dict[str, Any]], check: AnnotationCheck) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """The objects by the row of their image, and where each image begins among them."""
    owners = np.array([check.rows[record["image_id"]] for record in records], np.int64)
    # Stable, so that the objects of an image keep the file's order.
    order = np.argsort(owners, kind="stable")
    first = np.searchsorted(owners[order], np.arange(len(check.sizes) + 1)).astype(np.int64)
    return [records[i] for i in order], first


def _columns(records: list[dict[str, Any]], check: AnnotationCheck, marks: Mapping[str, str]) -> dict[str, Any]:
    """Fields of a `CocoIndex` with one row per object."""
    areas = [record.get("area", record["bbox"][2] * record["bbox"][3]) for record in records]
    segmentations = PackedTexts(map(json.dumps, map(check.segmentation, records))) if check.masks else None
    return {
        "boxes": convert_boxes([record["bbox"] for record in records], check.rotated),
        "crowd": _flags(records, "iscrowd"),
        "areas": np.array(areas, np.float32),
        "segmentations": segmentations,
        "keypoints": None if check.num_keypoints is None else _keypoints(records, check.num_keypoints),
        "marks": {key: _flags(records, name) for key, name in marks.items()},
    }


def _flags(records: list[dict[str, Any]], name: str) -> NDArray[np.bool_]:
    """A flag of each object; False where it is absent."""
    return np.array([bool(record.get(name, 0)) for record in records], np.bool_)


def read_content(path: Path) -> dict[str, Any]:
    """The file as an object that holds the lists of a COCO file, normalized; `annotations` may be absent."""
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
    return normalized(content)


def _select(categories: list[dict[str, Any]], classes: Sequence[str] | None, path: Path) -> list[dict[str, Any]]:
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
    lists = [category["keypoints"] for category in categories if category.get("keypoints")]
    if not all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in lists):
        raise DataError(str(path), "the 'keypoints' of a category must be a list of names")
    kinds = set(map(tuple, lists))
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
