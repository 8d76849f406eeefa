"""What a published model starts from, as the `weights` section of a recipe."""

import re
from typing import Any

from det_detectron2.importer.settings import Settings

__all__ = ["weights_section"]

# Classification networks, by their folder or by the name of the file.
_CLASSIFIER = re.compile(r"ImageNetPretrained/|(?:^|/)(?:[RX]-\d+|resne[xt]+\d+|RegNet[XY])[^/]*$", re.IGNORECASE)
# Published detectors, by the folder that their file lies in: how many classes they know.
_CLASSES = {
    "COCO-Detection": 80,
    "COCO-InstanceSegmentation": 80,
    "COCO-Keypoints": 1,
    "COCO-PanopticSegmentation": 80,
    "LVISv0.5-InstanceSegmentation": 1230,
    "LVISv1-InstanceSegmentation": 1203,
    "Cityscapes": 8,
    "PascalVOC-Detection": 20,
    "new_baselines": 80,
}
_PUBLISHED = re.compile(rf"/(?P<folder>{'|'.join(map(re.escape, _CLASSES))})/[^/]+/\d+/")
_DEPENDS_ON_CLASSES = {
    "dense_detector": ["head.cls_score"],
    "mask_rcnn": ["roi_heads.box_predictor", "roi_heads.mask_head.predictor"],
    "faster_rcnn": ["roi_heads.box_predictor"],
    "keypoint_rcnn": ["roi_heads.box_predictor"],
}


def weights_section(s: Settings, model: dict[str, Any]) -> dict[str, Any] | None:
    """Where the weights are and what they are for; None where everything starts at random.

    A classification network is for the backbone, and for the stage of it that regions pass through. Of a published
    detector of other classes, what depends on the classes starts anew; Detectron2 finds that by comparing shapes.
    """
    source = s["MODEL.WEIGHTS"]
    if not source:
        return None
    node: dict[str, Any] = {"source": source}
    if _CLASSIFIER.search(source):
        network = model["backbone"].get("bottom_up", model["backbone"])
        node["into"] = "backbone" if network is model["backbone"] else "backbone.bottom_up"
        if model.get("roi_heads", {}).get("type") == "res5_roi_heads":
            node["also"] = ["roi_heads.res5"]
        if "deformable_stages" in network:  # no classification network has offsets
            node["skip"] = ["*.conv2_offset"]
    elif published := _PUBLISHED.search(source):
        skip = _DEPENDS_ON_CLASSES.get(model["type"], [])
        if skip and _CLASSES[published["folder"]] != model["num_classes"]:
            node["skip"] = list(skip)
    return node
