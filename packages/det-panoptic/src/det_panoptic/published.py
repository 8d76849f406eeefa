"""Settings that Detectron2's projects add to its own, and their datasets as recipe nodes."""

from collections.abc import Sequence
from typing import Any

from det_core.zoo.class_names import COCO_STUFF_CLASSES

__all__ = ["DATASETS", "DEFAULTS", "evaluators"]

_DEEPLAB = {
    "MODEL.SEM_SEG_HEAD.LOSS_TYPE": "hard_pixel_mining",
    "MODEL.SEM_SEG_HEAD.PROJECT_FEATURES": ["res2"],
    "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS": [48],
    "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS": 256,
    "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS": [6, 12, 18],
    "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT": 0.1,
    "MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV": False,
    "MODEL.RESNETS.RES4_DILATION": 1,
    "MODEL.RESNETS.RES5_MULTI_GRID": [1, 2, 4],
    "MODEL.RESNETS.STEM_TYPE": "deeplab",
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": 1.0,
    "SOLVER.POLY_LR_POWER": 0.9,
    "SOLVER.POLY_LR_CONSTANT_ENDING": 0.0,
}
_PANOPTIC_DEEPLAB = {
    "MODEL.SEM_SEG_HEAD.HEAD_CHANNELS": 256,
    "MODEL.SEM_SEG_HEAD.LOSS_TOP_K": 0.2,
    "MODEL.INS_EMBED_HEAD.NAME": "PanopticDeepLabInsEmbedHead",
    "MODEL.INS_EMBED_HEAD.IN_FEATURES": ["res2", "res3", "res5"],
    "MODEL.INS_EMBED_HEAD.PROJECT_FEATURES": ["res2", "res3"],
    "MODEL.INS_EMBED_HEAD.PROJECT_CHANNELS": [32, 64],
    "MODEL.INS_EMBED_HEAD.ASPP_CHANNELS": 256,
    "MODEL.INS_EMBED_HEAD.ASPP_DILATIONS": [6, 12, 18],
    "MODEL.INS_EMBED_HEAD.ASPP_DROPOUT": 0.1,
    "MODEL.INS_EMBED_HEAD.HEAD_CHANNELS": 32,
    "MODEL.INS_EMBED_HEAD.CONVS_DIM": 128,
    "MODEL.INS_EMBED_HEAD.COMMON_STRIDE": 4,
    "MODEL.INS_EMBED_HEAD.NORM": "SyncBN",
    "MODEL.INS_EMBED_HEAD.CENTER_LOSS_WEIGHT": 200.0,
    "MODEL.INS_EMBED_HEAD.OFFSET_LOSS_WEIGHT": 0.01,
    "MODEL.PANOPTIC_DEEPLAB.STUFF_AREA": 2048,
    "MODEL.PANOPTIC_DEEPLAB.CENTER_THRESHOLD": 0.1,
    "MODEL.PANOPTIC_DEEPLAB.NMS_KERNEL": 7,
    "MODEL.PANOPTIC_DEEPLAB.TOP_K_INSTANCE": 200,
    "MODEL.PANOPTIC_DEEPLAB.PREDICT_INSTANCES": True,
    "MODEL.PANOPTIC_DEEPLAB.USE_DEPTHWISE_SEPARABLE_CONV": False,
    "MODEL.PANOPTIC_DEEPLAB.SIZE_DIVISIBILITY": -1,
    "MODEL.PANOPTIC_DEEPLAB.BENCHMARK_NETWORK_SPEED": False,
    "INPUT.GAUSSIAN_SIGMA": 10,
    "INPUT.IGNORE_STUFF_IN_OFFSET": True,
    "INPUT.SMALL_INSTANCE_AREA": 4096,
    "INPUT.SMALL_INSTANCE_WEIGHT": 3,
    "INPUT.IGNORE_CROWD_IN_SEMANTIC": False,
    "SOLVER.OPTIMIZER": "ADAM",
}
DEFAULTS: dict[str, Any] = {**_DEEPLAB, **_PANOPTIC_DEEPLAB}
"""The settings of the projects DeepLab and Panoptic-DeepLab."""


def _coco(split: str, objects: bool, **more: Any) -> dict[str, Any]:
    """Segments; and objects from the instance annotations, which cover occluded parts and serve the box evaluation."""
    node: dict[str, Any] = {
        "type": "coco_panoptic",
        "images": f"coco/{split}2017",
        "annotations": f"coco/annotations/panoptic_{split}2017.json",
        "labels": f"coco/panoptic_{split}2017",
        **more,
    }
    if objects:
        places = {"images": f"coco/{split}2017", "annotations": f"coco/annotations/instances_{split}2017.json"}
        node["objects"] = {"type": "coco", **places, "masks": "polygons" if split == "train" else "bitmaps"}
        if split == "train":
            node["objects"]["bad_annotations"] = "skip"
    return node


def _cityscapes(split: str) -> dict[str, Any]:
    images, place = f"cityscapes/leftImg8bit/{split}", f"cityscapes/gtFine/cityscapes_panoptic_{split}"
    node = {"type": "cityscapes_panoptic", "images": images, "annotations": f"{place}.json", "labels": place}
    return node if split == "train" else {**node, "masks": True}


def _ade20k(split: str) -> dict[str, Any]:
    folder = {"train": "training", "val": "validation"}[split]
    places = {"images": f"ADEChallengeData2016/images/{folder}", "labels": f"ADEChallengeData2016/annotations/{folder}"}
    return {"type": "ade20k", **places}


DATASETS: dict[str, dict[str, Any]] = {
    name: node
    for split in ("train", "val")
    for name, node in (
        (f"coco_2017_{split}_panoptic", _coco(split, objects=split == "val")),
        (f"coco_2017_{split}_panoptic_separated", _coco(split, objects=True, semantic="stuff")),
        (f"cityscapes_fine_panoptic_{split}", _cityscapes(split)),
        (f"ade20k_sem_seg_{split}", _ade20k(split)),
    )
}
"""Datasets by their names in Detectron2."""


def evaluators(kind: str, names: Sequence[str]) -> list[dict[str, Any]]:
    """Evaluators of a model of this kind on the published dataset of this name; [] where the dataset names them."""
    quality = {"type": "panoptic_quality"}
    boxes_and_masks = {"type": "coco", "iou_types": ["bbox", "segm"]}
    if kind == "panoptic_fpn":
        things = len(names) == 1 and names[0].startswith("coco_2017_")
        stuff = [{"type": "stuff_iou", "num_stuff": len(COCO_STUFF_CLASSES)}] if things else []
        return [quality, boxes_and_masks, *stuff]
    if kind == "panoptic_deeplab":
        return [quality, {"type": "det_datasets.evaluators:MeanIoU"}, boxes_and_masks]
    return []
