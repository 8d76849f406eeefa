"""Datasets in the YOLO format: an image folder, and for each image a text file with a line per object."""

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from det_core.data.formats.coco import mask_form
from det_core.data.formats.coco_index import BadAnnotations
from det_core.data.formats.indexed import IndexedImages
from det_core.data.formats.listing import Listing
from det_core.data.images import image_size
from det_core.errors import DataError, DetWarning
from det_core.printable import described
from det_core.recipes import yaml as yamlfile
from det_core.structures import Size

from det_datasets.readers.files import image_files, text_of
from det_datasets.readers.yolo_lines import Layout, Task

__all__ = ["YoloDataset"]

_LARGEST_FILE, _MOST_LINES = 2**24, 100_000
_LARGEST_LIST = 2**20


class YoloDataset(IndexedImages):
    """Images and their objects from text files: class, then box or polygon, in coordinates relative to the image.

    The content of a line after the class is declared by `task`, or by `task` or `kpt_shape` in the file of classes:
    "detect", a box as centre x and y, width and height; "segment", a polygon as x and y of at least three vertices;
    "pose", a box and the keypoints of `kpt_shape`. Undeclared, four numbers are a box and pairs of at least three
    vertices a polygon; a DetWarning is issued where all polygons have the same number of vertices, as lines with
    another meaning would. A fifth number, such as the confidence of predictions, is refused. Images without a file, or
    with an empty one, have no objects. Rotated boxes (task obb) are not supported.

    Args:
        images: image folder, such as images/train; possibly with subfolders.
        classes: class names, or a file of them: a YAML file with `names`, or a text file with one name per line.
        labels: folder of text files, with the same layout; by default the last folder "images" in the path of `images`
            is replaced by "labels".
        keep_empty: whether images without objects are kept.
        masks: form of segmentations: "bitmaps" or True, "polygons", or False for none; with masks, every object needs a
            polygon.
        task: "detect", "segment" or "pose"; None: as the file of classes declares.
        keypoints: whether targets include keypoints (float32, (N, K, 3)); the file of classes then needs `kpt_shape`.
        bad_annotations: "stop" raises an error for invalid lines; "skip" leaves them out.

    Raises:
        DataError: a folder or file is missing or damaged, or contains invalid lines. The headers of all images are
            read, as relative coordinates need the image size.
    """

    def __init__(
        self,
        images: Path,
        classes: Path | Sequence[str],
        labels: Path | None = None,
        keep_empty: bool = True,
        masks: bool | Literal["bitmaps", "polygons"] = False,
        bad_annotations: BadAnnotations = "stop",
        task: Task | None = None,
        keypoints: bool = False,
    ) -> None:
        layout = _layout(classes, "segment" if task is None and masks else task)
        listing = self._listing(images, classes, labels, layout)
        index = listing.checked(None, mask_form(masks), keypoints, bad_annotations=bad_annotations)
        super().__init__(index, listing.images, listing.annotations, keep_empty, polygons=masks == "polygons")
        self._flipped = layout.flipped
        if layout.task is None:
            _warn_of_undeclared_polygons(listing)

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of keypoints that are swapped by a horizontal flip, from `flip_idx` of the file of classes."""
        pairs = enumerate(self._flipped if self.keypoint_names else ())
        return tuple((place, other) for place, other in pairs if place < other)

    @classmethod
    def listing(
        cls,
        images: Path,
        classes: Path | Sequence[str],
        labels: Path | None = None,
        masks: bool | Literal["bitmaps", "polygons"] = False,
        task: Task | None = None,
    ) -> Listing:
        """The content of the files, not validated."""
        return cls._listing(images, classes, labels, _layout(classes, "segment" if task is None and masks else task))

    @staticmethod
    def _listing(images: Path, classes: Path | Sequence[str], labels: Path | None, layout: Layout) -> Listing:
        images = Path(images)
        labels = _beside(images) if labels is None else Path(labels)
        if not labels.is_dir():
            raise DataError(str(labels), "there is no such folder of labels", fix="check the path, or name `labels`")
        names = class_list(Path(classes)) if isinstance(classes, str | Path) else list(classes)
        content: dict[str, list[dict[str, Any]]] = {"images": [], "annotations": []}
        points = {"keypoints": list(layout.names)} if layout.names else {}
        content["categories"] = [{"id": label, "name": name, **points} for label, name in enumerate(names)]
        faults = []
        files = image_files(images)
        for name in files:
            stem = name[: -len(Path(name).suffix)]
            try:
                size = image_size(images / name)
                objects = _objects(labels / f"{stem}.txt", size, layout)
            except DataError as error:
                faults.append(error)
                continue
            content["images"].append({"id": stem, "file_name": name, "height": size[0], "width": size[1]})
            content["annotations"] += [
                {"id": f"{stem}.txt {where}", "image_id": stem} | each for where, each in objects
            ]
        left_out = {"files of labels without an image": _without_image(labels, files)}
        return Listing(content, images, labels, faults=tuple(faults), left_out=left_out, own_ids=False)


def class_list(path: Path) -> list[str]:
    """Class names of a YAML file under `names`, or of a text file line by line."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        text = text_of(path, _LARGEST_LIST, "a list of classes")
        return [line.strip() for line in text.splitlines() if line.strip()]
    names = _declared(path).get("names")
    if isinstance(names, dict) and all(isinstance(key, str) and re.fullmatch(r"\d{1,9}", key) for key in names):
        places = sorted(names, key=int)
        if [int(place) for place in places] != list(range(len(places))):
            raise DataError(str(path), "`names` must number its classes from 0 without gaps", f"got {places[:10]}")
        names = [names[place] for place in places]
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise DataError(str(path), "has no `names` of classes", fix="write `names: [first, second]`")
    return names


def _declared(path: Path) -> dict[str, Any]:
    """The content of a dataset YAML file; empty if it is no mapping."""
    try:
        # The base loader makes texts, lists and mappings only.
        content = yamlfile.texts(text_of(path, _LARGEST_LIST, "a list of classes"))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise DataError(str(path), "is not valid YAML", described(error)) from error
    return content if isinstance(content, dict) else {}


def _layout(classes: Path | Sequence[str], task: str | None) -> Layout:
    """Layout of the lines, declared by `task` or by the file of classes."""
    path = Path(classes) if isinstance(classes, str | Path) else None
    content = {} if path is None or path.suffix.lower() not in (".yaml", ".yml") else _declared(path)
    return Layout.of(task, content, "YoloDataset.task" if path is None else str(path))


def _warn_of_undeclared_polygons(listing: Listing) -> None:
    """Warn of undeclared lines that are read as polygons but might have another meaning."""
    rings = [len(each["segmentation"][0]) for each in listing.content["annotations"] if "segmentation" in each]
    if rings and len(set(rings)) == 1:
        fix = "declare the task: segment, or another one by task or kpt_shape"
        text = f"{len(rings)} lines of {rings[0]} numbers each are read as polygons; {fix}"
        warnings.warn(f"{listing.annotations}: {text}", DetWarning, stacklevel=3)


def _beside(images: Path) -> Path:
    """The label folder of an image folder."""
    parts = list(images.parts)
    if "images" not in parts:
        raise DataError(str(images), "does not lead to its labels", fix="name the folder by `labels`")
    parts[len(parts) - 1 - parts[::-1].index("images")] = "labels"
    return Path(*parts)


def _without_image(labels: Path, images: Sequence[str]) -> int:
    """Number of files in a label folder without an image."""
    stems = {name[: -len(Path(name).suffix)] for name in images}
    stems_of_labels = (file.relative_to(labels).with_suffix("").as_posix() for file in labels.rglob("*.txt"))
    return sum(stem not in stems and stem != "classes" for stem in stems_of_labels)


def _objects(path: Path, size: Size, layout: Layout) -> list[tuple[str, dict[str, Any]]]:
    """COCO fields of each non-empty line, by line number; errors are left to validation."""
    if not path.exists():
        return []
    text = text_of(path, _LARGEST_FILE, "the labels of an image")
    if text.count("\n") > _MOST_LINES:
        raise DataError(str(path), f"lists more than {_MOST_LINES} objects in one image", fix="correct the file")
    lines = enumerate(text.splitlines(), 1)
    return [(f"line {number}", layout.record(line.split(), size)) for number, line in lines if line.strip()]
