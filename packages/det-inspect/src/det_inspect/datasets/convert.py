"""Conversion of annotations between COCO, PASCAL VOC and YOLO."""

import filecmp
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from det_core.data.formats.coco_checks import AnnotationCheck, BadAnnotations, sound, valid_categories, valid_images
from det_core.data.formats.listing import Listing
from det_core.data.images import file_of
from det_core.errors import ConfigError, DataError
from det_core.printable import quoted

from det_inspect.datasets.writers import Written, coco_files, voc_files, yolo_files

__all__ = ["Converted", "Files", "Format", "convert"]

Format = Literal["coco", "voc", "yolo"]
Files = Literal["copy", "link", "leave"]
"""Treatment of images: copy them, link to them, or leave them in place."""

_WRITERS: Mapping[Format, Callable[..., Written]] = {"coco": coco_files, "voc": voc_files, "yolo": yolo_files}


@dataclass(frozen=True)
class Converted:
    """Result of a conversion.

    Attributes:
        images: number of images in the written annotations.
        objects: number of objects in the images.
        files: written files other than images, first the one that lists the others.
        lost: number of values that the format cannot hold, by kind.
        skipped: a sentence for each entry left out because it cannot be used.
    """

    images: int
    objects: int
    files: tuple[Path, ...]
    lost: Mapping[str, int]
    skipped: tuple[str, ...]


def convert(
    listing: Listing,
    to: Format,
    output: Path,
    split: str = "train",
    files: Files = "copy",
    bad_annotations: BadAnnotations = "stop",
) -> Converted:
    """Write a dataset in another format.

    Several splits can be written to one folder, one after the other. Existing files are never changed: a file to be
    written that already exists must have the same content.

    Args:
        listing: annotations to convert, such as `CocoDataset.listing(...)`.
        to: format to write, such as "coco".
        output: the folder to write into.
        split: name of the split in the output.
        files: treatment of the images: copy, link or leave.
        bad_annotations: "stop" raises an error that lists the entries that cannot be used; "skip" leaves them out.

    Raises:
        DataError: the listing cannot be used, an image is missing, or a file with other content is in the way.
    """
    if not split.isidentifier():
        raise ConfigError("split", "must be a name of letters and digits", f"got {quoted(split)}")
    if listing.faults and bad_annotations == "stop":
        raise listing.faults[0]
    content, skipped = _sound(listing, bad_annotations)
    written = _WRITERS[to](content, listing, split)
    missing = (
        [] if files == "leave" else [name for name in written.images if not file_of(listing.images, name).is_file()]
    )
    if missing:
        found = f"{len(missing)} are missing, the first is {missing[0]}"
        fix = "correct the folder, or leave the images where they are"
        raise DataError(str(listing.images), "does not hold all images", found, fix)
    texts = {output / name: text for name, text in written.texts.items()}
    for path, text in texts.items():
        if path.exists() and path.read_text("utf-8") != text:
            raise DataError(str(path), "exists with other content", fix="give another folder or another split")
    if files != "leave":
        for name, place in written.images.items():
            _put(file_of(listing.images, name), output / place, files)
    for path, text in texts.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    skipped = [*map(str, listing.faults), *skipped]
    return Converted(len(written.images), written.objects, tuple(texts), written.lost, tuple(skipped))


def _sound(listing: Listing, bad: BadAnnotations) -> tuple[dict[str, Any], list[str]]:
    """The content without the annotations that no reader takes, and a sentence for each of these."""
    path = listing.annotations
    images = valid_images(listing.content["images"], path)
    categories = valid_categories(listing.content["categories"], path)
    check = AnnotationCheck(
        rows={image["id"]: row for row, image in enumerate(images)},
        sizes=[(image["height"], image["width"]) for image in images],
        category_ids={category["id"] for category in categories},
        masks=None,
        num_keypoints=None,
        rotated=False,
    )
    objects, skipped = sound(listing.content.get("annotations", []), "annotation", check, path, bad)
    _require_different([image["file_name"] for image in images], path)
    return {**listing.content, "images": images, "categories": categories, "annotations": objects}, skipped


def _require_different(names: Sequence[str], path: Path) -> None:
    name, count = Counter(names).most_common(1)[0] if names else ("", 0)
    if count > 1:
        raise DataError(str(path), f"lists the file {name!r} {count} times", fix="list each image once")


def _put(source: Path, place: Path, how: Files) -> None:
    """Copy or link an image."""
    if place.exists():
        if not filecmp.cmp(source, place, shallow=False):
            raise DataError(str(place), "exists and is another image", fix="give another folder")
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if how == "link":
        place.symlink_to(os.path.relpath(source.resolve(), place.parent.resolve()))
    else:
        shutil.copyfile(source, place)
