"""Annotations in one file: CSV tables, and exports of Label Studio and CVAT."""

import csv
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any
from xml.etree.ElementTree import Element

from det_core.data.formats.listing import Listing
from det_datasets.readers.files import text_of
from det_datasets.readers.voc import parsed
from det_safeload.regular import read_regular

from det_inspect.start.content import Collected
from det_inspect.start.tree import Tree, split_of

__all__ = ["is_label_studio", "read_csv", "read_cvat", "read_label_studio", "table_of"]

_LARGEST = 2**30
_COLUMNS = {
    "image": (
        "filename",
        "file_name",
        "file",
        "image",
        "image_path",
        "imagepath",
        "path",
        "image_id",
        "imageid",
        "img",
    ),
    "class": ("class", "label", "class_name", "classname", "label_name", "labelname", "category", "name"),
    "split": ("split", "set", "subset"),
    "x0": ("xmin", "x_min", "x1", "left", "x0"),
    "y0": ("ymin", "y_min", "y1", "top", "y0"),
    "x1": ("xmax", "x_max", "x2", "right"),
    "y1": ("ymax", "y_max", "y2", "bottom"),
    "x": ("x", "bbox_x"),
    "y": ("y", "bbox_y"),
    "w": ("w", "bbox_width", "bbox_w", "width"),
    "h": ("h", "bbox_height", "bbox_h", "height"),
}
_WITHOUT_HEAD = ("image", "x0", "y0", "x1", "y1", "class")
_HASH = re.compile(r"^[0-9a-f]{8}-")


def table_of(path: PurePosixPath, tree: Tree) -> tuple[dict[str, int], dict[int, list[str]]] | None:
    """The columns that a CSV file has of an image, its class and a box, and its rows by line; None if it lacks one."""
    text = text_of(tree.root / path, _LARGEST, "a table")
    try:
        dialect: Any = csv.Sniffer().sniff(text[:4096], ",;\t")
    except csv.Error:
        dialect = csv.excel
    rows = {number: row for number, row in enumerate(csv.reader(text.splitlines(), dialect), 1) if row}
    if not rows:
        return None
    first = min(rows)
    head = [cell.strip().lower() for cell in rows[first]]
    columns = {
        key: next(head.index(name) for name in names if name in head)
        for key, names in _COLUMNS.items()
        if any(name in head for name in names)
    }
    corners = all(key in columns for key in ("x0", "y0", "x1", "y1"))
    if {"image", "class"} <= columns.keys() and (corners or {"x", "y", "w", "h"} <= columns.keys()):
        return columns, {number: row for number, row in rows.items() if number > first}
    if len(head) == len(_WITHOUT_HEAD) and tree.find(rows[first][0]) is not None:
        return {name: place for place, name in enumerate(_WITHOUT_HEAD)}, rows
    return None


def read_csv(tree: Tree) -> dict[str, list[Listing]]:
    """Every table of boxes: the corners of each, or corner and size, in pixels or, up to 1, in shares of the image."""
    parts: dict[str, list[Listing]] = {}
    for path in tree.ending(".csv", ".tsv"):
        if (table := table_of(path, tree)) is None:
            continue
        columns, rows = table
        shares = not any(value > 1 for row in rows.values() for value in _numbers(row, columns) or ())
        collected: dict[str, Collected] = {}
        for number, row in rows.items():
            row = [*row, *[""] * (max(columns.values()) + 1 - len(row))]
            split_path = PurePosixPath(row[columns["split"]].strip().lower()) if "split" in columns else path
            split = split_of(split_path) or split_of(path)
            to = collected.setdefault(split, Collected(tree, path))
            _add_row(to, row, columns, f"{tree.root / path}: line {number}", shares)
        for split, each in collected.items():
            parts.setdefault(split, []).append(each.listing())
    return parts


def _numbers(row: list[str], columns: Mapping[str, int]) -> list[float] | None:
    """x0, y0, x1, y1 of a row; empty for an image without objects, None where they are no numbers."""
    keys = ("x0", "y0", "x1", "y1") if "x0" in columns and "x1" in columns else ("x", "y", "w", "h")
    cells = [row[columns[key]].strip() if columns[key] < len(row) else "" for key in keys]
    if not any(cells):
        return []
    try:
        a, b, c, d = (float(cell) for cell in cells)
    except ValueError:
        return None
    if not all(map(math.isfinite, (a, b, c, d))):
        return None
    return [a, b, c, d] if keys[0] == "x0" else [a, b, a + c, b + d]


def _add_row(to: Collected, row: list[str], columns: Mapping[str, int], where: str, shares: bool) -> None:
    numbers = _numbers(row, columns)
    if numbers is None:
        to.fault(where, "has a box that is not four finite numbers", ", ".join(row)[:80])
        return
    if (image := to.image(row[columns["image"]].strip())) is None or not numbers:
        return
    name = row[columns["class"]].strip()
    if not name:
        to.fault(where, "has no class")
        return
    height, width = to.sizes[image]
    scale = (width, height, width, height) if shares else (1, 1, 1, 1)
    x0, y0, x1, y1 = (value * factor for value, factor in zip(numbers, scale, strict=True))
    to.object(image, name, [x0, y0, x1 - x0, y1 - y0])


def is_label_studio(content: Any) -> bool:
    """Whether parsed JSON is an export of Label Studio, whole or short (JSON-MIN)."""
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    first = content[0]
    return ("data" in first and ("annotations" in first or "completions" in first)) or (
        "image" in first and ("label" in first or "annotator" in first)
    )


def read_label_studio(tree: Tree) -> dict[str, list[Listing]]:
    """Boxes and polygons of each task; turned boxes get five numbers."""
    parts: dict[str, list[Listing]] = {}
    for path in tree.ending(".json"):
        content = json.loads(text_of(tree.root / path, _LARGEST, "an export of Label Studio"))
        if not is_label_studio(content):
            continue
        to = Collected(tree, path)
        for task in content:
            data = task.get("data", task)
            name = next(
                (value for value in data.values() if isinstance(value, str) and to.tree.find(_local(value))), ""
            )
            name = name or next((value for key, value in data.items() if key == "image" and isinstance(value, str)), "")
            image = to.image(_local(name)) if name else None
            if image is not None:
                for value, kind in _results(task, to):
                    _add_region(to, image, value, kind)
        parts.setdefault(split_of(path), []).append(to.listing())
    return parts


def _local(name: str) -> str:
    """The name of a picture as it was before Label Studio stored it under a prefix."""
    last = re.split(r"[/\\]|\?d=", name)[-1]
    return _HASH.sub("", last)


def _results(task: Mapping[str, Any], to: Collected) -> Iterable[tuple[dict[str, Any], str]]:
    """(value, kind) of each region of a task, of its first annotation that was not cancelled."""
    if "data" not in task:
        regions = task.get("label") or ()
        for region in regions if isinstance(regions, list) else ():
            yield region, next((key for key in region if key.endswith("labels")), "")
        return
    annotations = [
        each for each in task.get("annotations", task.get("completions", ())) if not each.get("was_cancelled")
    ]
    for _ in annotations[1:]:
        to.skip("further annotations of one picture")
    for result in annotations[0].get("result", ()) if annotations else ():
        kind = str(result.get("type", ""))
        if kind.endswith("labels"):
            yield result.get("value", {}), kind


def _add_region(to: Collected, image: str, value: Mapping[str, Any], kind: str) -> None:
    names: Any = value.get(kind) or ("",)
    name = str(names[0])
    height, width = to.sizes[image]
    where = f"{to.source}: {image}"
    try:
        if kind == "rectanglelabels":
            x, y, w, h = (float(value[key]) / 100 for key in ("x", "y", "width", "height"))
            box = [x * width, y * height, w * width, h * height]
            angle = float(value.get("rotation") or 0) % 360
            to.object(image, name, box if not angle else _turned(box, angle))
        elif kind == "polygonlabels":
            ring = [
                float(number) / 100 * side for x, y in value["points"] for number, side in ((x, width), (y, height))
            ]
            to.object(image, name, segmentation=[ring])
        else:
            to.skip(f"regions of type {kind or 'without labels'}")
    except (KeyError, IndexError, TypeError, ValueError):
        to.fault(where, f"has a region of type {kind} that cannot be read", str(dict(value))[:80])


def _turned(box: list[float], degrees: float) -> list[float]:
    """A box that Label Studio turns clockwise around its upper left corner, as center, sides and det's angle."""
    x, y, w, h = box
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    center = (x + w / 2 * cos - h / 2 * sin, y + w / 2 * sin + h / 2 * cos)
    return [*center, w, h, (180 - degrees) % 360 - 180]


def read_cvat(tree: Tree) -> dict[str, list[Listing]]:
    """CVAT's own XML ("CVAT for images"): boxes and polygons."""
    parts: dict[str, list[Listing]] = {}
    for path in tree.ending(".xml"):
        root = parsed(read_regular(tree.root / path, _LARGEST), str(tree.root / path))
        if root.tag != "annotations":
            continue
        collected: dict[str, Collected] = {}
        for entry in root.iter("image"):
            split = split_of(PurePosixPath((entry.get("subset") or "").lower())) or split_of(path)
            to = collected.setdefault(split, Collected(tree, path))
            if (image := to.image(entry.get("name") or "")) is not None:
                for shape in entry:
                    _add_shape(to, image, shape)
        for split, each in collected.items():
            parts.setdefault(split, []).append(each.listing())
    return parts


def _add_shape(to: Collected, image: str, shape: Element) -> None:
    name = shape.get("label") or ""
    try:
        if shape.tag == "box":
            x0, y0, x1, y1 = (float(shape.get(key, "")) for key in ("xtl", "ytl", "xbr", "ybr"))
            angle = float(shape.get("rotation") or 0) % 360
            level = [x0, y0, x1 - x0, y1 - y0]
            turned = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, (180 - angle) % 360 - 180]
            to.object(image, name, turned if angle else level)
        elif shape.tag == "polygon":
            points = [float(value) for point in shape.get("points", "").split(";") for value in point.split(",")]
            to.object(image, name, segmentation=[points])
        elif shape.tag != "tag":
            to.skip(f"shapes of type {shape.tag}")
    except ValueError:
        to.fault(f"{to.source}: {image}", f"has a {shape.tag} that cannot be read", str(dict(shape.attrib))[:80])
