"""Which formats of annotations a folder contains, and its splits as lists of images and objects."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from det_core.data.formats.coco_index import read_content
from det_core.data.formats.listing import Listing
from det_core.errors import DataError
from det_core.files import jsonfile

from det_inspect.start import folders, masks, tables
from det_inspect.start.asking import Answers
from det_inspect.start.tree import Tree, split_of

__all__ = ["FORMATS", "Recognized", "is_data", "recognize"]

_TITLES = {
    "coco": "COCO JSON",
    "yolo": "YOLO text files",
    "voc": "PASCAL VOC or LabelImg XML",
    "cvat": "CVAT XML",
    "label-studio": "Label Studio JSON",
    "dota": "DOTA text files",
    "csv": "CSV",
    "masks": "a folder of masks",
}
FORMATS = tuple(_TITLES)
_PEEK = 64
_MASKS = ("objects", "binary", "instances", "classes")


@dataclass(frozen=True)
class Recognized:
    """The annotations of a folder.

    Attributes:
        form: name of the format, one of `FORMATS`.
        parts: the lists of each split, "" for pictures without a split.
        task: the task that the format implies, such as "rotated" for DOTA; "" for none.
    """

    form: str
    parts: Mapping[str, list[Listing]]
    task: str = ""

    @property
    def title(self) -> str:
        """The format as a title."""
        return _TITLES[self.form]


def recognize(tree: Tree, answers: Answers, form: str | None = None, task: str | None = None) -> Recognized:
    """The annotations of a folder, read by the reader of their format.

    Raises:
        DataError: there are none, or they cannot be read.
        ConfigError: several formats are there, and no one can be asked which one counts.
    """
    formats = _formats(tree)
    if form is None:
        if not formats:
            raise DataError(
                str(tree.root), "has pictures, but no annotations that can be recognized", _nearly(tree), _FIX
            )
        form = next(iter(formats))
        if len(formats) > 1:
            there = ", ".join(f"{_TITLES[each]} ({formats[each]})" for each in formats)
            form = answers.ask("--format", f"{tree.root} has annotations in several formats: {there}", tuple(formats))
    elif form not in formats:
        there = ", ".join(_TITLES[each] for each in formats) or "no annotations"
        raise DataError(str(tree.root), f"has no annotations of the format {form}", f"found {there}")
    readers: Mapping[str, Callable[[Tree], dict[str, list[Listing]]]] = {
        "coco": _read_coco,
        "yolo": partial(folders.read_yolo, task="segment" if task == "rotated" else task),
        "voc": folders.read_voc,
        "cvat": tables.read_cvat,
        "label-studio": tables.read_label_studio,
        "dota": folders.read_dota,
        "csv": tables.read_csv,
        "masks": partial(_read_masks, answers=answers),
    }
    parts = {split: listings for split, listings in readers[form](tree).items() if listings}
    if not parts:
        raise DataError(str(tree.root), f"has {_TITLES[form]}, but no pictures that they describe")
    return Recognized(form, parts, "rotated" if form == "dota" else "")


_FIX = (
    "det start reads COCO, YOLO, PASCAL VOC, LabelImg, CVAT, Label Studio, DOTA, CSV with a line for each box,"
    " and folders of masks; det predict needs no annotations"
)


def _formats(tree: Tree) -> dict[str, str]:
    """Each format that is there, with one of its files."""
    formats: dict[str, str] = {}
    for path in tree.ending(".json"):
        kind = _kind_of_json(tree.root / path)
        if kind:
            formats.setdefault(kind, str(path))
    if yolo := folders.yolo_files(tree):
        formats["yolo"] = str(yolo[0])
    if voc := folders.voc_files(tree):
        formats["voc"] = str(voc[0])
    for path in tree.ending(".xml")[:_PEEK]:
        if "<annotations>" in _head(tree.root / path):
            formats.setdefault("cvat", str(path))
    if dota := folders.dota_files(tree):
        formats["dota"] = str(dota[0])
    for path in tree.ending(".csv", ".tsv"):
        if tables.table_of(path, tree) is not None:
            formats.setdefault("csv", str(path))
    if not formats and tree.chosen is None and (of := masks.masks_of(tree)):
        formats["masks"] = str(next(iter(of.values()))[0].parent)
    return formats


def _head(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(2000).decode("utf-8", "replace")


def _kind_of_json(path: Path) -> str:
    try:
        content = jsonfile.read(path)
    except DataError:
        return ""
    if isinstance(content, dict) and {"images", "annotations", "categories"} <= content.keys():
        return "coco"
    return "label-studio" if tables.is_label_studio(content) else ""


def _nearly(tree: Tree) -> str:
    """The likely reason why no format was recognized."""
    broken = []
    for path in tree.ending(".json")[:_PEEK]:
        try:
            content = jsonfile.read(tree.root / path)
        except DataError as error:
            broken.append(str(error))
            continue
        if isinstance(content, dict) and "shapes" in content and "imagePath" in content:
            return f"{path} is of LabelMe: export COCO from it first"
    if broken:
        return broken[0]
    if any(path.suffix == ".txt" for path in tree.files):
        return "it has text files, but neither data.yaml nor classes.txt with the names of their classes"
    return f"{len(tree.pictures)} pictures and {len(tree.files) - len(tree.pictures)} other files"


def _read_coco(tree: Tree) -> dict[str, list[Listing]]:
    parts: dict[str, list[Listing]] = {}
    for path in tree.ending(".json"):
        if _kind_of_json(tree.root / path) != "coco":
            continue
        content = read_content(tree.root / path)
        names = [each["file_name"] for each in content["images"] if isinstance(each, dict) and "file_name" in each]
        names = [name for name in names if isinstance(name, str)]
        folder = tree.folder_of(names[:: max(1, len(names) // _PEEK)], path)
        if folder is None:
            problem, formats = (
                "lists no picture that is there",
                f"the first is {names[0]!r}" if names else "it lists none",
            )
            fix = "give the folder that contains both the pictures and this file"
            raise DataError(str(tree.root / path), problem, formats, fix)
        parts.setdefault(split_of(path), []).append(Listing(content, folder, tree.root / path))
    for split, listings in parts.items():
        _require_different(split, listings)
    return parts


def _require_different(split: str, listings: list[Listing]) -> None:
    """Refuse two files that list the same pictures, such as instances and keypoints of COCO."""
    files: dict[Path, Path] = {}
    for listing in listings:
        for image in listing.content["images"]:
            path = listing.images / str(image.get("file_name") if isinstance(image, dict) else "")
            if files.setdefault(path, listing.annotations) != listing.annotations:
                formats = f"{files[path].name} and {listing.annotations.name} both list {path.name}"
                fix = "give one of the files instead of the folder, or move the other one away"
                raise DataError(str(listing.annotations.parent), "has two files of the same pictures", formats, fix)


def _read_masks(tree: Tree, answers: Answers) -> dict[str, list[Listing]]:
    of = masks.masks_of(tree)
    if not of:
        raise DataError(str(tree.root), "has masks, but none with the name of a picture")
    values = answers.value("--masks") or masks.mask_values(tree, of)
    if values not in _MASKS:
        text = "is each number in a mask an object of its own (instances), or a class (classes)?"
        values = answers.ask("--masks", text, ("instances", "classes"))
    return masks.read_masks(tree, values)


def is_data(path: Path) -> bool:
    """Whether a path is data rather than a recipe: a folder, or a YAML or JSON file with classes or images."""
    if path.is_dir():
        return True
    if path.suffix.lower() in (".json", ".csv", ".tsv"):
        return path.is_file()
    return path.suffix.lower() in (".yaml", ".yml") and path.is_file() and bool(folders.yolo_files(Tree(path)))
