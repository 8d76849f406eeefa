"""Results of `det data check`: counts, and every defect."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from det_core.structures import Size

__all__ = ["KINDS", "Defect", "Example", "Report", "SplitReport"]

KINDS: Mapping[str, str] = {
    "unreadable file": "an annotation file, or a folder, that cannot be read",
    "bad entry": "an entry without what it needs, or with what cannot be",
    "id used twice": "two entries with one id",
    "name used twice": "two classes with one name",
    "path leaves the folder": "the name of a file that leads out of the folder of images",
    "file listed twice": "one file under two entries",
    "missing image": "a file that is listed, but not there",
    "unreadable image": "a file that is damaged, cut short or no image",
    "size differs": "a file whose size differs from its entry",
    "same image": "two files of one split with the same pixels",
    "split overlap": "two files of different splits with the same pixels",
    "similar images": "two files of different splits that are nearly equal, such as copies in another size or format",
    "unknown image": "an object of an image that is not listed",
    "unknown category": "an object of a class that is not listed",
    "bad box": "a box that is not four finite numbers",
    "negative box": "a box of negative width or height",
    "empty box": "a box of no width or height",
    "box outside": "a box that reaches out of its image by more than a pixel",
    "duplicate box": "two objects of one class in the same place",
    "broken polygon": "a polygon that cannot be drawn",
    "broken RLE": "a mask in run lengths that cannot be read",
    "broken keypoints": "keypoints that cannot be read",
}
"""Every kind of defect, and what it means."""


@dataclass(frozen=True)
class Defect:
    """One thing that is wrong.

    Attributes:
        kind: kind of the defect, one of `KINDS`.
        split: name of the split with the defect.
        file: the annotation file or the image at fault.
        id: id of the image or the object, "" if unknown.
        text: description of the defect, a sentence.
        image: image file that shows the defect, if any.
        box: x0, y0, x1, y1 in it, if the defect has a place.
    """

    kind: str
    split: str
    file: str
    id: str
    text: str
    image: Path | None = None
    box: tuple[float, float, float, float] | None = None


@dataclass(frozen=True)
class Example:
    """An image to show, with its boxes, x0, y0, x1, y1, and the label of each."""

    image: Path
    boxes: list[tuple[float, float, float, float]]
    labels: list[int]


@dataclass
class SplitReport:
    """Counts of one split.

    Attributes:
        classes: the name of each label.
        sizes: (height, width) of each image that could be read, or as listed.
        objects: number of objects of each label.
        images_with: number of images with each label.
        crowds: number of objects that are crowds.
        masks: number of objects with a mask.
        keypoints: number of objects with keypoints.
        empty: number of images without objects.
        areas: areas of the boxes in square pixels.
        examples: sample of images with boxes to draw.
        read: whether the pixels of the images were read.
        left_out: number of entries that the reader skips, by reason.
    """

    classes: Sequence[str] = ()
    sizes: list[Size] = field(default_factory=list)
    objects: "Counter[int]" = field(default_factory=Counter)
    images_with: "Counter[int]" = field(default_factory=Counter)
    crowds: int = 0
    masks: int = 0
    keypoints: int = 0
    empty: int = 0
    areas: list[float] = field(default_factory=list)
    examples: list[Example] = field(default_factory=list)
    read: bool = True
    left_out: Mapping[str, int] = field(default_factory=dict)

    def summary(self) -> dict[str, Any]:
        """The figures as plain data. Small, medium and large are those of COCO: below 32 and 96 pixels squared."""
        areas = np.array(self.areas, np.float64)  # of whole numbers beyond 64 bits NumPy would make objects
        heights, widths = (np.array([size[side] for size in self.sizes], np.float64) for side in (0, 1))
        return {
            "images": len(self.sizes),
            "images without objects": self.empty,
            "objects": sum(self.objects.values()),
            "crowds": self.crowds,
            "with masks": self.masks,
            "with keypoints": self.keypoints,
            "classes": {
                name: {"objects": self.objects[label], "images": self.images_with[label]}
                for label, name in enumerate(self.classes)
            },
            "image width": _range(widths),
            "image height": _range(heights),
            "object side": _range(np.sqrt(areas)),
            "object sizes": {
                "small": int((areas < 32**2).sum()),
                "medium": int(((areas >= 32**2) & (areas < 96**2)).sum()),
                "large": int((areas >= 96**2).sum()),
            },
            "left out": dict(self.left_out),
        }


def _range(values: Any) -> dict[str, float] | None:
    if not len(values):
        return None
    return {
        name: round(float(value), 1)
        for name, value in {"min": values.min(), "median": np.median(values), "max": values.max()}.items()
    }


@dataclass(frozen=True)
class Report:
    """Results of a check: each split, and all defects in the order of the splits."""

    splits: Mapping[str, SplitReport]
    defects: Sequence[Defect]

    def counts(self) -> dict[str, int]:
        """How many defects there are of each kind that occurs, in the order of `KINDS`."""
        counted = Counter(defect.kind for defect in self.defects)
        return {kind: counted[kind] for kind in KINDS if counted[kind]}

    def to_json(self) -> dict[str, Any]:
        """Everything as plain data."""
        return {
            "splits": {name: split.summary() for name, split in self.splits.items()},
            "counts": self.counts(),
            "defects": [
                {
                    **{name: getattr(defect, name) for name in ("kind", "split", "file", "id", "text")},
                    "image": None if defect.image is None else str(defect.image),
                    "box": None if defect.box is None else list(defect.box),
                }
                for defect in self.defects
            ],
        }
