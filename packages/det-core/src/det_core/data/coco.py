"""Datasets in the COCO format: a folder of images and one JSON file."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from det_core.data.coco_index import BadAnnotations, MaskForm, PackedTexts, read_coco
from det_core.data.images import read_image
from det_core.errors import DataError
from det_core.ops.rle import rle_counts, rle_to_mask
from det_core.structures import Polygons, Sample, Size, Targets

__all__ = ["CocoDataset"]


class CocoDataset:
    """Images and the objects in them, as a COCO instances or keypoints file lists them.

    Labels run from 0 in the order of the file's category ids. The file is checked when the dataset is made, an image
    when it is read. A file without the key `annotations` (test images) gives samples without targets.

    Args:
        images: the folder that the file names start from.
        annotations: the JSON file.
        classes: names of the categories to keep, in the order of their labels; None keeps all.
        keep_empty: whether images without any object to learn from belong to the dataset.
        masks: how to give segmentations: "bitmaps", or True, decodes them (bool, (N, H, W)); "polygons" gives outlines,
            which are far smaller and train Mask R-CNN as published. An object given as RLE has no outline; only crowds
            may be so, and to judge masks beside crowds needs bitmaps.
        keypoints: whether to give keypoints (float32, (N, K, 3)); zeros for objects without.
        rotated: whether to give rotated boxes (float32, (N, 5)). A `bbox` is then cx, cy, width, height and the angle
            in degrees, counter-clockwise; or x, y, width and height, as ever, of a box at no angle.
        bad_annotations: "stop" raises one error that lists the annotations that cannot be used (a missing key, a box
            of negative or zero size, an unknown category ...); "skip" leaves them out and says so in `skipped`.

    Attributes:
        classes: the name of each label.
        category_ids: the file's category id of each label.
        evaluators: ("coco",).
        num_objects: how many objects the images hold together, crowds included.
        keypoint_names: names of the K keypoints; empty unless asked for.
        skipped: a sentence for each annotation left out.

    Raises:
        DataError: the file or one of its entries cannot be used, or, on reading, an image is not there, is damaged or
            is not of the size that the file says.
    """

    evaluators: tuple[str, ...] = ("coco",)

    def __init__(
        self,
        images: Path,
        annotations: Path,
        classes: Sequence[str] | None = None,
        keep_empty: bool = True,
        masks: bool | Literal["bitmaps", "polygons"] = False,
        keypoints: bool = False,
        rotated: bool = False,
        bad_annotations: BadAnnotations = "stop",
    ) -> None:
        self.images, self.annotations = Path(images), Path(annotations)
        self._polygons = masks == "polygons"
        wanted: MaskForm = "polygons" if self._polygons else "bitmaps" if masks else None
        index = read_coco(self.annotations, classes, wanted, keypoints, rotated, bad_annotations)
        if not self.images.is_dir():
            raise DataError(str(self.images), "there is no such folder of images", fix="check the path")
        self.classes, self.category_ids, self.keypoint_names = index.classes, index.category_ids, index.keypoint_names
        self.num_objects, self.skipped = len(index.boxes), index.skipped
        rows = np.arange(len(index.image_ids))
        if not keep_empty:
            single = np.concatenate([[0], np.cumsum(~index.crowd)])
            rows = rows[single[index.first[1:]] > single[index.first[:-1]]]
        self._index, self._rows = index, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """The image and its objects as stored."""
        row = int(self._rows[index])
        image_id, path = self._index.image_ids[row].item(), self.path(index)
        if not path.exists():
            problem = f"{self.annotations} lists this file (image {image_id}), but it is not there"
            raise DataError(str(path), problem, fix="check the folder of images, or take it out of the list")
        image = read_image(path)
        size = (image.shape[1], image.shape[2])
        listed = self.size_of(index)
        if size != listed:
            found = f"{self.annotations} says {listed[1]} x {listed[0]} (image {image_id})"
            fix = "the objects may belong to another version of the image: correct one of the two"
            raise DataError(str(path), f"the image has {size[1]} x {size[0]} upright pixels", found, fix)
        targets = self._targets(row, size) if self._index.annotated else None
        return Sample(image=image, targets=targets, id=image_id, path=path)

    def path(self, index: int) -> Path:
        """The file of an image, whether or not it is there."""
        return self.images / self._index.file_names[int(self._rows[index])]

    def size_of(self, index: int) -> Size:
        """(height, width) as the file says."""
        height, width = self._index.sizes[int(self._rows[index])].tolist()
        return height, width

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object, crowds included."""
        row = int(self._rows[index])
        labels: list[int] = self._index.labels[self._index.first[row] : self._index.first[row + 1]].tolist()
        return labels

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """The keypoints that change places in a mirror, told by their names: left_x and right_x."""
        places = {name: place for place, name in enumerate(self.keypoint_names)}
        pairs = ((place, places.get(name.replace("left", "right", 1))) for name, place in places.items())
        return tuple((left, right) for left, right in pairs if right is not None and right != left)

    def _targets(self, row: int, size: Size) -> Targets:
        own = slice(int(self._index.first[row]), int(self._index.first[row + 1]))

        # Copies, so that what a user does to a sample stays in that sample.
        def of_this_image(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values[own].copy())

        return Targets(
            boxes=of_this_image(self._index.boxes),
            labels=of_this_image(self._index.labels),
            crowd=of_this_image(self._index.crowd),
            areas=of_this_image(self._index.areas),
            keypoints=None if self._index.keypoints is None else of_this_image(self._index.keypoints),
            masks=None if self._index.segmentations is None else self._masks(self._index.segmentations, own, size),
        )

    def _masks(self, segmentations: PackedTexts, own: slice, size: Size) -> Tensor | Polygons:
        if self._polygons:
            found = [json.loads(segmentations[number]) for number in range(own.start, own.stop)]
            return Polygons.of([[] if isinstance(each, dict) else each for each in found])
        masks = torch.zeros((own.stop - own.start, *size), dtype=torch.bool)
        for mask, number in zip(masks, range(own.start, own.stop), strict=True):
            mask.copy_(_decode(json.loads(segmentations[number]), size))
        return masks


def _decode(segmentation: Any, size: Size) -> Tensor:
    """Polygons or RLE, checked before, as bool (H, W)."""
    if isinstance(segmentation, dict):
        return rle_to_mask(rle_counts(segmentation, size), size)
    merged = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    return rle_to_mask(rle_counts(merged, size), size)
