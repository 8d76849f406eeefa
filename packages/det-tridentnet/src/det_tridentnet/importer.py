"""TridentNet settings of Detectron2's configuration files, for `det recipes import`."""

from collections.abc import Mapping
from typing import Any

from det_detectron2.importer.detectron2 import Backbone, resnet_section, rpn_section
from det_detectron2.importer.detectron2_heads import second_stage
from det_detectron2.importer.settings import Settings, UnsupportedError

__all__ = ["EXTENSION"]

DEFAULTS: dict[str, Any] = {
    "MODEL.TRIDENT.NUM_BRANCH": 3,
    "MODEL.TRIDENT.BRANCH_DILATIONS": [1, 2, 3],
    "MODEL.TRIDENT.TRIDENT_STAGE": "res4",
    "MODEL.TRIDENT.TEST_BRANCH_IDX": 1,
}
_BRANCHES = {
    "MODEL.TRIDENT.BRANCH_DILATIONS": ("dilations", [1, 2, 3]),
    "MODEL.TRIDENT.TRIDENT_STAGE": ("stage", "res4"),
}
_MERGED = {
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": ("nms_threshold", 0.5),
    "TEST.DETECTIONS_PER_IMAGE": ("max_detections", 100),
}
_ALL = -1
"""Branch index that stands for all branches."""


def backbone(s: Settings) -> Backbone:
    """The ResNet with branches."""
    if (count := s["MODEL.TRIDENT.NUM_BRANCH"]) != len(s["MODEL.TRIDENT.BRANCH_DILATIONS"]):
        found = f"got {count} and {s['MODEL.TRIDENT.BRANCH_DILATIONS']}"
        raise UnsupportedError("MODEL.TRIDENT.NUM_BRANCH", "must be the number of BRANCH_DILATIONS", found)
    node, strides, _ = resnet_section(s)
    if "deformable_stages" in node:
        raise UnsupportedError("MODEL.RESNETS.DEFORM_ON_PER_STAGE", "cannot be combined with branches")
    node = {**node, "type": "trident_resnet", **s.differing(_BRANCHES)}
    if (branch := s["MODEL.TRIDENT.TEST_BRANCH_IDX"]) not in (1, _ALL):
        node["branch"] = branch
    if node.get("out_features") == ["res4"]:
        del node["out_features"]
    elif "out_features" not in node:
        node["out_features"] = list(strides)
    return Backbone(node, strides)


def proposal_generator(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Proposal-generator node, the same as of other two-stage models."""
    return {"type": "rpn", **rpn_section(s, strides)}


def roi_heads(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Model entries, with the second stage of other two-stage models."""
    s.require("MODEL.MASK_ON", False)
    s.require("MODEL.KEYPOINT_ON", False)
    s.require("MODEL.BACKBONE.NAME", "build_trident_resnet_backbone")
    name = s["MODEL.ROI_HEADS.NAME"].removeprefix("Trident")
    entries = second_stage(s.replaced("MODEL.ROI_HEADS.NAME", name), strides)
    model = {"roi_heads": {"type": "standard_roi_heads"}, **entries, "type": "trident_rcnn", **s.differing(_MERGED)}
    if s["MODEL.TRIDENT.TEST_BRANCH_IDX"] == _ALL:
        model["fast"] = False
    return model


PARTS = {
    ("MODEL.BACKBONE.NAME", "build_trident_resnet_backbone"): backbone,
    ("MODEL.PROPOSAL_GENERATOR.NAME", "TridentRPN"): proposal_generator,
    ("MODEL.ROI_HEADS.NAME", "TridentRes5ROIHeads"): roi_heads,
    ("MODEL.ROI_HEADS.NAME", "TridentStandardROIHeads"): roi_heads,
}


EXTENSION = {"defaults": DEFAULTS, "parts": PARTS}
