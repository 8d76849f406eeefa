"""Settings of Detectron2's one-stage detectors as the `head` of a recipe's model."""

from collections.abc import Mapping
from typing import Any

from det_detectron2.importer.settings import Settings, per_level

__all__ = ["RETINANET", "retinanet_head"]

RETINANET = {
    "MODEL.RETINANET.PRIOR_PROB": ("prior_probability", 0.01),
    "MODEL.RETINANET.IOU_THRESHOLDS": ("iou_thresholds", [0.4, 0.5]),
    "MODEL.RETINANET.IOU_LABELS": ("iou_labels", [0, -1, 1]),
    "MODEL.RETINANET.FOCAL_LOSS_ALPHA": ("focal_alpha", 0.25),
    "MODEL.RETINANET.FOCAL_LOSS_GAMMA": ("focal_gamma", 2.0),
    "MODEL.RETINANET.BBOX_REG_WEIGHTS": ("box_weights", [1.0, 1.0, 1.0, 1.0]),
    "MODEL.RETINANET.BBOX_REG_LOSS_TYPE": ("box_loss", "smooth_l1"),
    "MODEL.RETINANET.SMOOTH_L1_LOSS_BETA": ("smooth_l1_beta", 0.0),
    "MODEL.RETINANET.SCORE_THRESH_TEST": ("score_threshold", 0.05),
    "MODEL.RETINANET.TOPK_CANDIDATES_TEST": ("topk_candidates", 1000),
    "MODEL.RETINANET.NMS_THRESH_TEST": ("nms_threshold", 0.5),
    "TEST.DETECTIONS_PER_IMAGE": ("max_detections", 100),
}


def retinanet_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The node of the head, for a backbone of these strides."""
    s.require("MODEL.ANCHOR_GENERATOR.NAME", "DefaultAnchorGenerator")
    node: dict[str, Any] = {"type": "retinanet_head", **s.differing(RETINANET)}
    levels = list(s["MODEL.RETINANET.IN_FEATURES"])
    if levels != list(strides):
        node["in_features"] = levels
    anchors = anchors_node(
        per_level(s["MODEL.ANCHOR_GENERATOR.SIZES"]),
        per_level(s["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"]),
        s["MODEL.ANCHOR_GENERATOR.OFFSET"],
        [strides.get(level, 0) for level in levels],
    )
    if anchors:
        node["anchor_generator"] = anchors
    if (convs := s["MODEL.RETINANET.NUM_CONVS"]) != 4:
        node["conv_dims"] = [-1] * convs
    if norm := s.norm("MODEL.RETINANET.NORM"):
        node["norm"] = norm
    return node


def anchors_node(sizes: list[Any], ratios: list[Any], offset: float, strides: list[int]) -> dict[str, Any]:
    """Anchor node, {} for the default anchors of the head."""
    node: dict[str, Any] = {}
    if ratios != [[0.5, 1.0, 2.0]]:
        node["aspect_ratios"] = ratios
    if offset:
        node["offset"] = offset
    if node or sizes != [[4 * 2 ** (i / 3) * stride for i in range(3)] for stride in strides]:
        node["sizes"] = sizes
    return node
