"""Datasets in the YOLO format: a folder of images, and for each a text file with a line for every object."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import yaml

from det_core.data.formats.coco import mask_form
from det_core.data.formats.coco_index import BadAnnotations
from det_core.data.formats.indexed import IndexedImages
from det_core.data.formats.listing import Listing, text_of
from det_core.data.images import image_files, image_size
from det_core.errors import DataError
from det_core.structures import Size

__all__ = ["YoloDataset"]

_LARGEST_FILE = 2**24
_LARGEST_LIST = 2**20


class YoloDataset(IndexedImages):
    """Images and the objects in them, as text files list them: class, then box or outline, in shares of the image.

    A line of five numbers is a box: the class, its centre x and y, its width and height. A longer one is an outline:
    the class, then x and y of at least three corners. An image without a file, or with an empty one, has no objects.
    Rotated boxes and keypoints, which only the model for them can tell from outlines, are not read.

    Args:
        images: the folder of images, such as images/train; it may have folders in it.
        classes: the name of each class, or the file that tells them: a YAML file with `names`, or one name in a line.
        labels: the folder of text files, laid out alike; by default the last folder of `images` that is called
            "images" becomes "labels".
        keep_empty: whether images without any object belong to the dataset.
        masks: as in `CocoDataset`; every object then needs an outline.
        bad_annotations: as in `CocoDataset`.

    Raises:
        DataError: a folder or file is missing or damaged, or lines in it cannot be used. The heads of all images are
            read, because shares mean nothing without a size.
    """

    def __init__(
        self,
        images: Path,
        classes: Path | Sequence[str],
        labels: Path | None = None,
        keep_empty: bool = True,
        masks: bool | Literal["bitmaps", "polygons"] = False,
        bad_annotations: BadAnnotations = "stop",
    ) -> None:
        listing = self.listing(images, classes, labels)
        index = listing.checked(masks=mask_form(masks), bad_annotations=bad_annotations)
        super().__init__(index, listing.images, listing.annotations, keep_empty, outlines=masks == "polygons")

    @classmethod
    def listing(cls, images: Path, classes: Path | Sequence[str], labels: Path | None = None) -> Listing:
        """What the files say, unchecked."""
        images = Path(images)
        labels = _beside(images) if labels is None else Path(labels)
        if not labels.is_dir():
            raise DataError(str(labels), "there is no such folder of labels", fix="check the path, or name `labels`")
        names = class_list(Path(classes)) if isinstance(classes, str | Path) else list(classes)
        content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        content["categories"] = [{"id": label, "name": name} for label, name in enumerate(names)]
        faults = []
        for name in image_files(images):
            stem = name[: -len(Path(name).suffix)]
            try:
                size = image_size(images / name)
                objects = _objects(labels / f"{stem}.txt", size)
            except DataError as error:
                faults.append(error)
                continue
            content["images"].append({"id": stem, "file_name": name, "height": size[0], "width": size[1]})
            content["annotations"] += [
                {"id": f"{stem}.txt {where}", "image_id": stem} | each for where, each in objects
            ]
        left_out = {"files of labels without an image": _without_image(labels, image_files(images))}
        return Listing(content, images, labels, faults=tuple(faults), left_out=left_out)


def class_list(path: Path) -> list[str]:
    """The names of classes in a YAML file under `names`, or in a text file line by line."""
    text = text_of(path, _LARGEST_LIST, "a list of classes")
    if path.suffix.lower() not in (".yaml", ".yml"):
        return [line.strip() for line in text.splitlines() if line.strip()]
    try:
        # The base loader makes texts, lists and mappings and nothing else.
        content = yaml.load(text, Loader=yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as error:
        raise DataError(str(path), "is not sound YAML", str(error).splitlines()[0]) from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and all(isinstance(key, str) and re.fullmatch(r"\d{1,9}", key) for key in names):
        places = sorted(names, key=int)
        if [int(place) for place in places] != list(range(len(places))):
            raise DataError(str(path), "`names` must number its classes from 0 without gaps", f"got {places[:10]}")
        names = [names[place] for place in places]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(str(path), "has no `names` of classes", fix="write `names: [first, second]`")
    return names


def _beside(images: Path) -> Path:
    """The folder of labels that belongs to a folder of images."""
    parts = list(images.parts)
    if "images" not in parts:
        raise DataError(str(images), "does not say where its labels are", fix="name the folder by `labels`")
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _without_image(labels: Path, images: Sequence[str]) -> int:
    """How many files in a folder of labels belong to none of the images."""
    stems = {name[: -len(Path(name).suffix)] for name in images}
    found = (file.relative_to(labels).with_suffix("").as_posix() for file in labels.rglob("*.txt"))
    return sum(stem not in stems and stem != "classes" for stem in found)


def _objects(path: Path, size: Size) -> list[tuple[str, dict[str, Any]]]:
    """Each line that is not empty, by its number, in COCO's words; what is wrong in it the check tells."""
    if not path.exists():
        return []
    lines = enumerate(text_of(path, _LARGEST_FILE, "the labels of an image").splitlines(), 1)
    return [(f"line {number}", _object(line.split(), size)) for number, line in lines if line.strip()]


def _object(words: Sequence[str], size: Size) -> dict[str, Any]:
    label: int | str = int(words[0]) if re.fullmatch(r"\d{1,9}", words[0]) else words[0]
    try:
        numbers = np.array([float(word) for word in words[1:]])
    except ValueError:
        return {"category_id": label, "bbox": list(words[1:])}
    height, width = size
    if len(numbers) == 4:
        cx, cy, w, h = numbers
        # Nine places behind the point are far below what anybody marks, and take away what dividing has added.
        box = np.round([(cx - w / 2) * width, (cy - h / 2) * height, w * width, h * height], 9)
        return {"category_id": label, "bbox": box.tolist()}
    if len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all():
        return {"category_id": label, "bbox": numbers.tolist()}
    ring = np.round(numbers.reshape(-1, 2) * (width, height), 9)
    (x0, y0), (x1, y1) = ring.min(0), ring.max(0)
    x, y = ring.T
    area = abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
    box = np.array([x0, y0, x1 - x0, y1 - y0])
    return {"category_id": label, "bbox": box.tolist(), "segmentation": [ring.ravel().tolist()], "area": area}
