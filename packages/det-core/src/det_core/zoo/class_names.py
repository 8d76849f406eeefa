"""The classes of well-known datasets, by label, for models that do not say which classes they tell apart."""

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

COCO_CLASSES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow"),
    *("elephant", "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee"),
    *("skis", "snowboard", "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard"),
    *("tennis racket", "bottle", "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple"),
    *("sandwich", "orange", "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch"),
    *("potted plant", "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone"),
    *("microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors", "teddy bear"),
    *("hair drier", "toothbrush"),
)
"""The 80 classes of objects in COCO."""

# The annotations count to 90; these numbers are of classes that were given up.
_UNUSED = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_CATEGORY_IDS = tuple(number for number in range(1, 91) if number not in _UNUSED)
"""The number of each of them in COCO's annotations."""

COCO_STUFF_CLASSES = (
    *("banner", "blanket", "bridge", "cardboard", "counter", "curtain", "door-stuff", "floor-wood", "flower", "fruit"),
    *("gravel", "house", "light", "mirror-stuff", "net", "pillow", "platform", "playingfield", "railroad", "river"),
    *("road", "roof", "sand", "sea", "shelf", "snow", "stairs", "tent", "towel", "wall-brick", "wall-stone"),
    *("wall-tile", "wall-wood", "water-other", "window-blind", "window-other", "tree-merged", "fence-merged"),
    *("ceiling-merged", "sky-other-merged", "cabinet-merged", "table-merged", "floor-other-merged"),
    *("pavement-merged", "mountain-merged", "grass-merged", "dirt-merged", "paper-merged", "food-other-merged"),
    *("building-other-merged", "rock-merged", "wall-other-merged", "rug-merged"),
)
"""The 53 classes of stuff in COCO's panoptic annotations, where they follow those of objects."""

_STUFF_IDS = (
    *(92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148, 149, 151, 154),
    *(155, 156, 159, 161, 166, 168, 171, 175, 176, 177, 178, 180, 181, *range(184, 201)),
)
_COCO_PANOPTIC = ((*COCO_CLASSES, *COCO_STUFF_CLASSES), (*COCO_CATEGORY_IDS, *_STUFF_IDS))

VOC_CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
"""The 20 classes of PASCAL VOC."""

CITYSCAPES_SEMANTIC_CLASSES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
"""The classes of its pixels that Cityscapes judges, by their train ids; the last eight are its objects."""

CITYSCAPES_CLASSES = ("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
"""The eight classes of Cityscapes whose objects are told one by one."""

_KNOWN = {
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
        count: how many classes there are.
    """
    names = _KNOWN.get(data, ((), ()))[0]
    return names if len(names) == count else tuple(f"class {label}" for label in range(count))


def category_ids(data: str, count: int) -> tuple[int, ...]:
    """The annotations' own number of each label; () where it is not known, or they are not `count`."""
    if data.startswith("lvis_"):  # which counts its classes from 1, without a gap
        return tuple(range(1, count + 1))
    numbers = _KNOWN.get(data, ((), ()))[1]
    return numbers if len(numbers) == count else ()


def short_name(name: str, most: int = 48) -> str:
    """A name as pictures, pages and tables show it: in one line, of `most` signs, the last of which stands for more."""
    line = " ".join(name[: 8 * most].split())
    return line if len(line) <= most and len(name) <= 8 * most else f"{line[: most - 1]}…"
