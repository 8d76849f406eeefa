"""Datasets in the COCO format: a folder of images and one JSON file."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from det_core.data.formats.coco_index import BadAnnotations, MaskForm, read_content
from det_core.data.formats.indexed import IndexedImages
from det_core.data.formats.listing import Listing
from det_core.errors import ConfigError

__all__ = ["CocoDataset", "mask_form"]


class CocoDataset(IndexedImages):
    """Images and the objects in them, as a COCO instances or keypoints file lists them.

    Labels run from 0 in the order of the file's category ids. The file is checked when the dataset is made, an image
    when it is read. A file without the key `annotations` (test images) gives samples without targets.

    Args:
        images: the folder that the file names start from.
        annotations: path of the JSON file in COCO format.
        classes: names of the categories to keep, in the order of their labels; None keeps all.
        keep_empty: whether images without any object to learn from belong to the dataset.
        masks: form of segmentations: "bitmaps", or True, decodes them (bool, (N, H, W)); "polygons" gives polygons,
            which are far smaller and train Mask R-CNN as published. An object given as RLE has no polygon; only crowds
            may be so, and the evaluation of masks beside crowds needs bitmaps.
        keypoints: whether to give keypoints (float32, (N, K, 3)); zeros for objects without.
        rotated: whether to give rotated boxes (float32, (N, 5)). A `bbox` is then cx, cy, width, height and the angle
            in degrees, counter-clockwise; or x, y, width and height, as ever, of a box at no angle.
        bad_annotations: "stop" raises one error that lists the annotations that cannot be used (a missing key, a box
            of negative or zero size, an unknown category ...); "skip" leaves them out and lists them in `skipped`.
        min_keypoints: leaves out images with fewer labelled keypoints, all objects together; published models train
            with 1.
        decode_at_least: decode JPEGs at a half, a quarter or an eighth of their size, the smallest whose shorter side
            is at least so many pixels; the sample is then of that size, and its objects with it. For training, if
            images are made smaller anyway: four times the shorter side that the transforms leave loses nothing, twice
            as much next to nothing (measured: docs/data.md). None decodes all pixels.

    Attributes:
        classes: the name of each label.
        category_ids: the file's category id of each label.
        evaluators: names of the evaluators for this dataset: ("coco",).
        num_objects: number of objects in all images, crowds included.
        keypoint_names: names of the K keypoints; empty unless asked for.
        skipped: a sentence for each annotation left out.

    Raises:
        DataError: the file or one of its entries cannot be used, or, on reading, an image is not there, is damaged or
            is not of the size in the file.
    """

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
        min_keypoints: int = 0,
        decode_at_least: int | None = None,
    ) -> None:
        if min_keypoints and not keypoints:
            raise ConfigError("min_keypoints", "counts keypoints that are not read", fix="set keypoints to true")
        listing = self.listing(images, annotations)
        index = listing.checked(classes, mask_form(masks), keypoints, rotated, bad_annotations)
        polygons = masks == "polygons"
        super().__init__(
            index, listing.images, listing.annotations, keep_empty, min_keypoints, polygons, decode_at_least
        )

    @classmethod
    def listing(cls, images: Path, annotations: Path) -> Listing:
        """The content of the file, unchecked."""
        return Listing(read_content(Path(annotations)), Path(images), Path(annotations))


def mask_form(masks: bool | Literal["bitmaps", "polygons"]) -> MaskForm:
    """The form of masks that the argument `masks` of a dataset asks for."""
    return "polygons" if masks == "polygons" else "bitmaps" if masks else None
