"""The parts of D2Go's models as nodes of a recipe."""

from collections.abc import Mapping
from typing import Any

from det_core.recipes.upgrades import upgrade
from det_detectron2.importer.detectron2 import FPN, Backbone, backbone_section, input_section
from det_detectron2.importer.detectron2_heads import levels_section, second_stage
from det_detectron2.importer.settings import Settings, UnsupportedError

from det_mobile.importer.settings import ACCOUNTED, DEFAULTS, EMA, FBNET, FCOS, KMEANS, OPS, SUBCLASS
from det_mobile.importer.training import fitted_anchors, optimizer
from det_mobile.importer.transforms import transform_of

__all__ = ["EXTENSION"]

_STRIDES = [2, 4, 8, 16, 32]
_NORMS = {"bn": "BN", "naiveSyncBN": "SyncBN", "sync_bn": "SyncBN", "sync_bn_torch": "SyncBN", "frozen_bn": "FrozenBN"}
_BLOCKS = {f"{FBNET}.SCALE_FACTOR": ("scale", 1.0), f"{FBNET}.WIDTH_DIVISOR": ("divisor", 8)}
_FCOS = {
    f"{FCOS}.FOCAL_LOSS_ALPHA": ("focal_alpha", 0.25),
    f"{FCOS}.FOCAL_LOSS_GAMMA": ("focal_gamma", 2.0),
    f"{FCOS}.SCORE_THRESH_TEST": ("score_threshold", 0.2),
    f"{FCOS}.TOPK_CANDIDATES_TEST": ("topk_candidates", 1000),
    f"{FCOS}.NMS_THRESH_TEST": ("nms_threshold", 0.6),
    "TEST.DETECTIONS_PER_IMAGE": ("max_detections", 100),
}


def blocks(s: Settings) -> dict[str, Any]:
    """The node of the blocks, which trunk and heads share."""
    name, table = s[f"{FBNET}.ARCH"], s[f"{FBNET}.ARCH_DEF"]
    if bool(name) == bool(table):
        raise UnsupportedError(f"{FBNET}.ARCH_DEF", "needs ARCH to be empty", "one of both names the blocks")
    node: dict[str, Any] = {"arch": name or {part: stages for each in table for part, stages in each.items()}}
    node |= s.differing(_BLOCKS)
    norm = s.require(f"{FBNET}.NORM", *_NORMS)
    s.require(f"{FBNET}.NORM_ARGS", [])
    return node if norm == "bn" else {**node, "norm": _NORMS[norm]}


def _trunk(s: Settings, kind: str) -> Backbone:
    from det_mobile.fbnet.arch import FBNetBlocks

    s.read("MODEL.BACKBONE.FREEZE_AT")  # which D2Go does not ask for
    table = blocks(s)
    node: dict[str, Any] = {"type": f"det-mobile/{kind}", "blocks": table}
    if (channels := s[f"{FBNET}.STEM_IN_CHANNELS"]) != 3:
        raise UnsupportedError(f"{FBNET}.STEM_IN_CHANNELS", "images have three channels", f"got {channels}")
    stages = FBNetBlocks(arch=table["arch"]).stages("trunk")
    stride, strides = 1, {}
    for i, stage in enumerate(stages):
        for block in stage:
            stride *= block.stride
        strides[f"trunk{i}"] = stride
    return Backbone(node, strides)


def c4(s: Settings) -> Backbone:
    """The trunk alone."""
    return _trunk(s, "fbnet_c4")


def pyramid(s: Settings) -> Backbone:
    """The trunk under a pyramid with one level on top."""
    return _pyramid(s, 1)


def retina_pyramid(s: Settings) -> Backbone:
    """The trunk under a pyramid with two levels on top."""
    return _pyramid(s, 2)


def _pyramid(s: Settings, on_top: int) -> Backbone:
    node, strides, _ = _trunk(s, "fbnet")
    in_features = list(s["MODEL.FPN.IN_FEATURES"])
    above: dict[str, Any] = {"type": "fpn", **s.differing(FPN), "in_features": in_features, "bottom_up": node}
    if norm := s.norm("MODEL.FPN.NORM"):
        above["norm"] = _NORMS.get(norm, norm)
    if on_top == 2:
        above["top"] = "convolutions"
    levels = [strides[name].bit_length() - 1 for name in in_features]
    levels += [levels[-1] + 1 + i for i in range(on_top)]
    return Backbone(above, {f"p{level}": 2**level for level in levels})


def rpn_head(s: Settings) -> dict[str, Any]:
    """The node of the proposal generator's head."""
    s.read("MODEL.RPN.CONV_DIMS")
    return {"type": "det-mobile/fbnet_rpn_head", "blocks": blocks(s)}


def box_head(s: Settings) -> dict[str, Any]:
    """The node of the box head, whose norm is that of all blocks."""
    s.read(*(f"MODEL.ROI_BOX_HEAD.{name}" for name in ("NORM", "NUM_CONV", "CONV_DIM", "NUM_FC", "FC_DIM")))
    return {"type": "det-mobile/fbnet_box_head", "blocks": blocks(s)}


def _pooler(s: Settings, head: str, ours: int) -> dict[str, Any]:
    node = s.differing(
        {
            f"MODEL.{head}.POOLER_RESOLUTION": ("resolution", ours),
            f"MODEL.{head}.POOLER_TYPE": ("pooling", "ROIAlignV2"),
            f"MODEL.{head}.POOLER_SAMPLING_RATIO": ("sampling_ratio", 0),
        }
    )
    return {"pooler": node} if node else {}


def mask_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The node of the mask head."""
    s.read(*(f"MODEL.ROI_MASK_HEAD.{name}" for name in ("NORM", "NUM_CONV", "CONV_DIM")))
    s.require("MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK", False)
    return {
        "type": "det-mobile/fbnet_mask_head",
        "blocks": blocks(s),
        **_pooler(s, "ROI_MASK_HEAD", 14),
        **levels_section(s, strides),
    }


def _keypoint_head(predictor: str) -> Any:
    def translate(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
        """The node of the keypoint head."""
        s.read("MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS")
        settings = s.differing(
            {
                "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS": ("num_keypoints", 17),
                "MODEL.ROI_KEYPOINT_HEAD.LOSS_WEIGHT": ("loss_weight", 1.0),
            }
        )
        node = {"type": "det-mobile/fbnet_keypoint_head", "blocks": blocks(s), **settings}
        node |= {**_pooler(s, "ROI_KEYPOINT_HEAD", 6), **levels_section(s, strides)}
        return node if predictor == "irf" else {**node, "predictor": predictor}

    return translate


def fcos(s: Settings) -> dict[str, Any]:
    """The node of the model."""
    backbone, strides = backbone_section(s)
    head: dict[str, Any] = {"type": "fcos_head", **s.differing(_FCOS)}
    if (levels := list(s[f"{FCOS}.IN_FEATURES"])) != list(strides):
        head["in_features"] = levels
    if (convs := s[f"{FCOS}.NUM_CONVS"]) != 4:
        head["conv_dims"] = [-1] * convs
    if (norm := s.norm(f"{FCOS}.HEAD_NORM")) != "GN":
        head["norm"] = norm
    return {"type": "dense_detector", **input_section(s, f"{FCOS}.NUM_CLASSES"), "backbone": backbone, "head": head}


def subclasses(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The entries of the RoI heads, with sub-classes if they are enabled."""
    entries = second_stage(s.replaced("MODEL.ROI_HEADS.NAME", "StandardROIHeads"), strides)
    if s[f"{SUBCLASS}.SUBCLASS_ON"]:
        # Fetchers are code of a project's own: the dataset of the recipe reads what the default one does.
        s.read(f"{SUBCLASS}.SUBCLASS_ID_FETCHER", f"{SUBCLASS}.SUBCLASS_MAPPING")
        node = {"type": "det-mobile/subclass_roi_heads", "num_subclasses": s[f"{SUBCLASS}.NUM_SUBCLASSES"]}
        node |= s.differing({f"{SUBCLASS}.NUM_LAYERS": ("num_layers", 1)})
        # The importer writes arguments as they were once called; core knows where those of its own parts have moved.
        stage = {"roi_heads": {"type": "standard_roi_heads", **entries.get("roi_heads", {})}}
        entries["roi_heads"] = {**upgrade({"model": {"type": "faster_rcnn", **stage}})["model"]["roi_heads"], **node}
    return entries


def complete(s: Settings, tree: dict[str, Any]) -> None:
    """The remaining settings of D2Go: the exponential moving average, transforms and others."""
    s.read(*(key for key in s.given if key.startswith(ACCOUNTED)))
    if "SOLVER.OPTIMIZER" in s.given:
        tree["train"]["optimizer"] = optimizer(s, tree["train"]["optimizer"])
    if not s["SOLVER.AMP.ENABLED"]:
        s.read("SOLVER.AMP.PRECISION", "SOLVER.AMP.LOG_GRAD_SCALER")
    if s[f"{EMA}.ENABLED"]:
        factor = s[f"{EMA}.DECAY_WARM_UP_FACTOR"]
        node: dict[str, Any] = {"decay": s[f"{EMA}.DECAY"], "warmup": max(factor, 0)}
        if not s[f"{EMA}.INCLUDE_BUFFER"]:
            node["buffers"] = False
        s.read(f"{EMA}.INCLUDE_FROZEN")  # what does not change has itself for an average
        tree["train"]["ema"] = node
    else:
        s.read(*(key for key in s.given if key.startswith(f"{EMA}.")))
    for split, key in (("train_transforms", f"{OPS}.TRAIN"), ("eval_transforms", f"{OPS}.TEST")):
        if s[key] != DEFAULTS[key]:
            tree["data"][split] = [transform_of(text, tree["data"][split], key) for text in s[key]]
    if not s.peek(f"{KMEANS}.KMEANS_ANCHORS_ON"):
        s.read(*(key for key in s.given if key.startswith(f"{KMEANS}.")))
    if not s.peek(f"{SUBCLASS}.SUBCLASS_ON"):
        s.read(*(key for key in s.given if key.startswith(f"{SUBCLASS}.")))
    if "FBNetV2" in s.peek("MODEL.BACKBONE.NAME"):
        schedule = tree["train"].get("schedule", {})
        if schedule.get("type") == "det_core.engine:WarmupCosine":
            schedule["type"] = "det_mobile.schedules:JoinedWarmupCosine"
        s.read(*(key for key in s.given if key.startswith("MODEL.RESNETS.")))


_HEAD = "MODEL.ROI_KEYPOINT_HEAD.NAME"
PARTS = {
    ("MODEL.BACKBONE.NAME", "FBNetV2C4Backbone"): c4,
    ("MODEL.BACKBONE.NAME", "FBNetV2FpnBackbone"): pyramid,
    ("MODEL.BACKBONE.NAME", "FBNetV2RetinaNetBackbone"): retina_pyramid,
    ("MODEL.RPN.HEAD_NAME", "FBNetV2RpnHead"): rpn_head,
    ("MODEL.ROI_BOX_HEAD.NAME", "FBNetV2RoIBoxHead"): box_head,
    ("MODEL.ROI_MASK_HEAD.NAME", "FBNetV2RoIMaskHead"): mask_head,
    (_HEAD, "FBNetV2RoIKeypointHead"): _keypoint_head("deconv_upsample"),
    (_HEAD, "FBNetV2RoIKeypointHeadKRCNNPredictorNoUpscale"): _keypoint_head("deconv"),
    (_HEAD, "FBNetV2RoIKeypointHeadKPRCNNIRFPredictorNoUpscale"): _keypoint_head("irf"),
    (_HEAD, "FBNetV2RoIKeypointHeadKPRCNNConvUpsamplePredictorNoUpscale"): _keypoint_head("conv_upsample"),
    ("MODEL.META_ARCHITECTURE", "FCOS"): fcos,
    ("MODEL.ROI_HEADS.NAME", "StandardROIHeadsWithSubClass"): subclasses,
    ("MODEL.ANCHOR_GENERATOR.NAME", "KMeansAnchorGenerator"): fitted_anchors,
}

EXTENSION = {"defaults": DEFAULTS, "parts": PARTS, "complete": complete}
