"""Folders of masks: an image of numbers for each picture, or a folder with an image for each object."""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from det_core.data.formats.listing import Listing
from det_core.errors import DataError
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as coco_mask

from det_inspect.start.content import Collected
from det_inspect.start.tree import Tree, split_of

__all__ = ["components", "mask_values", "masks_of", "read_masks"]

_FOLDERS = ("mask", "masks", "labels", "label", "annotations", "segmentation", "segmentations", "gt", "groundtruth")
_SUFFIXES = (".png", ".tif", ".tiff", ".bmp", ".gif")
_PEEK, _SMALLEST, _MOST = 12, 4, 5000


def masks_of(tree: Tree) -> dict[PurePosixPath, list[PurePosixPath]]:
    """The masks of each picture: from folders called "masks" or alike, one by its name, or all of such a folder."""
    masks: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for file in tree.files:
        if file.suffix.lower() in _SUFFIXES and any(part.lower() in _FOLDERS for part in file.parts[:-1]):
            masks[file.parent].append(file)
    matched: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    belonging = {file for files in masks.values() for file in files}
    pictures = [file for file in tree.pictures if file not in belonging]
    by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
    by_folder: dict[PurePosixPath, list[PurePosixPath]] = defaultdict(list)
    for picture in pictures:
        by_stem[picture.stem.lower()].append(picture)
        by_folder[picture.parent].append(picture)
    for folder, files in masks.items():
        # As of the Data Science Bowl: ID/images/ID.png beside ID/masks/*.png, one for each object.
        alone = by_folder.get(folder.parent / "images", []) + by_folder.get(folder.parent, [])
        for file in files:
            stem = file.stem.lower().removesuffix("_mask").removesuffix("_masks").removesuffix("_label")
            named = max(by_stem.get(stem, []), key=lambda each: _common(each, file), default=None)
            if named is None and len(alone) == 1:
                named = alone[0]
            if named is not None:
                matched[named].append(file)
    return dict(matched)


def _common(first: PurePosixPath, second: PurePosixPath) -> int:
    pairs = zip(first.parts, second.parts, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), 0)


def mask_values(tree: Tree, masks: dict[PurePosixPath, list[PurePosixPath]]) -> str:
    """The meaning of the numbers, as far as it is clear: "objects" (an image each), "binary", or "" for unclear."""
    if any(len(files) > 1 for files in masks.values()):
        return "objects"
    few = list(masks.values())[:: max(1, len(masks) // _PEEK)]
    values = [set(np.unique(_numbers(tree.root / files[0])).tolist()) - {0} for files in few]
    return "binary" if all(len(each) <= 1 for each in values) else ""


def read_masks(tree: Tree, values: str) -> dict[str, list[Listing]]:
    """Objects of all masks.

    Args:
        tree: folder with images and mask files.
        values: "objects": an image for each object; "binary": objects are the connected parts of what is not 0;
            "instances": each number other than 0 is an object; "classes": a number is a class, its connected parts
            are the objects.
    """
    parts: dict[str, Collected] = {}
    for picture, files in masks_of(tree).items():
        to = parts.setdefault(split_of(picture), Collected(tree, picture.parent))
        if (image := to.image(picture.as_posix())) is None:
            continue
        for file in files:
            try:
                numbers = _numbers(tree.root / file)
            except DataError as error:
                to.faults.append(error)
                continue
            if numbers.shape != to.sizes[image]:
                (height, width), (own_height, own_width) = to.sizes[image], numbers.shape
                detail = f"{own_width} x {own_height}, the picture has {width} x {height}"
                to.fault(str(tree.root / file), "is not of the size of its picture", detail)
                continue
            _add(to, image, numbers, values, str(tree.root / file))
    return {split: [each.listing()] for split, each in parts.items()}


def _numbers(path: Path) -> NDArray[Any]:
    """The numbers of a mask (H, W); a color counts as a number."""
    try:
        with Image.open(path) as picture:
            numbers = np.asarray(picture)
    except Exception as error:  # a broken file may raise anything in a decoder
        raise DataError(str(path), "is a mask that cannot be read", str(error)) from error
    if numbers.ndim == 3:
        numbers = numbers[..., :3].astype(np.int64) @ np.array([65536, 256, 1])[: min(3, numbers.shape[2])]
    return numbers.astype(np.int64)


def _add(to: Collected, image: str, numbers: NDArray[Any], values: str, where: str) -> None:
    present = np.unique(numbers[numbers != 0])
    if len(present) > _MOST:
        to.fault(where, f"has more than {_MOST} different numbers", "is it a photograph?")
        return
    if values in ("objects", "binary"):
        pieces: Iterator[tuple[str, NDArray[Any]]] = (
            ("object", piece) for piece in ([numbers != 0] if values == "objects" else components(numbers != 0))
        )
    elif values == "instances":
        pieces = (("object", numbers == value) for value in present)
    else:
        pieces = ((f"class_{value}", piece) for value in present for piece in components(numbers == value))
    for name, piece in pieces:
        if piece.sum() < _SMALLEST:
            to.skip(f"objects of fewer than {_SMALLEST} pixels")
            continue
        rle = coco_mask.encode(np.asfortranarray(piece.astype(np.uint8)))
        box = [float(value) for value in coco_mask.toBbox(rle)]
        rle = {"size": list(map(int, rle["size"])), "counts": rle["counts"].decode()}
        to.object(image, name, box, segmentation=rle, area=int(piece.sum()))


def components(mask: NDArray[np.bool_]) -> Iterator[NDArray[np.bool_]]:
    """The connected parts of a mask (H, W), of eight neighbours, by their runs in each row."""
    parent: list[int] = []

    def root(number: int) -> int:
        while parent[number] != number:
            parent[number] = number = parent[parent[number]]
        return number

    runs: list[tuple[int, int, int]] = []
    above: list[int] = []
    edges = np.diff(np.pad(mask.astype(np.int8), ((0, 0), (1, 1))), axis=1)
    for row, line in enumerate(edges):
        row_runs: list[int] = []
        for start, end in zip(np.flatnonzero(line > 0).tolist(), np.flatnonzero(line < 0).tolist(), strict=True):
            number = len(runs)
            runs.append((row, start, end))
            parent.append(number)
            row_runs.append(number)
            for other in above:
                if runs[other][1] <= end and start <= runs[other][2]:
                    parent[root(other)] = root(number)
        above = row_runs
    groups: dict[int, list[tuple[int, int, int]]] = defaultdict(list)
    for number, run in enumerate(runs):
        groups[root(number)].append(run)
    for group in groups.values():
        piece = np.zeros_like(mask)
        for row, start, end in group:
            piece[row, start:end] = True
        yield piece
