"""Annotations with a file for each picture: YOLO, PASCAL VOC and LabelImg, DOTA."""

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Any

from det_core.data.formats.listing import Listing
from det_core.errors import DataError
from det_core.recipes import yaml as yamlfile
from det_datasets.readers import VocDataset, YoloDataset
from det_datasets.readers.files import text_of

from det_inspect.start.content import Collected
from det_inspect.start.tree import Tree, split_of

__all__ = ["dota_files", "read_dota", "read_voc", "read_yolo", "voc_files", "yolo_files"]

_LARGEST = 2**24
_PEEK = 20
_DOTA_LINE = re.compile(r"(?:-?\d+(?:\.\d+)?(?:e-?\d+)?\s+){8}(?=\S*[^\W\d])\S+(?:\s+[012])?\s*", re.IGNORECASE)
_DOTA_HEAD = re.compile(r"(imagesource|gsd|acquisition dates)\s*:.*", re.IGNORECASE)


def yolo_files(tree: Tree) -> list[PurePosixPath]:
    """YAML files with `names` and splits; where there is none, lists of classes beside folders of text files."""
    files = []
    for path in tree.ending(".yaml", ".yml"):
        content = _yaml(tree.root / path)
        if content.get("names") and content.keys() & {"train", "val", "test", "path"}:
            files.append(path)
    if files:
        return files
    lists = [path for path in tree.ending(".txt") if path.name.lower() in ("classes.txt", "obj.names")]
    return [path for path in lists if any(file.suffix == ".txt" and file != path for file in tree.files)]


def _yaml(path: Path) -> dict[str, Any]:
    try:
        content = yamlfile.texts(text_of(path, _LARGEST, "a YAML file"))
    except Exception:  # any other YAML file of a project may lie there, sound or not
        return {}
    return content if isinstance(content, dict) else {}


def read_yolo(tree: Tree, task: str | None) -> dict[str, list[Listing]]:
    """The splits of `data.yaml`, or all folders of pictures beside text files."""
    [path, *others] = yolo_files(tree)
    if others:
        detail = ", ".join(map(str, (path, *others)))
        raise DataError(str(tree.root), "has several YOLO datasets", detail, f"give one of them: {tree.root / path}")
    layout: Any = "detect" if task == "detect" else task if task in ("segment", "pose") else None
    if path.suffix == ".txt":
        above = tree.root / path.parent
        images, texts = (above / name if (above / name).is_dir() else above for name in ("images", "labels"))
        return {"": [YoloDataset.listing(images, tree.root / path, texts, task=layout)]}
    content = _yaml(tree.root / path)
    parts: dict[str, list[Listing]] = {}
    root = _yolo_root(tree, path, content)
    for split, key in (("train", "train"), ("val", "val"), ("val", "valid"), ("test", "test")):
        places = content.get(key) or []
        for place in [places] if isinstance(places, str) else places:
            folder = _yolo_folder(root, tree.root / path.parent, str(place))
            if folder is None and split == "test":
                continue  # exports name a test split that they do not contain
            if folder is None:
                fix = "correct the path, or give the folder that contains the pictures"
                raise DataError(str(tree.root / path), f"names {place!r} for {key}, which is not there", fix=fix)
            labels = None if "images" in folder.parts else folder
            listing = YoloDataset.listing(folder, tree.root / path, labels, task=layout)
            _name_pairs(listing, content.get("flip_idx"))
            parts.setdefault(split, []).append(listing)
    return _unsplit(parts)


def _name_pairs(listing: Listing, flipped: Any) -> None:
    """Name keypoints that `flip_idx` exchanges left_N and right_N, by which COCO files know such pairs."""
    names: dict[int, str] = {}
    for place, other in enumerate(map(int, flipped if isinstance(flipped, list) else ())):
        if place < other:
            names |= {place: f"left_{place}", other: f"right_{place}"}
    for category in listing.content["categories"]:
        if points := category.get("keypoints"):
            category["keypoints"] = [names.get(place, name) for place, name in enumerate(points)]


def _unsplit(parts: dict[str, list[Listing]]) -> dict[str, list[Listing]]:
    """The parts, as one without a name where training and validation are the same pictures."""
    train, val = ({each.images for each in parts.get(split, [])} for split in ("train", "val"))
    return {"": parts["train"]} if train and train == val else parts


def _yolo_root(tree: Tree, path: PurePosixPath, content: dict[str, Any]) -> Path:
    """What the splits start from: `path` of the file where it exists, else the folder of the file."""
    beside = tree.root / path.parent
    start = content.get("path")
    candidates = [Path(start), beside / start, beside.parent / start] if isinstance(start, str) and start else []
    return next((each for each in candidates if each.is_dir()), beside)


def _yolo_folder(root: Path, beside: Path, place: str) -> Path | None:
    """The folder of a split; Roboflow writes ../train/images for train/images."""
    steps = place.removeprefix("../").removeprefix("./")
    candidates = (root / place, root / steps, beside / place, beside / steps)
    return next((each for each in candidates if each.is_dir()), None)


def voc_files(tree: Tree) -> list[PurePosixPath]:
    """Folders of XML files that describe one picture each."""
    first: dict[PurePosixPath, PurePosixPath] = {}
    for path in tree.ending(".xml"):
        first.setdefault(path.parent, path)
    return [folder for folder, path in first.items() if "<annotation>" in _head(tree.root / path)]


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(2000).decode("utf-8", "replace")


def read_voc(tree: Tree) -> dict[str, list[Listing]]:
    """Every folder of XML files, by the lists in ImageSets/Main beside it, or else by its name."""
    parts: dict[str, list[Listing]] = {}
    for folder in voc_files(tree):
        place = tree.root / folder
        lists = place.parent / "ImageSets" / "Main"
        stem_of_split = {split_of(PurePosixPath(path.stem)): path.stem for path in sorted(lists.glob("*.txt"))}
        splits = {
            split: stem_of_split[split]
            for split in ("train", "val", "test")
            if stem_of_split.get(split) in (split, f"{split}id")
        }
        if splits and folder.name == "Annotations":
            for split, name in splits.items():
                parts.setdefault(split, []).append(VocDataset.listing(place.parent, name, None))
            continue
        listing = VocDataset.listing(place, None, None, images=_pictures_of(tree, folder))
        parts.setdefault(split_of(folder / "x"), []).append(listing)
    return parts


def _pictures_of(tree: Tree, folder: PurePosixPath) -> Path:
    """The folder in which the pictures of a folder of annotations lie."""
    stems = [file.stem for file in tree.files if file.parent == folder and file.suffix.lower() == ".xml"][:_PEEK]
    parents = Counter(picture.parent for stem in stems if (picture := tree.find(stem, folder)) is not None)
    if not parents:
        problem = "has annotations, but none of their pictures is there"
        raise DataError(str(tree.root / folder), problem, f"the first is {stems[0]}", "put the pictures beside them")
    return tree.root / parents.most_common(1)[0][0]


def dota_files(tree: Tree) -> list[PurePosixPath]:
    """Folders of text files with eight coordinates, a class and a difficulty in each line."""
    first: dict[PurePosixPath, list[PurePosixPath]] = {}
    for path in tree.ending(".txt"):
        first.setdefault(path.parent, []).append(path)
    return [folder for folder, paths in first.items() if any(_is_dota(tree.root / path) for path in paths[:_PEEK])]


def _is_dota(path: Path) -> bool:
    lines = [line for line in _head(path).splitlines()[:-1] or [_head(path)] if line.strip()]
    lines = [line for line in lines if not _DOTA_HEAD.fullmatch(line.strip())]
    return bool(lines) and all(_DOTA_LINE.fullmatch(line) for line in lines)


def read_dota(tree: Tree) -> dict[str, list[Listing]]:
    """Every folder of text files; a quadrilateral is kept as a polygon, of which a rotated box is made later."""
    parts: dict[str, list[Listing]] = {}
    for folder in dota_files(tree):
        to = Collected(tree, folder)
        for path in (file for file in tree.files if file.parent == folder and file.suffix.lower() == ".txt"):
            if tree.find(path.stem, folder) is None and path.name.lower() in ("classes.txt", "readme.txt"):
                continue
            if (image := to.image(path.stem)) is not None:
                _add_lines(to, image, tree.root / path)
        parts.setdefault(split_of(folder / "x"), []).append(to.listing())
    return parts


def _add_lines(to: Collected, image: str, path: Path) -> None:
    for number, line in enumerate(text_of(path, _LARGEST, "annotations of an image").splitlines(), 1):
        parts = line.split()
        if not parts or _DOTA_HEAD.fullmatch(line.strip()):
            continue
        if not _DOTA_LINE.fullmatch(line):
            to.fault(f"{path}: line {number}", "is not eight coordinates, a class and a difficulty", line[:80])
            continue
        to.object(image, parts[8], segmentation=[[float(word) for word in parts[:8]]])
