"""Reads and validates panoptic annotation files of the COCO format into a few arrays."""

import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from det_core.data.formats.packed import PackedTexts
from det_core.errors import DataError
from det_core.files import jsonfile
from numpy.typing import NDArray

__all__ = ["PanopticIndex", "read_index"]

_LARGEST_ID = 2**24 - 1
# An absolute path, POSIX or Windows, or one with a step up.
_LEAVES = re.compile(r"^[/\\]|^[A-Za-z]:|(^|[/\\])\.\.([/\\]|$)")


@dataclass(frozen=True, eq=False, kw_only=True)
class PanopticIndex:
    """A validated panoptic file. Images keep the order of the file; segments are grouped by image.

    Attributes:
        classes: names of the classes; the label is the index.
        category_ids: category ids of the file, by label.
        things: whether the class is a thing, bool (C,), by label.
        image_ids: image ids (M,), int64 or text.
        file_names: file name of each image.
        label_files: file name of each label image.
        sizes: height and width of each image, int32 (M, 2).
        first: int64 (M + 1,): the segments of image i are rows first[i] to first[i + 1] of the arrays below.
        ids: value of each segment in the label image, int64 (S,).
        labels: class label of each segment, int64 (S,).
        crowd: whether each segment is a crowd, bool (S,).
        unannotated: number of images without an annotation, which are dropped.
    """

    classes: tuple[str, ...]
    category_ids: tuple[int, ...]
    things: NDArray[np.bool_]
    image_ids: NDArray[Any]
    file_names: PackedTexts
    label_files: PackedTexts
    sizes: NDArray[np.int32]
    first: NDArray[np.int64]
    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    crowd: NDArray[np.bool_]
    unannotated: int = 0


def read_index(path: Path, things_first: bool) -> PanopticIndex:
    """The index of a file; labels follow the order of the category ids, with `things_first` thing classes first.

    Raises:
        DataError: there is no such file, it is no panoptic file, or one of its entries is invalid.
    """
    content = jsonfile.read(path, "panoptic annotation file")
    where = str(path)
    for name in ("images", "annotations", "categories"):
        if not isinstance(content, Mapping) or not _is_list_of_records(content.get(name)):
            fix = "give a panoptic file, such as panoptic_val2017.json"
            raise DataError(where, f"has no list of {name}", fix=fix)
    categories = _categories(content["categories"], where, things_first)
    labels = {each["id"]: label for label, each in enumerate(categories)}
    images = _images(content["images"], where)
    annotations = _by_image(content["annotations"], images, where)
    segments = [_segments(each, labels, f"{where}: image {each['image_id']}") for each in annotations]
    rows = [row for each in segments for row in each]
    table = np.array(rows, np.int64).reshape(-1, 3)
    return PanopticIndex(
        classes=tuple(each["name"] for each in categories),
        category_ids=tuple(each["id"] for each in categories),
        things=np.array([bool(each["isthing"]) for each in categories]),
        image_ids=np.array([each["image_id"] for each in annotations]),
        file_names=PackedTexts(images[each["image_id"]]["file_name"] for each in annotations),
        label_files=PackedTexts(each["file_name"] for each in annotations),
        sizes=np.array([_size(images[each["image_id"]]) for each in annotations], np.int32).reshape(-1, 2),
        first=np.cumsum([0, *map(len, segments)], dtype=np.int64),
        ids=table[:, 0].copy(),
        labels=table[:, 1].copy(),
        crowd=table[:, 2] > 0,
        unannotated=len(images) - len(annotations),
    )


def _is_list_of_records(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, Mapping) for each in value)


def _categories(categories: Sequence[Mapping[str, Any]], where: str, things_first: bool) -> list[Mapping[str, Any]]:
    for each in categories:
        if (
            type(each.get("id")) is not int
            or not isinstance(each.get("name"), str)
            or each.get("isthing") not in (0, 1)
        ):
            raise DataError(where, "a category needs a number `id`, a `name`, and `isthing`", f"got {each!r:.120}")
    for key in ("id", "name"):
        _require_different([each[key] for each in categories], where, f"categories with the {key}")
    if not 1 <= len(categories) <= 255:
        raise DataError(where, "must have 1 to 255 categories", f"it has {len(categories)}")
    return sorted(categories, key=lambda each: (things_first and not each["isthing"], each["id"]))


def _images(entries: Sequence[Mapping[str, Any]], where: str) -> dict[Any, Mapping[str, Any]]:
    for each in entries:
        sides = [each.get("height"), each.get("width")]
        if not isinstance(each.get("id"), int | str) or not all(type(n) is int and 0 < n <= 10**6 for n in sides):
            raise DataError(where, "an image needs `id`, `height` and `width`", f"got {each!r:.120}")
        _require_inside(each.get("file_name"), where)
    _require_different([each["id"] for each in entries], where, "images with the id")
    return {each["id"]: each for each in entries}


def _by_image(
    annotations: Sequence[Mapping[str, Any]], images: Mapping[Any, Any], where: str
) -> list[Mapping[str, Any]]:
    """The annotation of each image, in the order of the images; annotations may have another order."""
    for each in annotations:
        if not isinstance(each.get("image_id"), Hashable) or each.get("image_id") not in images:
            raise DataError(where, "an annotation is of no image in the list", f"image_id is {each.get('image_id')!r}")
        _require_inside(each.get("file_name"), where)
        if not _is_list_of_records(each.get("segments_info")):
            raise DataError(where, f"image {each['image_id']} has no list of segments_info")
    _require_different([each["image_id"] for each in annotations], where, "annotations of image")
    if not annotations:
        raise DataError(where, "holds no annotation of an image")
    order = {image_id: row for row, image_id in enumerate(images)}
    return sorted(annotations, key=lambda each: order[each["image_id"]])


def _segments(annotation: Mapping[str, Any], labels: Mapping[int, int], where: str) -> list[tuple[int, int, int]]:
    rows = []
    for each in annotation["segments_info"]:
        number, category, crowd = each.get("id"), each.get("category_id"), each.get("iscrowd", 0)
        if type(number) is not int or not 1 <= number <= _LARGEST_ID:
            raise DataError(where, f"a segment needs an `id` from 1 to {_LARGEST_ID}", f"got {number!r:.40}")
        if type(category) is not int or category not in labels:
            raise DataError(where, f"segment {number} is of no category in the list", f"got {category!r:.40}")
        if crowd not in (0, 1):
            raise DataError(where, f"segment {number}: `iscrowd` must be 0 or 1", f"got {crowd!r:.40}")
        rows.append((number, labels[category], int(crowd)))
    _require_different([row[0] for row in rows], where, "segments with the id")
    return rows


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    return image["height"], image["width"]


def _require_inside(name: Any, where: str) -> None:
    if not isinstance(name, str) or not name or _LEAVES.search(name):
        raise DataError(where, "a `file_name` must be a path within its folder", f"got {name!r:.120}")


def _require_different(values: Sequence[Any], where: str, what: str) -> None:
    if twice := [value for value, count in Counter(values).items() if count > 1]:
        raise DataError(where, f"has several {what} {twice[0]!r:.60}")
