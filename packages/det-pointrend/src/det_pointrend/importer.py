"""PointRend and PointSup settings of Detectron2's configuration files; see `det_detectron2.importer.extensions`."""

from collections.abc import Mapping
from typing import Any

from det_detectron2.importer.detectron2_heads import MASK_HEAD, levels_section
from det_detectron2.importer.detectron2_semantic import sem_seg_section
from det_detectron2.importer.settings import Settings

__all__ = ["EXTENSION"]

DEFAULTS: dict[str, Any] = {
    "MODEL.ROI_MASK_HEAD.IN_FEATURES": ["p2"],
    "MODEL.ROI_MASK_HEAD.FC_DIM": 1024,
    "MODEL.ROI_MASK_HEAD.NUM_FC": 2,
    "MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION": 7,
    "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": False,
    "MODEL.POINT_HEAD.NAME": "StandardPointHead",
    "MODEL.POINT_HEAD.NUM_CLASSES": 80,
    "MODEL.POINT_HEAD.IN_FEATURES": ["p2"],
    "MODEL.POINT_HEAD.TRAIN_NUM_POINTS": 196,
    "MODEL.POINT_HEAD.OVERSAMPLE_RATIO": 3,
    "MODEL.POINT_HEAD.IMPORTANCE_SAMPLE_RATIO": 0.75,
    "MODEL.POINT_HEAD.SUBDIVISION_STEPS": 5,
    "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS": 784,
    "MODEL.POINT_HEAD.FC_DIM": 256,
    "MODEL.POINT_HEAD.NUM_FC": 3,
    "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK": False,
    "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": True,
    "MODEL.POINT_HEAD.COARSE_SEM_SEG_HEAD_NAME": "SemSegFPNHead",
    "MODEL.IMPLICIT_POINTREND.IMAGE_FEATURE_ENABLED": True,
    "MODEL.IMPLICIT_POINTREND.POS_ENC_ENABLED": True,
    "MODEL.IMPLICIT_POINTREND.PARAMS_L2_REGULARIZER": 1e-05,
    "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": 1.0,
    "INPUT.COLOR_AUG_SSD": False,
    "INPUT.POINT_SUP": False,
    "INPUT.SAMPLE_POINTS": 0,
}

DATASETS = {
    f"coco_2017_train_points_n10_v{version}_without_masks": {
        "type": "coco_points",
        "images": "coco/train2017",
        "annotations": f"coco/annotations/instances_train2017_n10_v{version}_without_masks.json",
    }
    for version in (1, 2, 3)
}

# Setting -> our argument and our default.
REGION_HEAD = {
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": ("pooler_resolution", 14),
    "MODEL.ROI_MASK_HEAD.CONV_DIM": ("conv_dim", 256),
    "MODEL.ROI_MASK_HEAD.FC_DIM": ("fc_dim", 1024),
    "MODEL.ROI_MASK_HEAD.NUM_FC": ("num_fc", 2),
}
POINT_HEAD = {
    "MODEL.POINT_HEAD.FC_DIM": ("fc_dim", 256),
    "MODEL.POINT_HEAD.NUM_FC": ("num_fc", 3),
    "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK": ("class_agnostic", False),
}
IMPLICIT = {
    "MODEL.IMPLICIT_POINTREND.IMAGE_FEATURE_ENABLED": ("image_features", True),
    "MODEL.IMPLICIT_POINTREND.POS_ENC_ENABLED": ("positions", True),
}
SAMPLING = {
    "MODEL.POINT_HEAD.OVERSAMPLE_RATIO": ("oversample", 3.0),
    "MODEL.POINT_HEAD.IMPORTANCE_SAMPLE_RATIO": ("importance", 0.75),
}
COARSE = {"MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION": ("coarse_resolution", 7)}


def _subdivision(s: Settings, steps: int, points: int) -> dict[str, Any]:
    """Subdivision settings, where they are not the default of the head."""
    return s.differing(
        {
            "MODEL.POINT_HEAD.SUBDIVISION_STEPS": ("subdivision_steps", steps),
            "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS": ("subdivision_points", points),
        }
    )


def _levels(s: Settings, strides: Mapping[str, int], argument: str, setting: str) -> dict[str, Any]:
    """Feature levels of a part, where they are not the finest alone."""
    levels = list(s[setting])
    return {} if levels == [min(strides, key=lambda name: strides[name])] else {argument: levels}


def _region_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Arguments of both mask heads."""
    # Regions are sampled on a grid of points; pooler and convolution settings of the base configuration have no effect.
    s.read(*(f"MODEL.ROI_MASK_HEAD.{name}" for name in ("POOLER_TYPE", "NUM_CONV")))
    s.require("MODEL.POINT_HEAD.NUM_CLASSES", s.peek("MODEL.ROI_HEADS.NUM_CLASSES"))
    return {
        **_levels(s, strides, "in_features", "MODEL.ROI_MASK_HEAD.IN_FEATURES"),
        **s.differing(REGION_HEAD),
        **_levels(s, strides, "point_features", "MODEL.POINT_HEAD.IN_FEATURES"),
    }


def _standard_point_head(s: Settings, default: Mapping[str, Any]) -> dict[str, Any]:
    """Point head, where it is not the default one with the arguments `default`."""
    s.require("MODEL.POINT_HEAD.NAME", "StandardPointHead")
    node = s.differing({**POINT_HEAD, "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": ("coarse_each_layer", True)})
    return {} if node == default else {"point_head": {"type": "det_pointrend.layers:StandardPointHead", **node}}


def mask_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Mask head of PointRend."""
    node = {"type": "det-pointrend/pointrend_mask_head", **_region_head(s, strides), **s.differing(COARSE)}
    if not s["MODEL.ROI_MASK_HEAD.POINT_HEAD_ON"]:
        return {**node, "point_head": None}
    points = s.differing({"MODEL.POINT_HEAD.TRAIN_NUM_POINTS": ("num_points", 196)})
    return {
        **node,
        **_standard_point_head(s, {}),
        **points,
        **s.differing(SAMPLING),
        **_subdivision(s, 5, 784),
    }


def implicit_mask_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Mask head of Implicit PointRend, trained on sampled points or, as in PointSup, on annotated ones."""
    node = {"type": "det-pointrend/implicit_pointrend_mask_head", **_region_head(s, strides)}
    s.require("MODEL.POINT_HEAD.NAME", "ImplicitPointHead")
    s.read("MODEL.ROI_MASK_HEAD.POINT_HEAD_ON")  # its point head is always on
    if arguments := s.differing({**POINT_HEAD, **IMPLICIT}):
        node["point_head"] = {"type": "det_pointrend.layers:ImplicitPointHead", **arguments}
    count = s["MODEL.POINT_HEAD.TRAIN_NUM_POINTS"]
    if s["MODEL.ROI_MASK_HEAD.NAME"] == "ImplicitPointRendPointSupHead":
        node["points"] = {"type": "det_pointrend.point_targets:AnnotatedPoints"}
    elif count != 196:
        node["points"] = {"type": "det_pointrend.point_targets:DrawnPoints", "count": count}
    node |= s.differing({"MODEL.IMPLICIT_POINTREND.PARAMS_L2_REGULARIZER": ("regularization", 1e-5)})
    return {**node, **_subdivision(s, 3, 784)}


def point_sup_mask_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Mask head of Mask R-CNN, trained on annotated points."""
    node = {"type": "det-core/mask_rcnn_conv_upsample_head", **s.differing(MASK_HEAD), **levels_section(s, strides)}
    if norm := s.norm("MODEL.ROI_MASK_HEAD.NORM"):
        node["norm"] = norm
    return {**node, "loss": {"type": "det_pointrend.point_targets:PointLoss"}}


def semantic_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """PointRend head for semantic segmentation."""
    s.require("MODEL.POINT_HEAD.COARSE_SEM_SEG_HEAD_NAME", "SemSegFPNHead")
    s.require("MODEL.POINT_HEAD.NUM_CLASSES", s.peek("MODEL.SEM_SEG_HEAD.NUM_CLASSES"))
    node: dict[str, Any] = {"type": "det-pointrend/pointrend_sem_seg_head"}
    if coarse := sem_seg_section(s, strides):
        node["coarse_head"] = {"type": "sem_seg_fpn_head", **coarse}
    points = s.differing({"MODEL.POINT_HEAD.TRAIN_NUM_POINTS": ("num_points", 2048)})
    return {
        **node,
        **_standard_point_head(s, {"coarse_each_layer": False}),
        **_levels(s, strides, "point_features", "MODEL.POINT_HEAD.IN_FEATURES"),
        **points,
        **s.differing(SAMPLING),
        **_subdivision(s, 2, 8192),
    }


PARTS = {
    ("MODEL.ROI_MASK_HEAD.NAME", "PointRendMaskHead"): mask_head,
    ("MODEL.ROI_MASK_HEAD.NAME", "ImplicitPointRendMaskHead"): implicit_mask_head,
    ("MODEL.ROI_MASK_HEAD.NAME", "ImplicitPointRendPointSupHead"): implicit_mask_head,
    ("MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsamplePointSupHead"): point_sup_mask_head,
    ("MODEL.SEM_SEG_HEAD.NAME", "PointRendSemSegHead"): semantic_head,
}


def complete(s: Settings, tree: dict[str, Any]) -> None:
    """Data settings of both projects: points in place of masks, and crops of semantic maps after resizing."""
    parts = {(key, name) for key, name in PARTS if s.peek(key) == name}
    transforms = tree["data"]["train_transforms"]
    if s["INPUT.POINT_SUP"]:
        if "train" in tree["data"]:
            tree["data"]["train"] |= {"bad_annotations": "skip", "keep_empty": False}
        if count := s["INPUT.SAMPLE_POINTS"]:
            transforms.append({"type": "det_pointrend.coco_points:SamplePoints", "count": count})
    if ("MODEL.SEM_SEG_HEAD.NAME", "PointRendSemSegHead") in parts:
        crops = [each for each in transforms if each["type"] == "det_core.data:RandomCrop"]
        resize, *flips = [each for each in transforms if each not in crops]
        for crop in crops:
            if (share := s["INPUT.CROP.SINGLE_CATEGORY_MAX_AREA"]) < 1:
                crop["max_class_share"] = share
        color_transforms = [{"type": "det_pointrend.colors:ColorDistortion"}] if s["INPUT.COLOR_AUG_SSD"] else []
        transforms[:] = [resize, *crops, *color_transforms, *flips]
    if not parts:  # no part has these settings
        s.read(*(key for key in DEFAULTS if key.startswith(("MODEL.POINT_HEAD.", "MODEL.IMPLICIT_POINTREND."))))


EXTENSION = {"defaults": DEFAULTS, "datasets": DATASETS, "parts": PARTS, "complete": complete}
