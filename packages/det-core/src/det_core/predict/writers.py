"""Writers of `det predict`: one class per kind of output, named by the hook `det_writers`.

Args of each: folder: where its files go; it exists.
"""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from PIL import Image

from det_core.predict.result import Result

__all__ = ["ImageName", "JsonWriter", "PictureWriter", "Writer", "build_writer", "save_picture"]


@dataclass(frozen=True)
class ImageName:
    """Names of an image in the written files.

    Attributes:
        id: image id in files of COCO's formats.
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
        """Add the result of one image."""
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
        folder: existing folder for the pictures.
        labels: whether to write names and scores.
        line_width: width of lines in pixels, see `Result.plot`.
    """

    def __init__(self, folder: Path, labels: bool = True, line_width: int | None = None) -> None:
        self._folder, self._labels, self._line_width = folder, labels, line_width

    def write(self, result: Result, name: ImageName) -> None:
        """Write the picture."""
        save_picture(result.plot(self._labels, self._line_width), self._folder / name.picture)

    def finish(self) -> None:
        """Nothing is left to do."""


def build_writer(make: Callable[..., Writer], folder: Path, options: Mapping[str, Any]) -> Writer:
    """A writer whose files go to `folder`, with those of the options that it takes, such as `labels`."""
    arguments = inspect.signature(make).parameters
    return make(folder, **{name: value for name, value in options.items() if name in arguments})


def save_picture(picture: Image.Image, place: Path) -> None:
    """Write a picture into a folder that need not be there."""
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.save(place)
