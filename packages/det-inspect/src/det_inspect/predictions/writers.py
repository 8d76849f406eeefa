"""Writers of `det predict --save NAME`: tables, files of annotation tools, and crops.

Args of each: folder: where its files go; it exists.
"""

import csv
import json
import math
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from det_core.data.formats.listing import Listing
from det_core.errors import ConfigError
from det_core.predict import Result
from det_core.predict.writers import ImageName, save_picture
from det_core.recipes import yaml as yamlfile
from det_core.visual.draw import to_pil

from det_inspect.datasets.writers import voc_files, yolo_files
from det_inspect.predictions.records import bounds, content, rings

__all__ = ["CropWriter", "CsvWriter", "LabelMeWriter", "LabelStudioWriter", "VocWriter", "YoloWriter"]

_SPLIT = "predicted"


class CsvWriter:
    """Writes predictions.csv: a line per object with the name of the image, class, score and box in pixels."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "predictions.csv"
        self._columns: tuple[str, ...] = ()

    def write(self, result: Result, name: ImageName) -> None:
        """Add the objects of one image."""
        detections = result.detections
        upright = detections.boxes.shape[1] == 4
        columns = ("x0", "y0", "x1", "y1") if upright else ("cx", "cy", "width", "height", "angle")
        with self._path.open("a", encoding="utf-8", newline="") as file:
            lines = csv.writer(file)
            if not self._columns:
                lines.writerow(("file_name", "label", "class", "score", *columns))
                self._columns = columns
            for box, label, score in zip(
                detections.boxes.tolist(), detections.labels.tolist(), detections.scores.tolist(), strict=True
            ):
                numbers = (f"{value:.2f}" for value in box)
                lines.writerow((name.file_name, label, result.classes[label], f"{score:.4f}", *numbers))

    def finish(self) -> None:
        """Nothing is left to do."""


class YoloWriter:
    """Writes yolo/data.yaml, and yolo/labels/NAME.txt with a line per object: label, and shares of the image.

    That is a box (center, width, height), the contour of a mask, or the four corners of a rotated box.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "yolo"

    def write(self, result: Result, name: ImageName) -> None:
        """Write the file of one image, empty where there is no object."""
        picture = ImageName(name.id, name.picture, name.picture)
        record = content(result, picture)
        texts = yolo_files(record, _listing(record), _SPLIT).texts
        labels = {place.replace(f"/{_SPLIT}/", "/"): text for place, text in texts.items()}
        about = {"train": "images", "val": "images", "names": [each["name"] for each in record["categories"]]}
        _write(self._folder, {**labels, "data.yaml": yamlfile.dump(about)})

    def finish(self) -> None:
        """Nothing is left to do."""


class VocWriter:
    """Writes voc/Annotations/NAME.xml of each image, boxes in whole pixels, and voc/ImageSets/Main/predicted.txt."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._names = folder / "voc", ""

    def write(self, result: Result, name: ImageName) -> None:
        """Write the file of one image."""
        record = content(result, ImageName(name.id, name.picture, name.picture), whole_pixels=True)
        texts = dict(voc_files(record, _listing(record), _SPLIT).texts)
        self._names += texts[_LIST]
        _write(self._folder, {**texts, _LIST: self._names})

    def finish(self) -> None:
        """Nothing is left to do."""


_LIST = f"ImageSets/Main/{_SPLIT}.txt"


class LabelMeWriter:
    """Writes labelme/NAME.json of each image, which names the image where it is: rectangles, or polygons of masks."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "labelme"

    def write(self, result: Result, name: ImageName) -> None:
        """Write the file of one image."""
        detections = result.detections
        shapes: list[dict[str, Any]] = []
        for row, (box, polygons) in enumerate(zip(bounds(result), rings(result), strict=True)):
            label, score = result.classes[int(detections.labels[row])], float(detections.scores[row])
            shape = {"label": label, "group_id": row if len(polygons) > 1 else None, "description": f"{score:.4f}"}
            for points in polygons or [[box[:2], box[2:]]]:
                shapes.append(
                    shape | {"points": points, "shape_type": "polygon" if polygons else "rectangle", "flags": {}}
                )
        place = (self._folder / name.picture).with_suffix(".json")
        height, width = detections.size
        image = name.source if "://" in name.source else os.path.relpath(name.source or name.file_name, place.parent)
        about = {"imagePath": Path(image).as_posix(), "imageData": None, "imageHeight": height, "imageWidth": width}
        text = json.dumps({"version": "5.4.1", "flags": {}, "shapes": shapes, **about}, indent=1)
        _write(self._folder, {place.relative_to(self._folder).as_posix(): text})

    def finish(self) -> None:
        """Nothing is left to do."""


class LabelStudioWriter:
    """Writes label_studio.json, tasks with predictions to import, and label_studio.xml, their labeling interface.

    An image is named by its address, or for Label Studio's local storage, from the folder that was given.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._tasks: list[dict[str, Any]] = []
        self._form = "RectangleLabels"
        self._classes: tuple[str, ...] = ()

    def write(self, result: Result, name: ImageName) -> None:
        """Add the task of one image."""
        detections = result.detections
        height, width = detections.size
        self._classes = tuple(result.classes)
        regions: list[dict[str, Any]] = []
        for row, ((x0, y0, x1, y1), polygons) in enumerate(zip(bounds(result), rings(result), strict=True)):
            scale = {"x": 100 * x0 / width, "y": 100 * y0 / height, "rotation": 0}
            values: list[dict[str, Any]] = [
                {"points": [[100 * x / width, 100 * y / height] for x, y in points], "closed": True}
                for points in polygons
            ]
            if polygons:
                self._form = "PolygonLabels"
            for number, value in enumerate(
                values or [{**scale, "width": 100 * (x1 - x0) / width, "height": 100 * (y1 - y0) / height}]
            ):
                kind = "polygonlabels" if polygons else "rectanglelabels"
                size = {"original_width": width, "original_height": height, "image_rotation": 0}
                region = {"id": f"{row}-{number}", "type": kind, "from_name": "label", "to_name": "image", **size}
                value_with_class = {**value, kind: [result.classes[int(detections.labels[row])]]}
                regions.append({**region, "value": value_with_class, "score": float(detections.scores[row])})
        image = name.source if "://" in name.source else f"/data/local-files/?d={name.file_name}"
        score = float(detections.scores.mean()) if len(detections) else 0.0
        predictions = [{"model_version": "det", "score": score, "result": regions}]
        self._tasks.append({"data": {"image": image}, "predictions": predictions})

    def finish(self) -> None:
        """Write the files."""
        view = Element("View")
        SubElement(view, "Image", name="image", value="$image")
        labels = SubElement(view, self._form, name="label", toName="image")
        for name in self._classes:
            SubElement(labels, "Label", value=name)
        indent(view)
        texts = {"label_studio.json": json.dumps(self._tasks), "label_studio.xml": tostring(view, "unicode") + "\n"}
        _write(self._folder, texts)


class CropWriter:
    """Writes crops/CLASS/NAME_1.jpg ...: what each box shows of its image, in whole pixels."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "crops"

    def write(self, result: Result, name: ImageName) -> None:
        """Write the crops of one image."""
        picture = to_pil(result.image)
        place = Path(name.picture)
        for row, (x0, y0, x1, y1) in enumerate(bounds(result)):
            left, top = min(math.floor(x0), picture.width - 1), min(math.floor(y0), picture.height - 1)
            crop = picture.crop((left, top, max(math.ceil(x1), left + 1), max(math.ceil(y1), top + 1)))
            folder = self._folder / re.sub(r"[^\w-]", "_", result.classes[int(result.detections.labels[row])])
            save_picture(crop, folder / place.with_name(f"{place.stem}_{row + 1}{place.suffix}"))

    def finish(self) -> None:
        """Nothing is left to do."""


def _listing(record: Mapping[str, Any]) -> Listing:
    return Listing(record, Path(), Path(record["images"][0]["file_name"]), own_ids=False)


def _write(folder: Path, texts: Mapping[str, str]) -> None:
    try:
        for name, text in texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(str(folder), "cannot be written to", str(error)) from error
