"""TensorMask settings of Detectron2's configuration files, for `det recipes import`."""

from typing import Any

from det_detectron2.importer.detectron2 import backbone_section, input_section
from det_detectron2.importer.settings import Settings, UnsupportedError, per_level

__all__ = ["EXTENSION"]

# Setting -> argument and default, both as published.
_HEAD: dict[str, tuple[str, Any]] = {
    "MODEL.TENSOR_MASK.NUM_CONVS": ("num_convs", 4),
    "MODEL.TENSOR_MASK.CLS_CHANNELS": ("class_channels", 256),
    "MODEL.TENSOR_MASK.BBOX_CHANNELS": ("box_channels", 128),
    "MODEL.TENSOR_MASK.MASK_CHANNELS": ("mask_channels", 128),
    "MODEL.TENSOR_MASK.FOCAL_LOSS_ALPHA": ("focal_alpha", 0.3),
    "MODEL.TENSOR_MASK.FOCAL_LOSS_GAMMA": ("focal_gamma", 3.0),
    "MODEL.TENSOR_MASK.BBOX_REG_WEIGHTS": ("box_weights", [1.5, 1.5, 0.75, 0.75]),
    "MODEL.TENSOR_MASK.MASK_LOSS_WEIGHT": ("mask_loss_weight", 2.0),
    "MODEL.TENSOR_MASK.POSITIVE_WEIGHT": ("mask_positive_weight", 1.5),
    "MODEL.TENSOR_MASK.SCORE_THRESH_TEST": ("score_threshold", 0.05),
    "MODEL.TENSOR_MASK.TOPK_CANDIDATES_TEST": ("topk_candidates", 6000),
    "MODEL.TENSOR_MASK.NMS_THRESH_TEST": ("nms_threshold", 0.5),
}
DEFAULTS: dict[str, Any] = {
    **{setting: default for setting, (_, default) in _HEAD.items()},
    "MODEL.TENSOR_MASK.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6", "p7"],
    "MODEL.TENSOR_MASK.NUM_CLASSES": 80,
    "MODEL.TENSOR_MASK.ALIGNED_ON": False,
    "MODEL.TENSOR_MASK.BIPYRAMID_ON": False,
}
_SWITCHES = {
    "MODEL.TENSOR_MASK.ALIGNED_ON": ("aligned", True),
    "MODEL.TENSOR_MASK.BIPYRAMID_ON": ("bipyramid", True),
    "TEST.DETECTIONS_PER_IMAGE": ("max_detections", 100),
}


def tensormask(s: Settings) -> dict[str, Any]:
    """Model node."""
    s.require("MODEL.MASK_ON", True)
    s.require("MODEL.ANCHOR_GENERATOR.NAME", "DefaultAnchorGenerator")
    backbone, strides = backbone_section(s)
    head: dict[str, Any] = {"type": "tensormask_head", **s.differing(_HEAD), **s.differing(_SWITCHES)}
    levels = list(s["MODEL.TENSOR_MASK.IN_FEATURES"])
    if levels != list(strides):
        head["in_features"] = levels
    if (windows := _windows(s, [strides.get(level, 1) for level in levels])) != [11, 15]:
        head["windows"] = windows
    common = input_section(s, "MODEL.TENSOR_MASK.NUM_CLASSES")
    return {"type": "dense_detector", **common, "backbone": backbone, "head": head}


def _windows(s: Settings, strides: list[int]) -> list[int]:
    """Window sides in strides; Detectron2 gives them in pixels of each level."""
    sizes = per_level(s["MODEL.ANCHOR_GENERATOR.SIZES"])
    windows = [size // strides[0] for size in sizes[0]]
    if sizes != [[side * stride for side in windows] for stride in strides]:
        problem = "must be the same numbers of strides at every level"
        raise UnsupportedError("MODEL.ANCHOR_GENERATOR.SIZES", problem, f"got {sizes} for strides {strides}")
    if (ratios := per_level(s["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"])) != [[1.0]]:
        raise UnsupportedError("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", "must be [[1.0]]", f"got {ratios}")
    return windows


PARTS = {("MODEL.META_ARCHITECTURE", "TensorMask"): tensormask}


EXTENSION = {"defaults": DEFAULTS, "parts": PARTS}
