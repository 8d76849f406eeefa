"""Common parts of datasets with their objects in a `CocoIndex`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional

from det_core.data.formats.coco_index import CocoIndex
from det_core.data.formats.packed import PackedTexts
from det_core.data.images import file_of, read_image, read_reduced
from det_core.data.transforms.geometric import compose
from det_core.errors import ConfigError, DataError
from det_core.ops.rle import rle_counts, rle_to_mask
from det_core.structures import Polygons, Sample, Size, Targets

__all__ = ["IndexedImages"]


class IndexedImages:
    """Images in a folder and the objects of an index; the index was checked before, an image is when it is read.

    Args:
        index: checked images and objects of the dataset.
        images: the folder that the file names start from.
        annotations: the file or folder that the index was read from, for messages.
        keep_empty: whether images without any object to learn from belong to the dataset.
        min_keypoints: images with fewer labelled keypoints do not.
        polygons: whether masks are `Polygons` instead of bitmaps.
        decode_at_least: minimum shorter side in pixels of JPEGs decoded smaller; None decodes all pixels.

    Attributes:
        classes: the name of each label.
        category_ids: the annotations' own number of each label.
        num_objects: number of objects in all images, crowds included.
        num_learnable: number of objects without crowds, which training uses.
        keypoint_names: names of the K keypoints; empty unless asked for.
        skipped: a sentence for each annotation left out because it cannot be used.
        left_out: counts of left-out parts, images too, as `det_core.data.skipped_entries` describes them.
    """

    evaluators: tuple[str, ...] = ("coco",)

    def __init__(
        self,
        index: CocoIndex,
        images: Path,
        annotations: Path,
        keep_empty: bool = True,
        min_keypoints: int = 0,
        polygons: bool = False,
        decode_at_least: int | None = None,
    ) -> None:
        if decode_at_least is not None and decode_at_least < 1:
            raise ConfigError("decode_at_least", "must be a positive number of pixels", f"got {decode_at_least}")
        if not images.is_dir():
            raise DataError(str(images), "there is no such folder of images", fix="check the path")
        self.images, self.annotations = images, annotations
        self.classes, self.category_ids, self.keypoint_names = index.classes, index.category_ids, index.keypoint_names
        self.num_objects, self.skipped = len(index.boxes), index.skipped
        keep, left_out = np.full(len(index.image_ids), True), dict(index.left_out)
        if not keep_empty:
            keep &= _per_image(~index.crowd, index) > 0
            left_out["images without an object to learn from"] = int((~keep).sum())
        if min_keypoints and index.keypoints is not None:
            enough = _per_image((index.keypoints[..., 2] > 0).sum(1), index) >= min_keypoints
            left_out["images with too few keypoints"] = int((keep & ~enough).sum())
            keep &= enough
        self.left_out = {what: count for what, count in left_out.items() if count}
        self.num_learnable = int(_per_image(~index.crowd, index)[keep].sum())
        self._index, self._rows, self._polygons = index, np.flatnonzero(keep), polygons
        self._decode_at_least = decode_at_least

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Sample:
        """The image and its objects as stored."""
        row = int(self._rows[index])
        image_id, path = self._index.image_ids[row].item(), self.path(index)
        if not path.exists():
            problem = f"{self.annotations} lists this file (image {image_id}), but it is not there"
            raise DataError(str(path), problem, fix="check the folder of images, or take it out of the list")
        if self._decode_at_least is None:
            image = read_image(path)
            size = (image.shape[1], image.shape[2])
        else:
            image, size = read_reduced(path, self._decode_at_least)
        listed = self.size_of(index)
        if size != listed:
            found = f"{self.annotations} lists {listed[1]} x {listed[0]} (image {image_id})"
            fix = "the objects may belong to another version of the image: correct one of the two"
            raise DataError(str(path), f"the image has {size[1]} x {size[0]} upright pixels", found, fix)
        targets = self._targets(row, size) if self._index.annotated else None
        if size == (image.shape[1], image.shape[2]):
            return Sample(image=image, targets=targets, id=image_id, path=path)
        # The objects follow as in any resize; a single pixel, expanded, stands in for the pixels that were not decoded.
        stored = torch.zeros((), dtype=torch.uint8).expand(3, *size)
        return compose([_Reduced(image)])(Sample(image=stored, targets=targets, id=image_id, path=path))

    def path(self, index: int) -> Path:
        """The file of an image, whether or not it is there."""
        return file_of(self.images, self._index.file_names[int(self._rows[index])])

    def id_of(self, index: int) -> int | str:
        """The id of an image, as its sample has it."""
        image_id: int | str = self._index.image_ids[int(self._rows[index])].item()
        return image_id

    def size_of(self, index: int) -> Size:
        """(height, width) of the annotations."""
        height, width = self._index.sizes[int(self._rows[index])].tolist()
        return height, width

    def labels_of(self, index: int) -> Sequence[int]:
        """The label of each object, crowds included."""
        labels: list[int] = self._index.labels[self._object_rows(int(self._rows[index]))].tolist()
        return labels

    @property
    def flip_pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of keypoints that swap in a mirror image, by their names: left_x and right_x."""
        places = {name: place for place, name in enumerate(self.keypoint_names)}
        pairs = ((place, places.get(name.replace("left", "right", 1))) for name, place in places.items())
        return tuple((left, right) for left, right in pairs if right is not None and right != left)

    def _object_rows(self, row: int) -> slice:
        return slice(int(self._index.first[row]), int(self._index.first[row + 1]))

    def _targets(self, row: int, size: Size) -> Targets:
        rows = self._object_rows(row)

        # Copies, so that changes of a sample do not reach the index.
        def of_this_image(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values[rows].copy())

        return Targets(
            boxes=of_this_image(self._index.boxes),
            labels=of_this_image(self._index.labels),
            crowd=of_this_image(self._index.crowd),
            areas=of_this_image(self._index.areas),
            keypoints=None if self._index.keypoints is None else of_this_image(self._index.keypoints),
            masks=None if self._index.segmentations is None else self._masks(self._index.segmentations, rows, size),
            extras={key: of_this_image(values) for key, values in self._index.marks.items()},
        )

    def _masks(self, segmentations: PackedTexts, rows: slice, size: Size) -> Tensor | Polygons:
        if self._polygons:
            rings = [json.loads(segmentations[number]) for number in range(rows.start, rows.stop)]
            return Polygons.of([[] if isinstance(each, dict) else each for each in rings])
        masks = torch.zeros((rows.stop - rows.start, *size), dtype=torch.bool)
        for mask, number in zip(masks, range(rows.start, rows.stop), strict=True):
            mask.copy_(_decode(json.loads(segmentations[number]), size))
        return masks


class _Reduced(v2.Transform):
    """Resizes everything to the size of an image that stands in for the one that is given."""

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = tv_tensors.Image(image)

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        if isinstance(inpt, tv_tensors.Image):
            return self.image
        return functional.resize(inpt, list(self.image.shape[1:]))


def _per_image(numbers: np.ndarray, index: CocoIndex) -> np.ndarray:
    """The sum of a number of each object over the objects of each image."""
    sums = np.concatenate([[0], np.cumsum(numbers)])
    return np.asarray(sums[index.first[1:]] - sums[index.first[:-1]])


def _decode(segmentation: Any, size: Size) -> Tensor:
    """Polygons or RLE, checked before, as bool (H, W)."""
    if isinstance(segmentation, dict):
        return rle_to_mask(rle_counts(segmentation, size), size)
    merged = coco_mask.merge(coco_mask.frPyObjects(segmentation, *size))
    return rle_to_mask(rle_counts(merged, size), size)
