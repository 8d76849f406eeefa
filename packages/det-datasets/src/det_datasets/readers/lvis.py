"""Datasets in the LVIS format, version 0.5 or 1 (Gupta et al., 2019): COCO's, with partially annotated classes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from det_core.data.formats.coco import mask_form
from det_core.data.formats.coco_index import BadAnnotations, read_content
from det_core.data.formats.indexed import IndexedImages
from det_core.data.formats.listing import Listing
from det_core.errors import DataError
from det_core.printable import quoted
from det_core.structures import Sample
from numpy.typing import NDArray

from det_datasets.readers.packed import PackedNumbers

__all__ = ["LvisDataset"]

_FREQUENCIES = ("r", "c", "f")


class LvisDataset(IndexedImages):
    """Images and their objects from an LVIS file.

    Not every class is annotated in every image. Two image extras hold labels, int64 (K,): "lvis/negative", of verified
    absent classes, and "lvis/not_exhaustive", of classes that may have more objects than are annotated. A third,
    "lvis/frequency", uint8 (C,), is the same for all images: 0 rare, 1 common, 2 frequent, the groups of the evaluator.

    Args:
        images: folder of `train2017`, `val2017` and so on; the file of an image is given by the last two parts of its
            `coco_url`, or, without one, by its `file_name`.
        annotations: path of the JSON file in LVIS format.
        classes: names of the categories to keep, in label order; None for all.
        keep_empty: whether images without training objects are kept.
        masks: form of segmentations: "bitmaps" or True, "polygons", or False for none.
        bad_annotations: "stop" raises an error for invalid annotations; "skip" leaves them out.

    Attributes:
        frequencies: "r", "c" or "f" of each label: at most 10, at most 100, or more training images.
        image_counts: int64 (C,): number of training images of each label, from the file.

    Raises:
        DataError: as `CocoDataset` does.
    """

    evaluators: tuple[str, ...] = ("lvis",)

    def __init__(
        self,
        images: Path,
        annotations: Path,
        classes: Sequence[str] | None = None,
        keep_empty: bool = True,
        masks: bool | Literal["bitmaps", "polygons"] = False,
        bad_annotations: BadAnnotations = "stop",
    ) -> None:
        listing = self.listing(images, annotations)
        content, annotations = listing.content, listing.annotations
        index = listing.checked(classes, mask_form(masks), bad_annotations=bad_annotations)
        super().__init__(index, listing.images, annotations, keep_empty, polygons=masks == "polygons")
        categories = {category["id"]: category for category in content["categories"]}
        selected = [categories[category_id] for category_id in self.category_ids]
        self.frequencies = tuple(_frequency(category, annotations) for category in selected)
        self.image_counts = np.array([_image_count(category, annotations) for category in selected], np.int64)
        labels = {category_id: label for label, category_id in enumerate(self.category_ids)}
        self._negative, self._not_exhaustive = (
            PackedNumbers([_labels(image, key, labels, annotations) for image in content["images"]])
            for key in ("neg_category_ids", "not_exhaustive_category_ids")
        )

    @classmethod
    def listing(cls, images: Path, annotations: Path) -> Listing:
        """The content of the file, not validated."""
        content = read_content(Path(annotations))
        content["images"] = [_placed(image) for image in content["images"]]
        return Listing(content, Path(images), Path(annotations))

    def __getitem__(self, index: int) -> Sample:
        """The image and its objects as stored."""
        sample = super().__getitem__(index)
        if sample.targets is None:
            return sample
        row = int(self._rows[index])
        frequency = np.array([_FREQUENCIES.index(each) for each in self.frequencies], np.uint8)
        arrays: dict[str, NDArray[Any]] = {"lvis/negative": self._negative[row], "lvis/frequency": frequency}
        arrays["lvis/not_exhaustive"] = self._not_exhaustive[row]
        extras = {key: torch.from_numpy(labels) for key, labels in arrays.items()}
        return replace(sample, targets=replace(sample.targets, image_extras=extras))


def _placed(image: Any) -> Any:
    """The entry of an image with a `file_name` relative to the folder of all images."""
    url = image.get("coco_url") if isinstance(image, dict) else None
    return image | {"file_name": "/".join(url.split("/")[-2:])} if isinstance(url, str) else image


def _labels(image: Mapping[str, Any], key: str, labels: Mapping[int, int], path: Path) -> list[int]:
    """Labels of the categories that an image lists under `key`; categories that are not selected are skipped."""
    listed = image.get(key, [])
    if not isinstance(listed, list) or not all(type(each) is int for each in listed):
        found = f"image {quoted(image['id'], 60)} has {quoted(listed, 80)}"
        raise DataError(str(path), f"'{key}' must be a list of category ids", found)
    return [labels[each] for each in listed if each in labels]


def _frequency(category: Mapping[str, Any], path: Path) -> str:
    frequency = category.get("frequency")
    if frequency not in _FREQUENCIES:
        found = f"category {category['id']} has {quoted(frequency, 60)}"
        raise DataError(str(path), "'frequency' must be 'r', 'c' or 'f'", found, "give an LVIS file")
    return str(frequency)


def _image_count(category: Mapping[str, Any], path: Path) -> int:
    count = category.get("image_count", 0)
    if type(count) is not int or not 0 <= count < 2**62:
        raise DataError(
            str(path), "'image_count' must be a number", f"category {category['id']} has {quoted(count, 60)}"
        )
    return count
