"""What is known about the published data sets, as `detectron2.data.datasets.builtin_meta`."""

from typing import Any

from det_core.visual import class_color
from det_core.zoo.class_names import COCO_CATEGORY_IDS, COCO_CLASSES

__all__ = ["COCO_CATEGORIES", "COCO_PERSON_KEYPOINT_NAMES"]

COCO_CATEGORIES: list[dict[str, Any]] = [
    {"id": number, "name": name, "isthing": 1, "color": list(class_color(label))}
    for label, (number, name) in enumerate(zip(COCO_CATEGORY_IDS, COCO_CLASSES, strict=True))
]
"""The 80 classes of objects, with det's colors."""

COCO_PERSON_KEYPOINT_NAMES = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)
