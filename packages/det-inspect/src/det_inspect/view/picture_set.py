"""The pictures and objects of datasets as columns, which filters select from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from det_core.data.formats.coco_boxes import are_numbers
from det_core.data.formats.coco_checks import category_fault, faults_of, image_fault
from det_core.data.formats.listing import Listing
from det_core.data.images import file_of
from det_core.errors import DataError
from numpy.typing import NDArray

__all__ = ["SIZES", "Picture", "PictureSet", "read_set"]

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
SIZES = ("small", "medium", "large")
"""Sizes of objects by COCO: below 32 and 96 pixels squared."""
_BOUNDS = (32**2, 96**2)


class Picture(NamedTuple):
    """One picture as listed.

    Attributes:
        split: name of the picture's split.
        id: id of the image in the annotations.
        name: file name, from the folder of images.
        path: path of the file, which may be missing.
        size: (height, width) in pixels as the annotations list it.
    """

    split: str
    id: int | str
    name: str
    path: Path
    size: tuple[int, int]


@dataclass(frozen=True)
class PictureSet:
    """All pictures, and a row for each object that has a class and a box.

    Attributes:
        listings: content of the files of each split.
        pictures: pictures of all splits, in the order of the files.
        classes: name of each label; splits share the labels of equal names.
        keypoints: "keypoints" (names) and "skeleton" (pairs from 1) of each label's category.
        picture: int64 (N,): picture of each object.
        label: int64 (N,): label of each object.
        area: float64 (N,): area of each box in square pixels.
        records: COCO annotation of each object.
        places: int64 (N,): position of each object in the annotations of its split.
    """

    listings: Mapping[str, Listing]
    pictures: Sequence[Picture]
    classes: Sequence[str]
    keypoints: Sequence[Mapping[str, Any]]
    picture: Ints
    label: Ints
    area: NDArray[np.float64]
    records: Sequence[Mapping[str, Any]]
    places: Ints

    def objects_of(self, picture: int) -> Ints:
        """Rows of the objects of a picture."""
        start, stop = np.searchsorted(self.picture, [picture, picture + 1])
        return np.arange(start, stop)

    def object_sizes(self) -> Ints:
        """Index in `SIZES` of each object, int64 (N,)."""
        return np.digitize(self.area, _BOUNDS)

    def counts(self) -> Ints:
        """How many objects each picture has, int64 (P,)."""
        return np.bincount(self.picture, minlength=len(self.pictures))

    def pictures_with(self, rows: Bools) -> Bools:
        """Pictures that have at least one of the objects, bool (P,)."""
        return np.bincount(self.picture[rows], minlength=len(self.pictures)) > 0


def read_set(listings: Mapping[str, Listing]) -> PictureSet:
    """The valid entries of listings; `det data check` reports the others.

    Raises:
        DataError: no listing has a valid picture.
    """
    pictures: list[Picture] = []
    labels: dict[str, int] = {}
    keypoints: list[Mapping[str, Any]] = []
    rows: list[tuple[int, int, int, Mapping[str, Any]]] = []
    for split, listing in listings.items():
        first = len(pictures)
        images = _valid(listing.content["images"], "image", image_fault)
        pictures += [_picture(split, listing, image) for image in images]
        categories = sorted(_valid(listing.content["categories"], "category", category_fault()), key=lambda c: c["id"])
        for category in categories:
            if category["name"] not in labels:
                labels[category["name"]] = len(labels)
                keypoints.append(_keypoints(category))
        label_of = {category["id"]: labels[category["name"]] for category in categories}
        index_of = {image["id"]: index for index, image in enumerate(images, first)}
        rows += _objects(listing.content.get("annotations", []), index_of, label_of)
    if not pictures:
        where = " and ".join(str(listing.annotations) for listing in listings.values())
        raise DataError(where, "lists no picture that can be shown", fix="det data check lists what is wrong")
    rows.sort(key=lambda row: row[0])
    columns = np.array([row[:3] for row in rows], np.int64).reshape(-1, 3)
    areas = np.array([abs(row[3]["bbox"][2] * row[3]["bbox"][3]) for row in rows], np.float64)
    return PictureSet(
        listings,
        pictures,
        tuple(labels),
        keypoints,
        columns[:, 0],
        columns[:, 1],
        areas,
        [row[3] for row in rows],
        columns[:, 2],
    )


def _valid(records: Iterable[Any], what: str, check: Any) -> list[Any]:
    return [record for _, record, fault in faults_of(list(records), what, check) if fault is None]


def _picture(split: str, listing: Listing, image: Mapping[str, Any]) -> Picture:
    name = image["file_name"]
    return Picture(split, image["id"], name, file_of(listing.images, name), (image["height"], image["width"]))


def _keypoints(category: Mapping[str, Any]) -> dict[str, Any]:
    names, pairs = category.get("keypoints"), category.get("skeleton")
    names = [str(name) for name in names] if isinstance(names, list) else []
    pairs = pairs if isinstance(pairs, list) else []
    valid = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2 and _in_range(pair, len(names))]
    return {"keypoints": names, "skeleton": valid}


def _in_range(pair: Sequence[Any], count: int) -> bool:
    return all(type(end) is int and 1 <= end <= count for end in pair)


def _objects(
    records: Iterable[Any], index_of: Mapping[Any, int], label_of: Mapping[Any, int]
) -> Iterable[tuple[int, int, int, Mapping[str, Any]]]:
    """(picture, label, position, entry) of each object with a picture, a class and a box of finite numbers."""
    for place, record in enumerate(records):
        if not isinstance(record, dict):
            continue
        image, category, box = record.get("image_id"), record.get("category_id"), record.get("bbox")
        if not isinstance(image, int | str) or not isinstance(category, int) or not are_numbers(box):
            continue
        index, label = index_of.get(image), label_of.get(category)
        if index is not None and label is not None and isinstance(box, list) and len(box) in (4, 5):
            yield index, label, place, record
