"""Checks of annotation files without reading images."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from det_core.data.formats.coco_boxes import are_numbers, extent
from det_core.data.formats.coco_checks import (
    AnnotationCheck,
    MaskForm,
    category_fault,
    faults_of,
    image_fault,
    segmentation_fault,
)
from det_core.data.formats.faults import Fault
from det_core.data.formats.listing import Listing
from det_core.data.images import file_of
from det_core.printable import quoted

from det_inspect.datasets.report import Defect, Example, SplitReport

__all__ = ["Rules", "examine_listing"]

_Record = Mapping[str, Any]


@dataclass(frozen=True)
class Rules:
    """Options of a reader that determine the required fields of an entry.

    Attributes:
        masks: representation of masks; None: segmentations are not read.
        keypoints: whether the reader reads keypoints.
        rotated: whether boxes may be rotated.
    """

    masks: MaskForm = None
    keypoints: bool = False
    rotated: bool = False


def examine_listing(
    listing: Listing, name: str, split: SplitReport, defects: list[Defect], rules: Rules | None = None
) -> dict[Path, tuple[Any, Example]]:
    """Add defects to `defects` and counts to `split`; returns the images to read, with their entries.

    With `rules` only the fields that the reader uses are checked; without, all fields.
    """
    where = str(listing.annotations)
    for error in listing.faults:
        text = "; ".join(part for part in (error.problem, error.found) if part)
        image = Path(error.where).is_relative_to(listing.images) and not Path(error.where).is_relative_to(where)
        defects.append(Defect("unreadable image" if image else "unreadable file", name, error.where, "", text))
    images = _sound(listing.content["images"], "image", image_fault, name, where, defects)
    categories = _sound(listing.content["categories"], "category", category_fault(), name, where, defects)
    if not listing.content["categories"]:
        defects.append(Defect("bad entry", name, where, "", "lists no category"))
    categories.sort(key=lambda category: category["id"])
    split.classes = tuple(category["name"] for category in categories)
    split.sizes += [(image["height"], image["width"]) for image in images]
    examples = {image["id"]: Example(file_of(listing.images, image["file_name"]), [], []) for image in images}
    _objects(listing, name, split, images, categories, examples, defects, rules)
    images_by_path: dict[Path, tuple[Any, Example]] = {}
    for image in images:
        path = file_of(listing.images, image["file_name"])
        if path in images_by_path:
            text = f"image {quoted(image['id'], 60)} is the file of image {quoted(images_by_path[path][0]['id'], 60)}"
            defects.append(Defect("file listed twice", name, str(path), str(image["id"]), text, path))
        else:
            images_by_path[path] = (image, examples[image["id"]])
    return images_by_path


def _sound(records: Sequence[Any], what: str, check: Any, name: str, where: str, defects: list[Defect]) -> list[Any]:
    """The valid records; defects of the others are added to `defects`."""
    good = []
    for called, record, fault in faults_of(records, what, check):
        if fault is None:
            good.append(record)
        else:
            defects.append(Defect(fault.kind, name, where, _id_of(record), f"{called} {fault.text}"))
    return good


def _id_of(record: Any) -> str:
    return str(record["id"])[:60] if isinstance(record, dict) and "id" in record else ""


def _objects(
    listing: Listing,
    name: str,
    split: SplitReport,
    images: Sequence[_Record],
    categories: Sequence[_Record],
    examples: Mapping[Any, Example],
    defects: list[Defect],
    rules: Rules | None,
) -> None:
    """Count the objects, and record their defects."""
    records, where = listing.content.get("annotations", []), str(listing.annotations)
    labels = {category["id"]: label for label, category in enumerate(categories)}
    sizes = [(image["height"], image["width"]) for image in images]
    rows = {image["id"]: row for row, image in enumerate(images)}
    refused = _refused(listing.content["images"], rows, "image") | _refused(
        listing.content["categories"], labels, "category"
    )
    named = {category["id"]: category.get("keypoints") for category in categories}
    counts = {number: len(points) if isinstance(points, list) else 0 for number, points in named.items()}
    if rules is None:
        rotated = any(isinstance(each, dict) and _is_rotated(each.get("bbox")) for each in records)
        check = AnnotationCheck(rows, sizes, set(labels), None, None, rotated)
    else:
        points = max(counts.values(), default=0) if rules.keypoints else None
        check = AnnotationCheck(rows, sizes, set(labels), rules.masks, points, rules.rotated)
    labels_of_image: defaultdict[Any, set[int]] = defaultdict(set)
    place_counts: Counter[tuple[Any, ...]] = Counter()
    for called, record, first in faults_of(records, "annotation", lambda record: None):
        faults = [first] if first else [_explained(fault, record, refused) for fault in check.faults(record)]
        usable = not faults
        size = sizes[rows[record["image_id"]]] if usable or _has_image(record, rows) else None
        if size is not None and not first and rules is None:
            faults += _parts(record, size, counts.get(record["category_id"]) if usable else None)
            faults += [fault for each in listing.checks for fault in each(record)]
        if usable:
            faults += _place(record, size, place_counts)
            _count(record, labels[record["category_id"]], split)
            labels_of_image[record["image_id"]].add(labels[record["category_id"]])
            example = examples[record["image_id"]]
            example.boxes.append(extent(record["bbox"]))
            example.labels.append(labels[record["category_id"]])
        image = examples[record["image_id"]].image if size is not None else None
        box = _drawable(record) if image is not None else None
        defects += [Defect(f.kind, name, where, _id_of(record), f"{called} {f.text}", image, box) for f in faults]
    split.images_with.update(label for labels_shown in labels_of_image.values() for label in labels_shown)
    split.empty += len(images) - len(labels_of_image)


def _refused(records: Sequence[Any], good: Mapping[Any, int], what: str) -> set[tuple[str, Any]]:
    """("unknown image", id), as faults call it, of each listed image or category that is not among the good ones."""
    numbers = [record.get("id") for record in records if isinstance(record, dict)]
    return {(f"unknown {what}", each) for each in numbers if isinstance(each, int | str) and each not in good}


def _explained(fault: Fault, record: _Record, refused: Set[tuple[str, Any]]) -> Fault:
    """The fault, unless the image or category is listed and its own fault is the cause: that then."""
    number = record.get("category_id" if fault.kind == "unknown category" else "image_id")
    if not isinstance(number, int | str) or (fault.kind, number) not in refused:
        return fault
    return Fault(fault.kind, fault.text.replace("which is not listed", "which cannot be used itself"))


def _is_rotated(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 5


def _has_image(record: Any, rows: Mapping[Any, int]) -> bool:
    number = record.get("image_id") if isinstance(record, dict) else None
    return isinstance(number, int | str) and number in rows


def _drawable(record: _Record) -> tuple[float, float, float, float] | None:
    box = record.get("bbox")
    return extent(box) if are_numbers(box) and len(box) in (4, 5) else None  # type: ignore[arg-type]


def _parts(record: _Record, size: tuple[int, int], points: int | None) -> Iterator[Fault]:
    """Defects of the mask and the keypoints of an object, if present."""
    segmentation = record.get("segmentation")
    if segmentation and (fault := segmentation_fault(segmentation, *size)):
        yield fault
    if values := record.get("keypoints"):
        if not are_numbers(values) or len(values) % 3 or (points and len(values) != 3 * points):
            expected = 3 * points if points else "three times as many"
            yield Fault("broken keypoints", f"has keypoints that are not {expected} finite numbers")
        elif not set(values[2::3]) <= {0, 1, 2}:
            yield Fault("broken keypoints", "has a keypoint visibility other than 0, 1 or 2")


def _place(record: _Record, size: Any, counts: "Counter[tuple[Any, ...]]") -> Iterator[Fault]:
    """Warnings about a usable box."""
    box, (height, width) = record["bbox"], size
    if len(box) == 4:
        x0, y0, x1, y1 = extent(box)
        if (out := max(-x0, -y0, x1 - width, y1 - height)) > 1:
            yield Fault("box outside", f"has a box that reaches {out:g} pixels out of its {width} x {height} image")
    key = (record["image_id"], record["category_id"], *box)
    counts[key] += 1
    if counts[key] == 2:
        yield Fault("duplicate box", "has the class and the box of another one")


def _count(record: _Record, label: int, split: SplitReport) -> None:
    split.objects[label] += 1
    split.crowds += bool(record.get("iscrowd"))
    split.masks += bool(record.get("segmentation"))
    points = record.get("keypoints")
    split.keypoints += isinstance(points, list) and any(points[2::3])
    split.areas.append(record["bbox"][2] * record["bbox"][3])
