"""The published data sets by name, as `detectron2.data.datasets.builtin`; their files lie in $DETECTRON2_DATASETS."""

import os
from pathlib import Path

from det_core.visual import class_color
from det_core.zoo.class_names import (
    CITYSCAPES_CLASSES,
    CITYSCAPES_SEMANTIC_CLASSES,
    COCO_CATEGORY_IDS,
    COCO_CLASSES,
    COCO_STUFF_CLASSES,
    VOC_CLASSES,
)

from det_detectron2.layer.data.catalog import MetadataCatalog
from det_detectron2.layer.data.datasets.coco import register_coco_instances
from det_detectron2.layer.data.datasets.lvis import register_lvis_instances
from det_detectron2.layer.data.datasets.pascal_voc import register_pascal_voc

__all__ = ["register_all"]

_COCO = {
    "thing_classes": list(COCO_CLASSES),
    "thing_colors": [class_color(label) for label in range(len(COCO_CLASSES))],
    "thing_dataset_id_to_contiguous_id": {number: label for label, number in enumerate(COCO_CATEGORY_IDS)},
}
_KEYPOINTS = (
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow"),
    *("right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle"),
    "right_ankle",
)


def register_all() -> None:
    """Register COCO's sets, and what is known about those of COCO, PASCAL VOC and Cityscapes."""
    root = Path(os.environ.get("DETECTRON2_DATASETS", "datasets")).expanduser()
    for split in ("train", "val"):
        for name, kind, about in (
            (f"coco_2017_{split}", "instances", _COCO),
            (f"keypoints_coco_2017_{split}", "person_keypoints", _person()),
        ):
            file = root / f"coco/annotations/{kind}_{split}2017.json"
            register_coco_instances(name, about, str(file), str(root / f"coco/{split}2017"))
        for name in (f"coco_2017_{split}_panoptic", f"coco_2017_{split}_panoptic_separated"):
            stuff = ["things", *COCO_STUFF_CLASSES] if name.endswith("separated") else None
            both = [*COCO_CLASSES, *COCO_STUFF_CLASSES]
            MetadataCatalog.get(name).set(thing_classes=list(COCO_CLASSES), stuff_classes=stuff or both)
        for name in ("instance_seg", "sem_seg", "panoptic"):
            MetadataCatalog.get(f"cityscapes_fine_{name}_{split}").set(
                thing_classes=list(CITYSCAPES_CLASSES), stuff_classes=list(CITYSCAPES_SEMANTIC_CLASSES)
            )
    for year, splits in ((2007, ("trainval", "train", "val", "test")), (2012, ("trainval", "train", "val"))):
        for split in splits:
            register_pascal_voc(f"voc_{year}_{split}", str(root / f"VOC{year}"), split, year, VOC_CLASSES)
    # The first hundred images of COCO's val2017, for quick tests.
    for name, kind, about in (
        ("coco_2017_val_100", "instances", _COCO),
        ("keypoints_coco_2017_val_100", "person_keypoints", _person()),
    ):
        file = root / f"coco/annotations/{kind}_val2017_100.json"
        register_coco_instances(name, about, str(file), str(root / "coco/val2017"))
    for version in ("v0.5", "v1"):
        for split in ("train", "val"):
            file, images = root / f"lvis/lvis_{version}_{split}.json", root / "coco"
            folder = images if version == "v1" else images / f"{split}2017"
            register_lvis_instances(f"lvis_{version}_{split}", {}, str(file), str(folder))


def _person() -> dict[str, object]:
    pairs = [(name, name.replace("left", "right")) for name in _KEYPOINTS if name.startswith("left")]
    numbers = {COCO_CATEGORY_IDS[0]: 0}
    return {
        "thing_classes": ["person"],
        "keypoint_names": list(_KEYPOINTS),
        "keypoint_flip_map": pairs,
        "thing_dataset_id_to_contiguous_id": numbers,
    }
