"""Cityscapes: street scenes with the outlines of everything in them, of which eight classes are told one by one."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from det_core.data.formats.packed import PackedNumbers, PackedTexts
from det_core.data.images import read_image
from det_core.errors import DataError
from det_core.files import jsonfile
from det_core.ops.masks import tight_boxes
from det_core.printable import quoted
from det_core.structures import Sample, Size, Targets
from det_core.zoo.class_names import CITYSCAPES_CLASSES
from numpy.typing import NDArray
from PIL import Image, ImageDraw

__all__ = ["CITYSCAPES_CLASSES", "CityscapesDataset"]

# What else an outline may be called; it hides what was drawn before, but is no object to find.
_OTHERS = frozenset(
    (
        *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
        *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
        *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "license plate"),
        *("caravan", "caravangroup", "trailer", "trailergroup"),
    )
)
# The stuff among them that Cityscapes asks for; nobody is asked what the others are.
_STUFF = frozenset(
    (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
        *("vegetation", "terrain", "sky"),
    )
)
# Single objects of these classes have numbers of their own in the official label images. The official evaluation knows
# void by the numbers of labels, and so takes groups of them for it, but not these.
_ALONE = frozenset(("caravan", "trailer"))
# Outlines of this name are not drawn at all.
_NOT_DRAWN = "license plate"
_NAME = re.compile(r"(?P<stem>.+)_leftImg8bit\.png")
_HIDES, _VOID, _LARGEST_SIDE = -1, -2, 100_000


class CityscapesDataset:
    """Images and their objects, drawn from the outlines of gtFine as the official scripts draw them.

    Later outlines hide earlier ones; masks are what remains visible. What an outline named "cargroup" or the like
    covers is a crowd. Beside masks, the image extra "cityscapes/void", bool (H, W), says of which pixels nobody is
    asked what they are: of anything but the eight classes, the stuff that Cityscapes asks for, and single caravans and
    trailers, which the official evaluation does not forgive. The outlines are checked when the dataset is made, an
    image when it is read.

    Args:
        images: a split of leftImg8bit, with a folder for each city.
        annotations: the same split of gtFine, with files CITY/NAME_gtFine_polygons.json.
        masks: whether to give masks: "bitmaps", or True (bool, (N, H, W)).
        keep_empty: whether images without any object to learn from belong to the dataset.

    Attributes:
        classes: the eight classes.
        num_objects: how many outlines of them the images hold together, crowds included.
        num_learnable: how many of these are no crowds.
        left_out: what was left out, and how many: as `det_core.data.left_out` describes it.

    Raises:
        DataError: a folder holds no image, or a file of outlines is missing, damaged or says what cannot be; or, on
            reading, an image is damaged or is not of the size that its outlines are for.
    """

    evaluators: tuple[str, ...] = ("coco",)
    classes: tuple[str, ...] = CITYSCAPES_CLASSES

    def __init__(
        self, images: Path, annotations: Path, masks: bool | Literal["bitmaps"] = False, keep_empty: bool = True
    ) -> None:
        self.images, self.annotations, self._masks = Path(images), Path(annotations), bool(masks)
        if not self.images.is_dir():
            raise DataError(str(self.images), "there is no such folder of images", fix="check the path")
        found = (file.relative_to(self.images).as_posix() for file in self.images.rglob("*_leftImg8bit.png"))
        names = [match["stem"] for match in map(_NAME.fullmatch, sorted(found)) if match]
        if not names:
            fix = "give a split of leftImg8bit, such as leftImg8bit/train"
            raise DataError(str(self.images), "holds no file called NAME_leftImg8bit.png", fix=fix)
        sizes, labels, kept = [], [], []
        self.num_learnable = 0
        for name in names:
            size, outlines = _read(self.annotations / f"{name}_gtFine_polygons.json")
            if keep_empty or any(label >= 0 and not crowd for label, crowd, _ in outlines):
                kept.append(name)
                sizes.append(size)
                labels.append([label for label, _, _ in outlines if label >= 0])
                self.num_learnable += sum(label >= 0 and not crowd for label, crowd, _ in outlines)
        self.num_objects = sum(map(len, labels))
        empty = len(names) - len(kept)
        self.left_out = {"images without an object to learn from": empty} if empty else {}
        self._names, self._labels = PackedTexts(kept), PackedNumbers(labels)
        self._sizes = np.array(sizes, np.int32).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """The image and its objects as stored."""
        path, source = self.path(index), self._source(index)
        image, (size, outlines) = read_image(path), _read(source)
        found = (image.shape[1], image.shape[2])
        if found != size:
            problem = f"the image has {found[1]} x {found[0]} upright pixels"
            raise DataError(str(path), problem, f"{source} says {size[1]} x {size[0]}")
        return Sample(image=image, targets=self._targets(outlines, size), id=path.name[: -len(".png")], path=path)

    def path(self, index: int) -> Path:
        """The file of an image."""
        return self.images / f"{self._name(index)}_leftImg8bit.png"

    def id_of(self, index: int) -> str:
        """The id of an image, as its sample has it."""
        return self.path(index).name[: -len(".png")]

    def size_of(self, index: int) -> Size:
        """(height, width) as the outlines say."""
        height, width = self._sizes[index].tolist()
        return height, width

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object, crowds included; some may be hidden wholly."""
        self._name(index)
        labels: list[int] = self._labels[index % len(self)].tolist()
        return labels

    def _name(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._names[index % len(self)]

    def _source(self, index: int) -> Path:
        return self.annotations / f"{self._name(index)}_gtFine_polygons.json"

    def _targets(self, outlines: "Sequence[_Outline]", size: Size) -> Targets:
        drawn = torch.from_numpy(_drawn(outlines, size))
        objects = [number for number, (label, _, _) in enumerate(outlines, 1) if label >= 0]
        visible = torch.bincount(drawn.flatten(), minlength=len(outlines) + 1)
        objects = [number for number in objects if visible[number]]
        masks = torch.zeros((len(objects), *size), dtype=torch.bool)
        for mask, number in zip(masks, objects, strict=True):
            torch.eq(drawn, number, out=mask)
        chosen = [outlines[number - 1] for number in objects]
        nothing = torch.tensor([True, *(label == _VOID for label, _, _ in outlines)])
        return Targets(
            boxes=tight_boxes(masks, torch.zeros(len(objects), 4), size),
            labels=torch.tensor([label for label, _, _ in chosen], dtype=torch.int64),
            crowd=torch.tensor([crowd for _, crowd, _ in chosen], dtype=torch.bool),
            areas=visible[objects].float(),
            masks=masks if self._masks else None,
            image_extras={"cityscapes/void": nothing[drawn]} if self._masks else {},
        )


_Outline = tuple[int, bool, list[tuple[float, float]]]
"""The label of what it surrounds, less than 0 where that is no object; whether that is a crowd; and its corners."""


def _drawn(outlines: Sequence[_Outline], size: Size) -> NDArray[np.int64]:
    """Which outline each pixel belongs to, counted from 1; crowds of one class are one. 0 where none."""
    page = Image.new("I", (size[1], size[0]), 0)
    pen = ImageDraw.Draw(page)
    crowds: dict[int, int] = {}
    for number, (label, crowd, corners) in enumerate(outlines, 1):
        value = crowds.setdefault(label, number) if crowd else number
        pen.polygon(corners, fill=value)
    return np.asarray(page).astype(np.int64)


def _read(path: Path) -> tuple[Size, list[_Outline]]:
    """The size of the image and what is drawn on it, in this order."""
    content = jsonfile.read(path, "file of outlines")
    if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
        raise DataError(str(path), "is no file of outlines", fix="give files of gtFine that end in _polygons.json")
    size: Any = (content.get("imgHeight"), content.get("imgWidth"))
    if not all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in size):
        raise DataError(
            str(path), "does not say the size of its image", f"imgHeight and imgWidth are {quoted(size, 60)}"
        )
    outlines = []
    for number, entry in enumerate(content["objects"], 1):
        if (outline := _outline(entry, size, f"{path}: object {number}")) is not None:
            outlines.append(outline)
    return size, outlines


def _outline(entry: Any, size: Size, where: str) -> _Outline | None:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("label"), str):
        raise DataError(where, "has no label")
    if entry.get("deleted") or entry["label"] == _NOT_DRAWN:
        return None
    name = entry["label"]
    crowd = name.endswith("group") and name.removesuffix("group") in CITYSCAPES_CLASSES
    name = name.removesuffix("group") if crowd else name
    if name not in CITYSCAPES_CLASSES and name not in _OTHERS:
        raise DataError(where, f"is called {quoted(name, 60)}, which is no label of Cityscapes")
    corners: Any = entry.get("polygon")
    # Drawing takes memory by the extent of the outline, so one absurd corner would be enough to crash.
    far = 2 * max(size)
    sound = isinstance(corners, list) and all(
        isinstance(each, list) and len(each) == 2 and all(type(x) in (int, float) and -far <= x <= far for x in each)
        for each in corners
    )
    if not sound or len(corners) < 2:
        raise DataError(where, "has an outline that is not at least two pairs of numbers near the image")
    hides = _HIDES if name in _STUFF or name in _ALONE else _VOID
    label = CITYSCAPES_CLASSES.index(name) if name in CITYSCAPES_CLASSES else hides
    return label, crowd, [(x, y) for x, y in corners]
