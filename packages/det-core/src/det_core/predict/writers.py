"""What `det predict` writes: one class per kind of output, named by the hook `det_writers`.

Args of each: folder: where its files go; it exists.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from PIL import Image

from det_core.predict.result import Result

__all__ = ["ImageName", "JsonWriter", "PictureWriter", "SegmentWriter", "Writer", "save_picture"]


@dataclass(frozen=True)
class ImageName:
    """How an image is called in what is written.

    Attributes:
        id: its number in files of COCO's formats.
        file_name: the name of its file, from the folder that was given, with slashes.
        picture: a name for a picture of it, ".jpg" or ".png", different for each image of a call; it may have folders.
        source: the path or address that the image was read from.
    """

    id: int
    file_name: str
    picture: str
    source: str = ""


@runtime_checkable
class Writer(Protocol):
    """Writes results, image by image. Built with `folder`, a Path that exists, and is empty before the first image.

    One that takes `labels` (bool) and `line_width` (int or None) is also built with --hide-labels and --line-width.
    """

    def write(self, result: Result, name: ImageName) -> None:
        """Take what was found in one image."""
        ...

    def finish(self) -> None:
        """Called once after the last image."""
        ...


class JsonWriter:
    """Writes predictions.json: all detections in the COCO results format, each with the name of its file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.entries: list[dict[str, Any]] = []

    def write(self, result: Result, name: ImageName) -> None:
        """Add the detections of one image; none of a model that detects no objects."""
        if result.prediction.detections is not None:
            self.entries += [{**entry, "file_name": name.file_name} for entry in result.to_coco(name.id)]

    def finish(self) -> None:
        """Write the file."""
        (self._folder / "predictions.json").write_text(json.dumps(self.entries), encoding="utf-8")


class PictureWriter:
    """Writes each image with its objects drawn on it.

    Args:
        folder: where the pictures go; it exists.
        labels: write names and scores.
        line_width: as of `Result.plot`.
    """

    def __init__(self, folder: Path, labels: bool = True, line_width: int | None = None) -> None:
        self._folder, self._labels, self._line_width = folder, labels, line_width

    def write(self, result: Result, name: ImageName) -> None:
        """Write the picture."""
        save_picture(result.plot(self._labels, self._line_width), self._folder / name.picture)

    def finish(self) -> None:
        """Nothing is left to do."""


class SegmentWriter:
    """Writes panoptic.json and a PNG per image into `folder`/panoptic, or label images into `folder`/semantic.

    The file of an image appears when it is written; panoptic.json when all are.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._images: list[dict[str, Any]] = []
        self._entries: list[dict[str, Any]] = []
        self._categories: dict[int, dict[str, Any]] = {}

    def write(self, result: Result, name: ImageName) -> None:
        """Write what there is of one image; nothing of a model that only detects objects."""
        panoptic, semantic = result.prediction.panoptic, result.prediction.semantic
        png = Path(name.picture).with_suffix(".png")
        if panoptic is not None:
            colors, entry = result.to_coco_panoptic(name.id, png.as_posix())
            save_picture(Image.fromarray(colors), self._folder / "panoptic" / png)
            height, width = colors.shape[:2]
            self._images.append({"id": name.id, "file_name": name.file_name, "height": height, "width": width})
            self._entries.append(entry)
            for each in panoptic.segments:
                label = each["label"]
                own = {"id": result.category_ids[label], "name": result.classes[label]}
                self._categories[label] = {**own, "isthing": int(each["is_thing"])}
        elif semantic is not None:
            labels = semantic.logits.argmax(dim=0).cpu().numpy().astype(np.uint8)
            save_picture(Image.fromarray(labels), self._folder / "semantic" / png)

    def finish(self) -> None:
        """Write panoptic.json, if there are segments; it lists the categories that were found."""
        if self._entries:
            categories = [self._categories[label] for label in sorted(self._categories)]
            content = {"images": self._images, "annotations": self._entries, "categories": categories}
            (self._folder / "panoptic.json").write_text(json.dumps(content), encoding="utf-8")


def save_picture(picture: Image.Image, place: Path) -> None:
    """Write a picture into a folder that need not be there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.save(place)
