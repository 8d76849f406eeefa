"""Models of Detectron2's Python configurations as settings of its YAML configurations."""

from collections.abc import Mapping
from typing import Any

from det_core.printable import quoted

from det_detectron2.importer.extensions import translator
from det_detectron2.importer.lazy_heads import settings_of_roi_heads
from det_detectron2.importer.lazy_objects import NEEDED, Objects
from det_detectron2.importer.settings import UnsupportedError

__all__ = [
    "REGNET_DEFAULTS",
    "fcos_head",
    "level_norms_of_head",
    "regnet",
    "settings_of_model",
    "settings_of_rcnn",
]

RESNET = {
    "freeze_at": ("MODEL.BACKBONE.FREEZE_AT", 0),
    "out_features": ("MODEL.RESNETS.OUT_FEATURES", NEEDED),
    "stem.out_channels": ("MODEL.RESNETS.STEM_OUT_CHANNELS", 64),
    "stages.depth": ("MODEL.RESNETS.DEPTH", NEEDED),
    "stages.stride_in_1x1": ("MODEL.RESNETS.STRIDE_IN_1X1", False),
    "stages.num_groups": ("MODEL.RESNETS.NUM_GROUPS", 1),
}
FPN = {
    "in_features": ("MODEL.FPN.IN_FEATURES", NEEDED),
    "out_channels": ("MODEL.FPN.OUT_CHANNELS", NEEDED),
    "fuse_type": ("MODEL.FPN.FUSE_TYPE", "sum"),
}
ANCHORS = {
    "sizes": ("MODEL.ANCHOR_GENERATOR.SIZES", NEEDED),
    "aspect_ratios": ("MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS", NEEDED),
    "offset": ("MODEL.ANCHOR_GENERATOR.OFFSET", 0.5),
}
RPN = {
    "in_features": ("MODEL.RPN.IN_FEATURES", NEEDED),
    "head.conv_dims": ("MODEL.RPN.CONV_DIMS", (-1,)),
    "anchor_matcher.thresholds": ("MODEL.RPN.IOU_THRESHOLDS", NEEDED),
    "anchor_matcher.labels": ("MODEL.RPN.IOU_LABELS", NEEDED),
    "box2box_transform.weights": ("MODEL.RPN.BBOX_REG_WEIGHTS", NEEDED),
    "batch_size_per_image": ("MODEL.RPN.BATCH_SIZE_PER_IMAGE", NEEDED),
    "positive_fraction": ("MODEL.RPN.POSITIVE_FRACTION", NEEDED),
    "nms_thresh": ("MODEL.RPN.NMS_THRESH", 0.7),
    "min_box_size": ("MODEL.PROPOSAL_GENERATOR.MIN_SIZE", 0.0),
    "anchor_boundary_thresh": ("MODEL.RPN.BOUNDARY_THRESH", -1.0),
    "loss_weight": ("MODEL.RPN.LOSS_WEIGHT", 1.0),
    "box_reg_loss_type": ("MODEL.RPN.BBOX_REG_LOSS_TYPE", "smooth_l1"),
    "smooth_l1_beta": ("MODEL.RPN.SMOOTH_L1_BETA", 0.0),
}
RETINANET = {
    "num_classes": ("MODEL.RETINANET.NUM_CLASSES", NEEDED),
    "head_in_features": ("MODEL.RETINANET.IN_FEATURES", NEEDED),
    "head.prior_prob": ("MODEL.RETINANET.PRIOR_PROB", 0.01),
    "anchor_matcher.thresholds": ("MODEL.RETINANET.IOU_THRESHOLDS", NEEDED),
    "anchor_matcher.labels": ("MODEL.RETINANET.IOU_LABELS", NEEDED),
    "box2box_transform.weights": ("MODEL.RETINANET.BBOX_REG_WEIGHTS", NEEDED),
    "focal_loss_alpha": ("MODEL.RETINANET.FOCAL_LOSS_ALPHA", 0.25),
    "focal_loss_gamma": ("MODEL.RETINANET.FOCAL_LOSS_GAMMA", 2.0),
    "smooth_l1_beta": ("MODEL.RETINANET.SMOOTH_L1_LOSS_BETA", 0.0),
    "box_reg_loss_type": ("MODEL.RETINANET.BBOX_REG_LOSS_TYPE", "smooth_l1"),
    "test_score_thresh": ("MODEL.RETINANET.SCORE_THRESH_TEST", 0.05),
    "test_topk_candidates": ("MODEL.RETINANET.TOPK_CANDIDATES_TEST", 1000),
    "test_nms_thresh": ("MODEL.RETINANET.NMS_THRESH_TEST", 0.5),
    "max_detections_per_image": ("TEST.DETECTIONS_PER_IMAGE", 100),
}
FCOS = {
    "head.prior_prob": ("prior_probability", 0.01),
    "center_sampling_radius": ("center_radius", 1.5),
    "focal_loss_alpha": ("focal_alpha", 0.25),
    "focal_loss_gamma": ("focal_gamma", 2.0),
    "test_score_thresh": ("score_threshold", 0.2),
    "test_topk_candidates": ("topk_candidates", 1000),
    "test_nms_thresh": ("nms_threshold", 0.6),
    "max_detections_per_image": ("max_detections", 100),
}


# Argument of the published class -> ours, and its default there. Our defaults are those of RegNetX-4GF.
REGNET = {
    "depth": ("depth", NEEDED),
    "w_0": ("width", NEEDED),
    "w_a": ("slope", NEEDED),
    "w_m": ("multiplier", NEEDED),
    "group_width": ("group_width", NEEDED),
    "se_ratio": ("se_ratio", 0.0),
    "stem_width": ("stem_channels", NEEDED),
    "out_features": ("out_features", NEEDED),
    "freeze_at": ("freeze_at", 0),
}
REGNET_DEFAULTS: dict[str, Any] = {
    "depth": 23,
    "width": 96,
    "slope": 38.65,
    "multiplier": 2.43,
    "group_width": 40,
    "se_ratio": 0.0,
    "stem_channels": 32,
    "out_features": ["s1", "s2", "s3", "s4"],
    "freeze_at": 2,
}


def settings_of_model(o: Objects) -> dict[str, Any]:
    """The YAML settings equivalent to the tree below "model"; those of FCOS without its head."""
    translate = translator("model.kind", kind := o("model.kind"))
    if not translate:
        o.require("model.kind", "GeneralizedRCNN", "ProposalNetwork", "RetinaNet", "FCOS")
    settings: dict[str, Any] = {
        "MODEL.PIXEL_MEAN": o("model.pixel_mean"),
        "MODEL.PIXEL_STD": o("model.pixel_std"),
        "INPUT.FORMAT": o("model.input_format", None) or o("dataloader.train.mapper.image_format", "BGR"),
        **_backbone(o),
    }
    if translate:
        return {**settings, **translate(o)}
    if kind == "FCOS":
        return settings | {"MODEL.RETINANET.NUM_CLASSES": o("model.num_classes")}
    settings["MODEL.META_ARCHITECTURE"] = kind
    if kind == "RetinaNet":
        return settings | _retinanet(o)
    return settings | (settings_of_rcnn(o) if kind == "GeneralizedRCNN" else _proposals(o))


def settings_of_rcnn(o: Objects) -> dict[str, Any]:
    """The settings of both stages of an R-CNN."""
    return _proposals(o) | settings_of_roi_heads(o)


def _backbone(o: Objects) -> dict[str, Any]:
    if translator("model.backbone.kind", o("model.backbone.kind")):
        return {}
    kind = o.require("model.backbone.kind", "FPN", "ResNet")
    if kind == "ResNet":
        return {"MODEL.BACKBONE.NAME": "build_resnet_backbone", **_resnet(o, "model.backbone")}
    bottom_up = o("model.backbone.bottom_up.kind")
    if not translator("model.backbone.bottom_up.kind", bottom_up):
        o.require("model.backbone.bottom_up.kind", "ResNet", "RegNet")
    top = o.require("model.backbone.top_block.kind", "LastLevelMaxPool", "LastLevelP6P7")
    o.ignore("model.backbone.top_block.in_channels", "model.backbone.top_block.out_channels")
    with_top = {"LastLevelMaxPool": "build_resnet_fpn_backbone", "LastLevelP6P7": "build_retinanet_resnet_fpn_backbone"}
    return {
        "MODEL.BACKBONE.NAME": with_top[top],
        **o.renamed("model.backbone", FPN),
        "MODEL.FPN.NORM": o.norm("model.backbone.norm"),
        **(_resnet(o, "model.backbone.bottom_up") if bottom_up == "ResNet" else {}),
    }


def regnet(o: Objects, path: str) -> tuple[dict[str, Any], dict[str, int]]:
    """The node of a RegNet, and the strides of its levels."""
    o.require(f"{path}.stem_class", "SimpleStem")
    o.require(f"{path}.block_class", "ResBottleneckBlock")
    for argument, value in (("stride", 2), ("bottleneck_ratio", 1.0), ("activation_class", None)):
        o.require(f"{path}.{argument}", value, default=value)
    node = {"type": "regnet"}
    node |= {name: value for name, value in o.renamed(path, REGNET).items() if value != REGNET_DEFAULTS[name]}
    if (norm := o.norm(f"{path}.norm", "BN")) != "FrozenBN":
        node["norm"] = norm
    strides = {name: 2 ** (2 + i) for i, name in enumerate(REGNET_DEFAULTS["out_features"])}
    return node, {name: strides.get(name, 0) for name in o(f"{path}.out_features")}


def _resnet(o: Objects, path: str) -> dict[str, Any]:
    o.require(f"{path}.stem.kind", "BasicStem")
    o.require(f"{path}.stages.kind", "make_default_stages")
    o.require(f"{path}.stem.in_channels", 3, default=3)
    norm = o.norm(f"{path}.stages.norm", "BN")
    if (of_stem := o.norm(f"{path}.stem.norm", "BN")) != norm:
        raise UnsupportedError(
            f"{path}.stem.norm", f"must be the norm of the stages, {norm!r}", f"got {quoted(of_stem)}"
        )
    settings = {**o.renamed(path, RESNET), "MODEL.RESNETS.NORM": norm}
    settings["MODEL.RESNETS.RES2_OUT_CHANNELS"] = 64 if settings["MODEL.RESNETS.DEPTH"] < 50 else 256
    return settings


def _anchors(o: Objects, path: str) -> dict[str, Any]:
    o.require(f"{path}.kind", "DefaultAnchorGenerator")
    o.ignore(f"{path}.strides")  # given by the backbone
    return o.renamed(path, ANCHORS)


def _proposals(o: Objects) -> dict[str, Any]:
    path = "model.proposal_generator"
    o.require(f"{path}.kind", "RPN")
    o.require(f"{path}.head.kind", "StandardRPNHead")
    o.require(f"{path}.anchor_matcher.allow_low_quality_matches", True, default=False)
    o.ignore(f"{path}.anchor_matcher.kind", f"{path}.box2box_transform.kind")
    o.ignore(f"{path}.head.in_channels", f"{path}.head.num_anchors")
    settings = {**o.renamed(path, RPN), **_anchors(o, f"{path}.anchor_generator")}
    for name in ("pre", "post"):
        train, test = o(f"{path}.{name}_nms_topk")
        settings |= {f"MODEL.RPN.{name.upper()}_NMS_TOPK_{key}": n for key, n in (("TRAIN", train), ("TEST", test))}
    return settings


def _retinanet(o: Objects) -> dict[str, Any]:
    o.require("model.head.kind", "RetinaNetHead", "RetinaNetHead_SharedTrainingBN")
    o.require("model.anchor_matcher.allow_low_quality_matches", True, default=False)
    o.ignore("model.anchor_matcher.kind", "model.box2box_transform.kind")
    o.ignore("model.head.input_shape", "model.head.num_anchors", "model.head.num_classes", "model.head.kind")
    return {
        **o.renamed("model", RETINANET),
        **_anchors(o, "model.anchor_generator"),
        "MODEL.RETINANET.NUM_CONVS": len(_widths(o, "model.head.conv_dims", o("model.backbone.out_channels"))),
        "MODEL.RETINANET.NORM": o.norm("model.head.norm"),
    }


def level_norms_of_head(o: Objects) -> str:
    """Norm sharing over the levels of a head: a norm given by class, not by name, is shared by all levels."""
    if o("model.head.kind", "") == "RetinaNetHead_SharedTrainingBN":
        return "joint"
    return "shared" if o("model.head.norm", "") in ("BatchNorm2d", "SyncBatchNorm", "SyncBatchNorm2d") else "own"


def fcos_head(o: Objects, strides: Mapping[str, int]) -> dict[str, Any]:
    """The node of FCOS's head, for a backbone of these strides."""
    o.require("model.head.kind", "FCOSHead")
    o.ignore("model.head.input_shape", "model.head.num_classes")
    node: dict[str, Any] = {"type": "fcos_head"}
    defaults = dict(FCOS.values())
    node |= {name: value for name, value in o.renamed("model", FCOS).items() if value != defaults[name]}
    levels = list(o("model.head_in_features"))
    if levels != list(strides):
        node["in_features"] = levels
    if (widths := _widths(o, "model.head.conv_dims", o("model.backbone.out_channels"))) != [-1] * 4:
        node["conv_dims"] = widths
    if (norm := o.norm("model.head.norm")) != "GN":
        node["norm"] = norm
    if (level_norms := level_norms_of_head(o)) != "own":
        node["level_norms"] = level_norms
    return node


def _widths(o: Objects, path: str, channels: int) -> list[int]:
    """Channel counts, which must equal the input channels; each as -1."""
    widths = list(o(path))
    if any(width != channels for width in widths):
        raise UnsupportedError(path, "must keep the number of channels", f"got {widths} after {channels}")
    return [-1] * len(widths)
