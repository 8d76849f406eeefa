"""Cityscapes: street scenes with polygons of all objects; eight classes have instance annotations."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from det_core.data.formats.packed import PackedTexts
from det_core.data.images import read_image
from det_core.errors import DataError
from det_core.files import jsonfile
from det_core.ops.masks import tight_boxes
from det_core.printable import quoted
from det_core.structures import Sample, Size, Targets
from det_core.zoo.class_names import CITYSCAPES_CLASSES
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from det_datasets.readers.packed import PackedNumbers

__all__ = ["CITYSCAPES_CLASSES", "CityscapesDataset"]

# Other polygon labels; they hide polygons drawn before, but are no objects to detect.
_OTHERS = frozenset(
    (
        *("unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic", "ground", "road"),
        *("sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
        *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "license plate"),
        *("caravan", "caravangroup", "trailer", "trailergroup"),
    )
)
# The evaluated stuff classes among them; the others are unlabelled.
_STUFF = frozenset(
    (
        *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign"),
        *("vegetation", "terrain", "sky"),
    )
)
# Single objects of these classes have instance ids in the official label images. The official evaluation recognizes
# void by label ids, and so treats groups of them as void, but not these.
_ALONE = frozenset(("caravan", "trailer"))
# Polygons of this label are not drawn.
_NOT_DRAWN = "license plate"
_NAME = re.compile(r"(?P<stem>.+)_leftImg8bit\.png")
_HIDES, _VOID, _LARGEST_SIDE = -1, -2, 100_000


class CityscapesDataset:
    """Images and objects, rendered from the polygons of gtFine like the official scripts.

    Later polygons hide earlier ones; masks are the visible parts. The visible part of a polygon such as "cargroup" is a
    crowd. The image extra "cityscapes/void", bool (H, W), marks unlabelled pixels: those of anything but the eight
    classes, the evaluated stuff, and single caravans and trailers, which the official evaluation counts. Polygons are
    validated on construction, an image when it is read.

    Args:
        images: folder of a split of leftImg8bit, with a folder for each city.
        annotations: folder of the same split of gtFine, with files CITY/NAME_gtFine_polygons.json.
        masks: whether targets include masks: "bitmaps", or True (bool, (N, H, W)).
        keep_empty: whether images without training objects are kept.

    Attributes:
        classes: names of the eight classes with instances.
        num_objects: number of polygons of these classes, including crowds.
        num_learnable: number of objects other than crowds.
        left_out: reasons why images were skipped, with counts; see `det_core.data.skipped_entries`.

    Raises:
        DataError: a folder contains no image, or a polygon file is missing, damaged or invalid; or, on reading, an
            image is damaged or not of the size given in its polygon file.
    """

    evaluators: tuple[str, ...] = ("coco",)
    classes: tuple[str, ...] = CITYSCAPES_CLASSES

    def __init__(
        self, images: Path, annotations: Path, masks: bool | Literal["bitmaps"] = False, keep_empty: bool = True
    ) -> None:
        self.images, self.annotations, self._masks = Path(images), Path(annotations), bool(masks)
        if not self.images.is_dir():
            raise DataError(str(self.images), "there is no such folder of images", fix="check the path")
        files = (file.relative_to(self.images).as_posix() for file in self.images.rglob("*_leftImg8bit.png"))
        names = [match["stem"] for match in map(_NAME.fullmatch, sorted(files)) if match]
        if not names:
            fix = "give a split of leftImg8bit, such as leftImg8bit/train"
            raise DataError(str(self.images), "holds no file called NAME_leftImg8bit.png", fix=fix)
        sizes, labels, kept_names = [], [], []
        self.num_learnable = 0
        for name in names:
            size, polygons = _read(self.annotations / f"{name}_gtFine_polygons.json")
            if keep_empty or any(label >= 0 and not crowd for label, crowd, _ in polygons):
                kept_names.append(name)
                sizes.append(size)
                labels.append([label for label, _, _ in polygons if label >= 0])
                self.num_learnable += sum(label >= 0 and not crowd for label, crowd, _ in polygons)
        self.num_objects = sum(map(len, labels))
        empty = len(names) - len(kept_names)
        self.left_out = {"images without an object to learn from": empty} if empty else {}
        self._names, self._labels = PackedTexts(kept_names), PackedNumbers(labels)
        self._sizes = np.array(sizes, np.int32).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """The image and its objects as stored."""
        path, source = self.path(index), self._source(index)
        image, (size, polygons) = read_image(path), _read(source)
        stored = (image.shape[1], image.shape[2])
        if stored != size:
            problem = f"the image has {stored[1]} x {stored[0]} upright pixels"
            raise DataError(str(path), problem, f"{source} gives {size[1]} x {size[0]}")
        return Sample(image=image, targets=self._targets(polygons, size), id=path.name[: -len(".png")], path=path)

    def path(self, index: int) -> Path:
        """File of an image."""
        return self.images / f"{self._name(index)}_leftImg8bit.png"

    def id_of(self, index: int) -> str:
        """Id of an image, as in its sample."""
        return self.path(index).name[: -len(".png")]

    def size_of(self, index: int) -> Size:
        """(height, width) from the polygon file."""
        height, width = self._sizes[index].tolist()
        return height, width

    def labels_of(self, index: int) -> Sequence[int]:
        """Label of each object, including crowds; some may be hidden completely."""
        self._name(index)
        labels: list[int] = self._labels[index % len(self)].tolist()
        return labels

    def _name(self, index: int) -> str:
        if not -len(self) <= index < len(self):
            raise IndexError(index)
        return self._names[index % len(self)]

    def _source(self, index: int) -> Path:
        return self.annotations / f"{self._name(index)}_gtFine_polygons.json"

    def _targets(self, polygons: "Sequence[_Polygon]", size: Size) -> Targets:
        rendered = torch.from_numpy(_rendered(polygons, size))
        objects = [number for number, (label, _, _) in enumerate(polygons, 1) if label >= 0]
        visible = torch.bincount(rendered.flatten(), minlength=len(polygons) + 1)
        objects = [number for number in objects if visible[number]]
        masks = torch.zeros((len(objects), *size), dtype=torch.bool)
        for mask, number in zip(masks, objects, strict=True):
            torch.eq(rendered, number, out=mask)
        visible_polygons = [polygons[number - 1] for number in objects]
        nothing = torch.tensor([True, *(label == _VOID for label, _, _ in polygons)])
        return Targets(
            boxes=tight_boxes(masks, torch.zeros(len(objects), 4), size),
            labels=torch.tensor([label for label, _, _ in visible_polygons], dtype=torch.int64),
            crowd=torch.tensor([crowd for _, crowd, _ in visible_polygons], dtype=torch.bool),
            areas=visible[objects].float(),
            masks=masks if self._masks else None,
            image_extras={"cityscapes/void": nothing[rendered]} if self._masks else {},
        )


_Polygon = tuple[int, bool, list[tuple[float, float]]]
"""Label of a polygon, negative for non-objects; whether it is a crowd; and its vertices."""


def _rendered(polygons: Sequence[_Polygon], size: Size) -> NDArray[np.int64]:
    """Index, from 1, of the polygon visible at each pixel; crowds of one class share one index. 0 for none."""
    page = Image.new("I", (size[1], size[0]), 0)
    pen = ImageDraw.Draw(page)
    crowds: dict[int, int] = {}
    for number, (label, crowd, corners) in enumerate(polygons, 1):
        value = crowds.setdefault(label, number) if crowd else number
        pen.polygon(corners, fill=value)
    return np.asarray(page).astype(np.int64)


def _read(path: Path) -> tuple[Size, list[_Polygon]]:
    """Size of the image and its polygons in drawing order."""
    content = jsonfile.read(path, "polygon file")
    if not isinstance(content, dict) or not isinstance(content.get("objects"), list):
        raise DataError(str(path), "is no polygon file", fix="give files of gtFine that end in _polygons.json")
    size: Any = (content.get("imgHeight"), content.get("imgWidth"))
    if not all(type(side) is int and 0 < side <= _LARGEST_SIDE for side in size):
        raise DataError(
            str(path), "does not give the size of its image", f"imgHeight and imgWidth are {quoted(size, 60)}"
        )
    polygons = []
    for number, entry in enumerate(content["objects"], 1):
        if (polygon := _polygon(entry, size, f"{path}: object {number}")) is not None:
            polygons.append(polygon)
    return size, polygons


def _polygon(entry: Any, size: Size, where: str) -> _Polygon | None:
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
    # Rendering takes memory by the extent of the polygon, so one absurd vertex could exhaust it.
    far = 2 * max(size)
    valid = isinstance(corners, list) and all(
        isinstance(each, list) and len(each) == 2 and all(type(x) in (int, float) and -far <= x <= far for x in each)
        for each in corners
    )
    if not valid or len(corners) < 2:
        raise DataError(where, "has a polygon that is not at least two pairs of numbers near the image")
    hides = _HIDES if name in _STUFF or name in _ALONE else _VOID
    label = CITYSCAPES_CLASSES.index(name) if name in CITYSCAPES_CLASSES else hides
    return label, crowd, [(x, y) for x, y in corners]
