"""Annotations and results in COCO's format, read from files and checked; errors name the id.

No torch is needed here.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from det_core.errors import DataError
from det_core.evaluation.curves import COCO_SIGMAS, IouType, Table
from det_core.files import jsonfile
from det_core.ops.annotations import normalized
from det_core.ops.rle import rle_counts
from det_core.printable import quoted
from pycocotools import mask as coco_mask

from det_inspect.results.results_by_name import placed_by_name

__all__ = ["CocoFiles", "read_files"]

_MAX_LISTED = 5
_LARGEST_SIDE = 1_000_000
_FIELDS: Mapping[IouType, str] = {"bbox": "bbox", "segm": "segmentation", "keypoints": "keypoints"}
_Record = Mapping[str, Any]
_Fault = str | None


@dataclass(frozen=True)
class CocoFiles:
    """Ground truth and detections for `curves`: images and categories are numbered by rank, from 0.

    Attributes:
        ground_truth: table of the annotated objects.
        detections: table of the results, in the order of the file.
        iou_types: IoU types whose data both files contain.
        image_ids: id of each image in the file.
        category_ids: id of each category in the file.
        classes: the name of each category.
        unknown: number of results of each category id that the annotations do not list; they count for nothing, as with
            pycocotools.
        notes: remarks for the user, a sentence each.
    """

    ground_truth: Table
    detections: Table
    iou_types: tuple[IouType, ...]
    image_ids: tuple[int | str, ...]
    category_ids: tuple[int, ...]
    classes: tuple[str, ...]
    unknown: Mapping[int, int]
    notes: tuple[str, ...]


def read_files(annotations: Path, predictions: Path) -> CocoFiles:
    """Read both files, and check the fields that are used.

    Boxes, masks and keypoints are compared where the results have them and the annotations have them too. A detection's
    size is that of its box if it has one, as with pycocotools. Results with a `file_name` are
    assigned to the image of that name.

    Raises:
        DataError: naming the file and the first faults, with their ids and how many there are.
    """
    content = normalized({**_content(annotations), "results": _results(predictions)})
    results = content["results"]
    images, categories = _listed(content, "images", annotations), _listed(content, "categories", annotations)
    for category in categories:
        if not isinstance(category.get("name", ""), str):
            raise DataError(str(annotations), f"category {category['id']} has a name that is not a text")
    image_rank = {image["id"]: rank for rank, image in enumerate(images)}
    category_rank = {category["id"]: rank for rank, category in enumerate(categories)}
    results, placed = placed_by_name(results, images, str(predictions))
    iou_types, notes = _comparable(content["annotations"], results)
    if "segm" in iou_types:
        _require_sizes(images, annotations)
    sizes = [(image.get("height"), image.get("width")) for image in images]
    check = _Check(image_rank, category_rank, sizes, iou_types)
    new_id = _NewId(text=True)
    _require(content["annotations"], "annotation", lambda each: new_id(each) or check.ground_truth(each), annotations)
    _require(results, "result", check.result, predictions)
    notes += placed + _zero_id(content["annotations"])
    table = {
        "images": [
            {"id": rank, "height": h or 0, "width": w or 0, "file_name": image.get("file_name", "")}
            for rank, (image, (h, w)) in enumerate(zip(images, sizes, strict=True))
        ],
        "categories": [{"id": rank, "name": str(each.get("name", each["id"]))} for rank, each in enumerate(categories)],
    }
    of_categories = [result for result in results if result["category_id"] in category_rank]
    unknown = Counter(result["category_id"] for result in results if result["category_id"] not in category_rank)
    entries = _Entries(image_rank, category_rank, sizes, iou_types)
    return CocoFiles(
        ground_truth={
            **table,
            "annotations": [entries.ground_truth(*each) for each in enumerate(content["annotations"], 1)],
        },
        detections={**table, "annotations": [entries.result(*each) for each in enumerate(of_categories, 1)]},
        iou_types=iou_types,
        image_ids=tuple(image_rank),
        category_ids=tuple(category_rank),
        classes=tuple(category["name"] for category in table["categories"]),
        unknown=dict(unknown.most_common()),
        notes=tuple(notes),
    )


def _content(path: Path) -> _Record:
    content = jsonfile.read(path)
    fix = "give a COCO annotation file: an object with the lists 'images', 'annotations' and 'categories'"
    if not isinstance(content, dict):
        raise DataError(str(path), "is not a COCO annotation file", f"it holds a {type(content).__name__}", fix)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content.get(key), list):
            found = f"'{key}' is a {type(content[key]).__name__}" if key in content else f"it has no '{key}'"
            raise DataError(str(path), "is not a COCO annotation file", found, fix)
    return content


def _results(path: Path) -> list[Any]:
    results = jsonfile.read(path, "file of results")
    if not isinstance(results, list):
        fix = "give a list of objects with image_id, category_id, score and bbox, segmentation or keypoints"
        if isinstance(results, dict) and isinstance(results.get("annotations"), list):
            fix = "this is probably an annotation file: are the two files swapped?"
        raise DataError(str(path), "is no file of COCO results", f"it holds a {type(results).__name__}", fix)
    return results


def _listed(content: _Record, key: str, path: Path) -> list[_Record]:
    """Images or categories by their ids: numbers in their order, then texts."""
    what = {"images": "image", "categories": "category"}[key]
    _require(content[key], what, _NewId(text=key == "images"), path)
    return sorted(content[key], key=lambda record: (isinstance(record["id"], str), record["id"]))


class _NewId:
    """Checks the id of a record, which must be unique."""

    def __init__(self, text: bool) -> None:
        self.text = text
        self.ids: set[Any] = set()

    def __call__(self, record: _Record) -> _Fault:
        fault = _id_fault(record, "id", self.text)
        if fault is None and record["id"] in self.ids:
            fault = "has an id that another one has too"
        self.ids.add(record["id"] if fault is None else None)
        return fault


def _require(records: Sequence[Any], what: str, check: Callable[[Any], _Fault], path: Path) -> None:
    """Raise DataError if there is a fault in any record, telling the first ones and how many there are."""
    faults: list[str] = []
    for position, record in enumerate(records, 1):
        fault = check(record) if isinstance(record, dict) else "is not an object"
        if fault is not None:
            has_id = what != "result" and isinstance(record, dict) and "id" in record
            faults.append(
                f"{what} {quoted(record['id'], 60)} {fault}" if has_id else f"{what} number {position} {fault}"
            )
    if faults:
        rest = [f"and {len(faults) - _MAX_LISTED} more"] if len(faults) > _MAX_LISTED else []
        problem = f"1 {what} cannot be used" if len(faults) == 1 else f"{len(faults)} of {len(records)} cannot be used"
        raise DataError(str(path), problem, "; ".join(faults[:_MAX_LISTED] + rest), "correct the file")


def _id_fault(record: _Record, key: str, text: bool) -> _Fault:
    if key not in record:
        return f"has no '{key}'"
    value = record[key]
    number = type(value) is int and abs(value) < 2**63
    kind = "a whole number of 64 bits or a text" if text else "a whole number of 64 bits"
    return (
        None
        if number or (text and isinstance(value, str))
        else f"has the {key} {quoted(value, 60)}, which is not {kind}"
    )


def _comparable(ground_truth: Sequence[Any], results: Sequence[Any]) -> tuple[tuple[IouType, ...], list[str]]:
    """IoU types of both sides, and notes on those of the results only; without results, those of the ground truth."""
    iou_types: list[IouType] = []
    notes = []
    for iou_type, key in _FIELDS.items():
        in_results = any(isinstance(each, dict) and each.get(key) for each in results) or not results
        there = key == "bbox" or any(isinstance(each, dict) and each.get(key) for each in ground_truth)
        if iou_type == "keypoints" and in_results and there and (count := _other_keypoints(ground_truth, results)):
            notes.append(
                f"no keypoints: objects have {count}; the rules for files are those of COCO's {len(COCO_SIGMAS)}"
            )
        elif in_results and there:
            iou_types.append(iou_type)
        elif in_results and results:
            notes.append(f"no {iou_type}: the results have {key}, the annotations have none")
    return tuple(iou_types) or ("bbox",), notes


def _other_keypoints(ground_truth: Sequence[Any], results: Sequence[Any]) -> int | None:
    """How many keypoints the first object with any has, if these are not as many as COCO's."""
    for record in (*ground_truth, *results):
        points = record.get("keypoints") if isinstance(record, dict) else None
        if isinstance(points, list) and points:
            return None if len(points) == 3 * len(COCO_SIGMAS) else len(points) // 3
    return None


def _require_sizes(images: Sequence[_Record], path: Path) -> None:
    for image in images:
        if not all(type(image.get(side)) is int and 0 < image[side] <= _LARGEST_SIDE for side in ("height", "width")):
            found = f"the height {quoted(image.get('height'), 60)} and the width {quoted(image.get('width'), 60)}"
            raise DataError(str(path), f"image {quoted(image['id'], 60)} has no size, which masks need", found)


def _zero_id(ground_truth: Sequence[_Record]) -> list[str]:
    if any(each.get("id") == 0 for each in ground_truth):
        return ["an annotation has the id 0: pycocotools would count its detection as wrong; here it is right"]
    return []


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30


def _are_numbers(values: Any, count: int) -> bool:
    return isinstance(values, list) and len(values) == count and all(map(_is_number, values))


@dataclass(frozen=True)
class _Check:
    """Checks an annotation or a result."""

    images: Mapping[int | str, int]
    categories: Mapping[int, int]
    sizes: Sequence[tuple[Any, Any]]
    iou_types: tuple[IouType, ...]

    def ground_truth(self, record: _Record) -> _Fault:
        fault = self._place(record) or _id_fault(record, "category_id", text=False)
        if fault is None and record["category_id"] not in self.categories:
            fault = f"is of category {record['category_id']}, which is not listed"
        if fault is None and "area" in record and not (_is_number(record["area"]) and record["area"] >= 0):
            fault = f"has the area {quoted(record['area'], 60)}"
        if fault is None and record.get("iscrowd", 0) not in (0, 1):
            fault = f"has iscrowd {quoted(record['iscrowd'], 60)}, not 0 or 1"
        if fault is None and "bbox" not in record:
            fault = "has no 'bbox'"
        if fault is None and not _is_number(record.get("num_keypoints", 0)):
            fault = f"has the num_keypoints {quoted(record['num_keypoints'], 60)}"
        return fault or self._shape(record)

    def result(self, record: _Record) -> _Fault:
        fault = self._place(record) or _id_fault(record, "category_id", text=False)
        if fault is None and not _is_number(record.get("score")):
            fault = f"has the score {quoted(record.get('score'), 60)}, which is not a finite number"
        return fault or self._shape(record)

    def _place(self, record: _Record) -> _Fault:
        fault = _id_fault(record, "image_id", text=True)
        if fault is None and record["image_id"] not in self.images:
            fault = f"is of image {quoted(record['image_id'], 60)}, which the annotations do not list"
        return fault

    def _shape(self, record: _Record) -> _Fault:
        if ("bbox" in self.iou_types or "bbox" in record) and not _are_numbers(record.get("bbox"), 4):
            return f"has the bbox {quoted(record.get('bbox'), 60)}, which is not four finite numbers"
        if "segm" in self.iou_types:
            if "segmentation" not in record:
                return "has no 'segmentation', which others have"
            if fault := _segmentation_fault(record["segmentation"], *self.sizes[self.images[record["image_id"]]]):
                return fault
        if "keypoints" in self.iou_types:
            points = record.get("keypoints")
            if not _are_numbers(points, 3 * len(COCO_SIGMAS)):
                return f"has keypoints that are not {3 * len(COCO_SIGMAS)} finite numbers"
        return None


def _segmentation_fault(segmentation: Any, height: int, width: int) -> _Fault:
    if isinstance(segmentation, dict):
        try:
            rle_counts(segmentation, (height, width))
        except ValueError as error:
            return str(error)
        return None
    if not isinstance(segmentation, list) or not segmentation:
        return "has a segmentation that is neither polygons nor RLE"
    for ring in segmentation:
        if not isinstance(ring, list) or len(ring) < 6 or len(ring) % 2 or not _are_numbers(ring, len(ring)):
            return "has a polygon that is not at least three pairs of finite numbers"
        # Rasterizing takes memory by the length of the polygon, so one absurd vertex would be enough to crash.
        if not all(-width <= x <= 2 * width for x in ring[::2]) or not all(
            -height <= y <= 2 * height for y in ring[1::2]
        ):
            return "has a polygon far outside its image"
    return None


@dataclass(frozen=True)
class _Entries:
    """Makes the entries of a table from checked records."""

    images: Mapping[int | str, int]
    categories: Mapping[int, int]
    sizes: Sequence[tuple[Any, Any]]
    iou_types: tuple[IouType, ...]

    def ground_truth(self, number: int, record: _Record) -> dict[str, Any]:
        entry = self._common(number, record)
        entry |= {"iscrowd": record.get("iscrowd", 0), "area": record.get("area", entry["bbox"][2] * entry["bbox"][3])}
        if "keypoints" in self.iou_types:
            entry["num_keypoints"] = record.get("num_keypoints", sum(value > 0 for value in entry["keypoints"][2::3]))
        return entry

    def result(self, number: int, record: _Record) -> dict[str, Any]:
        entry = self._common(number, record)
        area = entry["bbox"][2] * entry["bbox"][3]
        if "bbox" not in record and "segm" in self.iou_types:
            area = float(coco_mask.area(entry["segmentation"]))
        return entry | {"iscrowd": 0, "score": record["score"], "area": area}

    def _common(self, number: int, record: _Record) -> dict[str, Any]:
        rank = self.images[record["image_id"]]
        entry: dict[str, Any] = {"id": number, "image_id": rank}
        entry["category_id"] = self.categories[record["category_id"]]
        if "segm" in self.iou_types:
            entry["segmentation"] = _rle(record["segmentation"], *self.sizes[rank])
        if "keypoints" in self.iou_types:
            entry["keypoints"] = record["keypoints"]
        entry["bbox"] = record["bbox"] if "bbox" in record else _around(entry)
        return entry


def _rle(segmentation: Any, height: int, width: int) -> dict[str, Any]:
    """Polygons or RLE as RLE of packed bytes."""
    if isinstance(segmentation, list):
        rle: dict[str, Any] = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = {"size": [height, width], "counts": segmentation["counts"].encode()}
    return rle


def _around(entry: _Record) -> list[float]:
    """The box of a result that gives none, as pycocotools makes it: around the mask, else around the keypoints."""
    if "segmentation" in entry:
        box: list[float] = coco_mask.toBbox(entry["segmentation"]).tolist()
        return box
    xs, ys = entry["keypoints"][::3], entry["keypoints"][1::3]
    return [min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys)]
