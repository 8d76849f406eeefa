"""Writers of the three formats; fields that a format cannot store are counted."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from det_core.data.formats.coco_checks import segmentation_fault
from det_core.data.formats.listing import Listing
from det_core.errors import DataError
from det_core.recipes import yaml as yamlfile
from det_datasets.readers.voc import parsed

__all__ = ["Written", "coco_files", "voc_files", "yolo_files"]

_Record = Mapping[str, Any]
_UNLISTABLE = re.compile(r"[\x00-\x1f\x7f:\ud800-\udfff\ufffe\uffff]")
# Characters that are invalid in XML or in a list with one name per line.
_CONTROL = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff\ufffe\uffff]")


@dataclass(frozen=True)
class Written:
    """Annotations to write.

    Attributes:
        texts: content of each file by its path; first the file that names the others.
        images: new path of each image, by its name in the old folder.
        objects: number of objects in the annotations.
        lost: number of values that the format cannot hold, by kind.
    """

    texts: Mapping[str, str]
    images: Mapping[str, str]
    objects: int
    lost: Mapping[str, int]


def coco_files(content: Mapping[str, Any], listing: Listing, split: str) -> Written:
    """One file in COCO's format: ids that the files have stay, and so does everything else; others count from 1."""
    images, image_ids = _numbered(content["images"], listing.own_ids)
    objects, _ = _numbered(content["annotations"], listing.own_ids)
    from_0 = not listing.own_ids  # labels, which are no ids to keep
    categories = [{**each, "id": each["id"] + from_0} for each in content["categories"]]
    annotations = []
    for each in objects:
        x, y, w, h = each["bbox"]
        record = {"area": w * h, "iscrowd": 0, **each, "bbox": [x, y, w, h]}
        annotations.append(
            record | {"image_id": image_ids[each["image_id"]], "category_id": each["category_id"] + from_0}
        )
    whole = {**content, "images": images, "annotations": annotations, "categories": categories}
    places = {each["file_name"]: f"images/{split}/{_slashed(each['file_name'])}" for each in images}
    return Written({f"instances_{split}.json": json.dumps(whole)}, places, len(annotations), {})


def voc_files(content: Mapping[str, Any], listing: Listing, split: str) -> Written:
    """One XML file for each image, and a list of their names."""
    lost = _lost_of_file(content)
    names = {each["id"]: each["name"] for each in content["categories"]}
    by_image = _by_image(content["annotations"])
    texts, places, objects = {f"ImageSets/Main/{split}.txt": ""}, {}, 0
    stems: dict[str, str] = {}
    for image in content["images"]:
        path = PurePosixPath(_slashed(image["file_name"]))
        flat = path.as_posix().replace("/", "_")
        lost["folders in the names of images, which become part of the name"] += flat != path.as_posix()
        stem = flat[: len(flat) - len(path.suffix)]
        if _UNLISTABLE.search(stem) or stem != stem.strip():
            problem = f"the image {image['file_name']!r:.80} has a name that a list of images cannot hold"
            raise DataError(str(listing.annotations), problem, fix="rename it")
        if stem.lower() in stems:
            found = f"{stems[stem.lower()]!r} and {image['file_name']!r}"
            raise DataError(str(listing.annotations), "two images would have one name", found, "rename one of them")
        stems[stem.lower()] = image["file_name"]
        places[image["file_name"]] = f"JPEGImages/{flat}"
        root = _described(image, flat, lost)
        for each in by_image[image["id"]]:
            if each.get("iscrowd"):
                lost["crowds, which are left out"] += 1
                continue
            objects += 1
            _add_object(root, each, _written_name(names[each["category_id"]], listing), lost)
        indent(root, "\t")
        texts[f"Annotations/{stem}.xml"] = tostring(root, "unicode") + "\n"
    texts[f"ImageSets/Main/{split}.txt"] = "".join(f"{PurePosixPath(each).stem}\n" for each in places.values())
    return Written(texts, places, objects, +lost)


def yolo_files(content: Mapping[str, Any], listing: Listing, split: str) -> Written:
    """A text file for each image, and one with the names of the classes."""
    lost = _lost_of_file(content)
    labels = {each["id"]: label for label, each in enumerate(content["categories"])}
    names = [_written_name(each["name"], listing) for each in content["categories"]]
    by_image = _by_image(content["annotations"])
    # The same for each split, so that they can share a folder.
    about = {each: f"images/{each}" for each in ("train", "val", "test")} | {"names": names}
    texts, places, objects = {"data.yaml": yamlfile.dump(about)}, {}, 0
    for image in content["images"]:
        name = _slashed(image["file_name"])
        _count_unknown(image, ("id", "file_name", "height", "width"), "images", lost)
        lines = []
        for each in by_image[image["id"]]:
            if each.get("iscrowd"):
                lost["crowds, which are left out"] += 1
                continue
            keys = ("id", "image_id", "category_id", "bbox", "segmentation", "iscrowd", "area", "difficult")
            _count_unknown(each, keys, "objects", lost)
            lost["marks of difficult objects"] += bool(each.get("difficult"))
            shares = _shares(each, image["height"], image["width"], lost)
            lines.append(" ".join([str(labels[each["category_id"]]), *(repr(float(share)) for share in shares)]))
        stem = name[: len(name) - len(PurePosixPath(name).suffix)]
        where = f"labels/{split}/{stem}.txt"
        if where in texts:
            raise DataError(str(listing.annotations), "two images would have one file of labels", where, "rename one")
        places[image["file_name"]], texts[where] = f"images/{split}/{name}", "".join(f"{line}\n" for line in lines)
        objects += len(lines)
    return Written(texts, places, objects, +lost)


def _numbered(records: Sequence[_Record], keep_ids: bool) -> tuple[list[dict[str, Any]], dict[Any, Any]]:
    """The records under ids that count from 1, unless these are their own; and these by what they were."""
    ids = {each["id"]: each["id"] if keep_ids else number for number, each in enumerate(records, 1)}
    return [{**each, "id": ids[each["id"]]} for each in records], ids


def _by_image(records: Sequence[_Record]) -> "defaultdict[Any, list[_Record]]":
    grouped: defaultdict[Any, list[_Record]] = defaultdict(list)
    for record in records:
        grouped[record["image_id"]].append(record)
    return grouped


def _slashed(name: str) -> str:
    return name.replace("\\", "/")


def _lost_of_file(content: Mapping[str, Any]) -> "Counter[str]":
    """Content of a COCO file other than images and objects, and the original ids."""
    lost: Counter[str] = Counter()
    for key, value in content.items():
        if key not in ("images", "annotations", "categories") and value:
            lost[f"'{key}' of the file"] += 1
    for what in ("images", "annotations"):
        lost[f"ids of {what}"] += sum(not isinstance(each["id"], str) for each in content.get(what, ()))
    for each in content["categories"]:
        _count_unknown(each, ("id", "name"), "categories", lost)
    return lost


def _count_unknown(record: _Record, keys: Sequence[str], what: str, lost: "Counter[str]") -> None:
    for key, value in record.items():
        if key not in keys and value not in (None, "", [], {}):
            lost[f"'{key}' of {what}"] += 1


def _written_name(name: str, listing: Listing) -> str:
    if _CONTROL.search(name) or name != name.strip():
        raise DataError(str(listing.annotations), f"the class {name!r} has a name that cannot be written", fix="rename")
    return name


def _described(image: _Record, name: str, lost: "Counter[str]") -> Element:
    """The root of an image's file, without its objects."""
    root = Element("annotation")
    _add(root, "folder", "JPEGImages")
    _add(root, "filename", name)
    _add_others(root, image, ("id", "file_name", "height", "width"), "images", lost)
    size = SubElement(root, "size")
    for tag, value in {"width": image["width"], "height": image["height"], "depth": 3}.items():
        _add(size, tag, value)
    return root


def _add_object(root: Element, record: _Record, name: str, lost: "Counter[str]") -> None:
    """An object, whose corners count from 1 and lie within its last pixel."""
    entry = SubElement(root, "object")
    _add(entry, "name", name)
    keys = ("id", "image_id", "category_id", "bbox", "iscrowd", "area", "difficult")
    _add_others(entry, record, keys, "objects", lost)
    _add(entry, "difficult", int(bool(record.get("difficult"))))
    x, y, w, h = record["bbox"]
    lost["areas that are not those of the boxes"] += abs(record.get("area", w * h) - w * h) > 1e-6 * max(1, w * h)
    lost["boxes at fractions of pixels, which some readers of VOC round"] += any(
        value != int(value) for value in record["bbox"]
    )
    box = SubElement(entry, "bndbox")
    for tag, value in {"xmin": x + 1, "ymin": y + 1, "xmax": x + w, "ymax": y + h}.items():
        value = round(value, 9)
        _add(box, tag, int(value) if value == int(value) else value)


def _add(element: Element, tag: str, value: Any) -> None:
    SubElement(element, tag).text = str(value)


def _add_others(element: Element, record: _Record, keys: Sequence[str], what: str, lost: "Counter[str]") -> None:
    """What was read from a file of VOC; the rest is counted."""
    rest = {key: value for key, value in record.items() if not key.startswith("voc_")}
    _count_unknown(rest, keys, what, lost)
    for key in record.keys() - rest.keys():
        tag, value = key.removeprefix("voc_"), record[key]
        parts = value if isinstance(value, list) else [value]
        if not re.fullmatch(r"[A-Za-z_][\w.-]*", tag, re.ASCII) or not all(isinstance(each, str) for each in parts):
            lost[f"'{key}' of {what}"] += 1
        elif isinstance(value, list):
            element.extend(parsed(each.encode(), f"{key} of {record['id']}") for each in parts)
        else:
            _add(element, tag, _CONTROL.sub(" ", value))


def _shares(record: _Record, height: int, width: int, lost: "Counter[str]") -> Iterator[float]:
    """A box, or a polygon if there is one, as fractions of the image size."""
    rings = record.get("segmentation")
    x, y, w, h = record["bbox"]
    area = record.get("area", w * h)
    if not rings:
        lost["areas that are not those of the boxes"] += abs(area - w * h) > 1e-6 * max(1, w * h)
        return iter(((x + w / 2) / width, (y + h / 2) / height, w / width, h / height))
    if isinstance(rings, dict) or segmentation_fault(rings, height, width):
        lost["masks that are not polygons, whose boxes are written"] += 1
        return iter(((x + w / 2) / width, (y + h / 2) / height, w / width, h / height))
    if len(rings) > 1:
        # A line that goes to the next ring and comes back encloses nothing.
        lost["polygons of several parts, which are joined by lines without width"] += 1
        rings = [[number for ring in rings for number in (*ring, *ring[:2], *rings[0][:2])]]
    xs, ys = rings[0][::2], rings[0][1::2]
    box = (min(xs), min(ys), max(xs), max(ys))
    lost["boxes that do not fit the polygons"] += any(
        abs(a - b) > 0.5 for a, b in zip(box, (x, y, x + w, y + h), strict=True)
    )
    return chain.from_iterable((px / width, py / height) for px, py in zip(xs, ys, strict=True))
