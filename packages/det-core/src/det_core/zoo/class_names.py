"""The classes of well-known datasets, by label, for models without class names."""

import json
from pathlib import Path

__all__ = [
    "CITYSCAPES_CLASSES",
    "CITYSCAPES_SEMANTIC_CLASSES",
    "COCO_CATEGORY_IDS",
    "COCO_CLASSES",
    "COCO_STUFF_CLASSES",
    "VOC_CLASSES",
    "category_ids",
    "class_names",
    "short_name",
]

_NAMES = json.loads(Path(__file__).with_name("classes.json").read_text("utf-8"))

COCO_CLASSES: tuple[str, ...] = tuple(_NAMES["coco"])
"""The 80 classes of objects in COCO."""

# The annotations count to 90; these numbers are of classes that were given up.
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""The number of each of them in COCO's annotations."""

COCO_STUFF_CLASSES: tuple[str, ...] = tuple(_NAMES["coco_stuff"])
"""The 53 classes of stuff in COCO's panoptic annotations, where they follow those of objects."""

_COCO_PANOPTIC = ((*COCO_CLASSES, *COCO_STUFF_CLASSES), (*COCO_CATEGORY_IDS, *_NAMES["coco_stuff_ids"]))

VOC_CLASSES: tuple[str, ...] = tuple(_NAMES["voc"])
"""The 20 classes of PASCAL VOC."""

CITYSCAPES_SEMANTIC_CLASSES: tuple[str, ...] = tuple(_NAMES["cityscapes_semantic"])
"""The evaluated pixel classes of Cityscapes, by train id; the last eight are its objects."""

CITYSCAPES_CLASSES: tuple[str, ...] = tuple(_NAMES["cityscapes"])
"""The eight classes of Cityscapes with instances."""

_CLASSES_OF_DATA = {
    "coco_2017_val": (COCO_CLASSES, COCO_CATEGORY_IDS),
    "coco_2017_val_panoptic": _COCO_PANOPTIC,
    "coco_2017_val_panoptic_separated": _COCO_PANOPTIC,
    "keypoints_coco_2017_val": (COCO_CLASSES[:1], COCO_CATEGORY_IDS[:1]),
    "voc_2007_test": (VOC_CLASSES, ()),
    "cityscapes_fine_instance_seg_val": (CITYSCAPES_CLASSES, ()),
    "cityscapes_fine_panoptic_val": (CITYSCAPES_SEMANTIC_CLASSES, ()),
    "cityscapes_fine_sem_seg_val": (CITYSCAPES_SEMANTIC_CLASSES, ()),
}


def class_names(data: str, count: int) -> tuple[str, ...]:
    """The name of each label: "class 0" and so on where they are not known, or are not `count`.

    Args:
        data: the name of a dataset as published, such as "coco_2017_val".
        count: number of classes, without background.
    """
    names = _CLASSES_OF_DATA.get(data, ((), ()))[0]
    return names if len(names) == count else tuple(f"class {label}" for label in range(count))


def category_ids(data: str, count: int) -> tuple[int, ...]:
    """The annotations' own number of each label; () where it is not known, or they are not `count`."""
    if data.startswith("lvis_"):  # which counts its classes from 1, without a gap
        return tuple(range(1, count + 1))
    numbers = _CLASSES_OF_DATA.get(data, ((), ()))[1]
    return numbers if len(numbers) == count else ()


def short_name(name: str, most: int = 48) -> str:
    """A name in one line of at most `most` characters, the last of which is an ellipsis if it is longer."""
    line = " ".join(name[: 8 * most].split())
    return line if len(line) <= most and len(name) <= 8 * most else f"{line[: most - 1]}…"
