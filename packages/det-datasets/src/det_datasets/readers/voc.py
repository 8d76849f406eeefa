"""Datasets in the PASCAL VOC format: an image folder, an XML file per image, and lists of their names."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, TreeBuilder, tostring
from xml.parsers import expat

from det_core.data.formats.coco_index import BadAnnotations
from det_core.data.formats.indexed import IndexedImages
from det_core.data.formats.listing import Listing
from det_core.errors import DataError
from det_core.files import IMAGE_SUFFIXES
from det_core.printable import quoted
from det_core.zoo.class_names import VOC_CLASSES
from det_safeload.regular import read_regular

from det_datasets.readers.files import text_of

__all__ = ["VOC_CLASSES", "VocDataset", "parsed"]

# File name without suffix: nothing that leads to another folder.
_NAME = re.compile(r"[^/\\:\0]+")
_FLAGGED = re.compile(r"(.*\S)\s+(?:-1|0|1)")
_LARGEST_FILE, _LARGEST_ANNOTATION, _LONGEST_NAME = 2**26, 2**23, 240
_DEEPEST, _ELEMENTS = 30, 200_000
_YES = ("1", "true", "yes")
_DECLARED = re.compile(rb"""\s*<\?xml\b[^>]{0,100}?\bencoding\s*=\s*["']([\w.-]{1,40})["']""")
# Encodings of the parser itself; of Python's others those that are plain tables.
_ENCODINGS = re.compile(r"(gb|big5|euc|shift|sjis|iso|cp|windows|koi8|latin|mac)[\w.-]*", re.IGNORECASE)


class VocDataset(IndexedImages):
    """Images and their objects from the folders Annotations, ImageSets and JPEGImages.

    The format counts pixels from 1 and includes the last, so a box (1, 1, 1, 1) becomes (0, 0, 1, 1). Difficult objects
    are used for training like others, as published; they are marked by the extra "voc/difficult", bool (N,).

    Args:
        folder: such as VOCdevkit/VOC2007; or, without Annotations and JPEGImages in it, a folder of XML files and
            images.
        split: name of a list in ImageSets/Main: "trainval", "test" ...; None for all XML files.
        classes: class names in label order; an object of another class is an error.
        images: image folder, if it is not JPEGImages.
        keep_empty: whether images without objects are kept.
        bad_annotations: "stop" raises an error for invalid annotations; "skip" leaves them out.

    Raises:
        DataError: a file is missing, is no valid XML or declares entities, or an object in it is invalid.
    """

    evaluators: tuple[str, ...] = ("voc",)

    def __init__(
        self,
        folder: Path,
        split: str | None = None,
        classes: Sequence[str] = VOC_CLASSES,
        images: Path | None = None,
        keep_empty: bool = True,
        bad_annotations: BadAnnotations = "stop",
    ) -> None:
        listing = self.listing(folder, split, classes, images)
        index = listing.checked(bad_annotations=bad_annotations)
        super().__init__(index, listing.images, listing.annotations, keep_empty)

    @classmethod
    def listing(
        cls,
        folder: Path,
        split: str | None = None,
        classes: Sequence[str] | None = VOC_CLASSES,
        images: Path | None = None,
    ) -> Listing:
        """The content of the files, not validated; without `classes`, their class names in alphabetical order."""
        folder = Path(folder)
        places = [folder / name for name in ("JPEGImages", "Annotations")]
        if split is None:
            places = [place if place.is_dir() else folder for place in places]
        images, annotations = places[0] if images is None else Path(images), places[1]
        files = _files(images)
        listed: list[dict[str, Any]] = []
        objects: list[dict[str, Any]] = []
        faults = []
        for name in _all(annotations) if split is None else _listed(folder, split):
            try:
                root = _read(annotations / f"{name}.xml")
            except DataError as error:
                faults.append(error)
                continue
            size = {side: _number(root.findtext(f"size/{side}")) for side in ("height", "width")}
            about = _others(root, ("folder", "filename", "path", "size", "object"))
            listed.append({"id": name, "file_name": files.get(name, f"{name}.jpg"), **size, **about})
            objects += [
                {"id": f"{name}.xml object {number}", "image_id": name, **_object(entry)}
                for number, entry in enumerate(root.findall("object"), 1)
            ]
        if classes is None:
            classes = sorted({each["category_id"] for each in objects if each["category_id"]})
        labels = {name: label for label, name in enumerate(classes)}
        for each in objects:
            each["category_id"] = labels.get(each["category_id"], each["category_id"])
        categories = [{"id": label, "name": name} for name, label in labels.items()]
        content = {"images": listed, "annotations": objects, "categories": categories}
        return Listing(content, images, annotations, {"voc/difficult": "difficult"}, tuple(faults), own_ids=False)


def _all(annotations: Path) -> list[str]:
    """Names of all XML files in a folder, at least one."""
    if not (names := sorted(path.stem for path in annotations.glob("*.xml"))):
        raise DataError(str(annotations), "there is no XML file in this folder", fix="check the path")
    return names


def _listed(folder: Path, split: str) -> list[str]:
    """Names in the list of a split, without duplicates."""
    if not _NAME.fullmatch(split):
        raise DataError(str(folder), "a split is the name of a list in ImageSets/Main", f"got {quoted(split)}")
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    if not path.exists():
        lists = sorted(file.stem for file in path.parent.glob("*.txt"))
        found = f"there are {', '.join(lists[:10])}" if lists else ""
        raise DataError(str(path), "there is no such list of images", found, "check the folder and the split")
    lines = text_of(path, _LARGEST_FILE, "a list of images").split("\n")
    names = _without_flags([line.strip() for line in lines if line.strip()], folder / "Annotations")
    for number, name in enumerate(names, 1):
        if not _NAME.fullmatch(name):
            raise DataError(str(path), f"line {number} is no name of an image", f"got {quoted(name, 60)}")
    return list(dict.fromkeys(names))


def _without_flags(names: list[str], annotations: Path) -> list[str]:
    """The names without the second column of the lists of single classes, the presence of the class.

    Names may contain spaces, so the end of a line is no column where the whole line has an annotation; where all lines
    have such an end, whole lines are names only if each has an annotation.
    """
    flagged = [_FLAGGED.fullmatch(name) for name in names]
    whole = [_is_name(name) and (annotations / f"{name}.xml").exists() for name in names]
    if all(flagged) and not all(whole):
        whole = [False] * len(names)
    return [
        name if is_name or part is None else part[1] for name, part, is_name in zip(names, flagged, whole, strict=True)
    ]


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and len(name) < _LONGEST_NAME


def _files(images: Path) -> Mapping[str, str]:
    """File of each name in an image folder; JPEG is preferred where there are several."""
    if not images.is_dir():
        raise DataError(str(images), "there is no such folder of images", fix="check the path, or name it by `images`")
    files = [path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES]
    files.sort(key=lambda path: -IMAGE_SUFFIXES.index(path.suffix.lower()))
    return {path.stem: path.name for path in files}


def parsed(content: bytes, where: str) -> Element:
    """Root of an XML text; document types, which could define entities, are refused."""
    content, encoding = _recoded(content, where)
    builder, parser, depth, elements = TreeBuilder(), expat.ParserCreate(encoding), 0, 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth, elements
        depth, elements = depth + 1, elements + 1 + len(attributes)
        if depth > _DEEPEST:
            raise DataError(where, f"is nested deeper than {_DEEPEST} levels", fix="no annotation needs it")
        if elements > _ELEMENTS:
            raise DataError(where, f"has more than {_ELEMENTS} elements", fix="no annotation needs as many")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: Any) -> None:
        raise DataError(where, "declares a document type", fix="take the <!DOCTYPE ...> out: no annotation needs it")

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(content, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(where, "is not valid XML", str(error), "the file may be cut short: get it again") from error


def _recoded(content: bytes, where: str) -> tuple[bytes, str | None]:
    """The text in UTF-8 where it declares an encoding that the parser lacks, such as those of East Asia."""
    declared = _DECLARED.match(content)
    name = declared[1].decode() if declared else "utf-8"
    if not _ENCODINGS.fullmatch(name) or name.lower().startswith("iso-10646"):
        return content, None
    try:
        return content.decode(name).encode(), "utf-8"
    except (LookupError, UnicodeError) as error:
        fix = "declare the encoding that it is written in, or save it as UTF-8"
        raise DataError(where, f"cannot be read as {name}, which it declares", str(error), fix) from error


def _read(path: Path) -> Element:
    """Root of an XML file."""
    try:
        return parsed(read_regular(path, _LARGEST_ANNOTATION), str(path))
    except FileNotFoundError as error:
        raise DataError(str(path), "there is no such annotation file", fix="take the image out of the list") from error
    except OSError as error:
        raise DataError(str(path), "the annotation file cannot be read", error.strerror or str(error)) from error


def _object(entry: Element) -> dict[str, Any]:
    """An object as COCO fields, under its class name; non-numbers are kept for validation."""
    corners = [_number(entry.findtext(f"bndbox/{side}")) for side in ("xmin", "ymin", "xmax", "ymax")]
    box: list[Any] = [math.nan]
    if all(isinstance(corner, int | float) for corner in corners):
        x0, y0, x1, y1 = corners
        # Nine decimals remove the rounding errors of fractions of pixels.
        box = [round(value, 9) for value in (x0 - 1, y0 - 1, x1 - x0 + 1, y1 - y0 + 1)]
    name, difficult = ((entry.findtext(tag) or "").strip() for tag in ("name", "difficult"))
    about = _others(entry, ("name", "difficult", "bndbox"))
    return {"category_id": name, "bbox": box, "difficult": int(difficult.lower() in _YES), **about}


def _others(element: Element, standard: Sequence[str]) -> dict[str, Any]:
    """The other fields of an element, by "voc_" and tag: texts; or a list of XML for nested elements."""
    about: dict[str, Any] = {}
    for child in element:
        key = f"voc_{child.tag}"
        if child.tag in standard:
            continue
        if len(child):
            others = about.get(key)
            xml = re.sub(r">\s+<", "><", tostring(child, "unicode")).strip()
            about[key] = [*(others if isinstance(others, list) else []), xml]
        else:
            about[key] = (child.text or "").strip()
    return about


def _number(text: str | None) -> Any:
    """A number, as int where it is whole; otherwise the text."""
    try:
        number = float(text or "")
    except ValueError:
        return text
    return int(number) if number.is_integer() else number
