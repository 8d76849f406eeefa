"""Detectron2's settings as recipes.

Settings are flat, {"MODEL.RPN.NMS_THRESH": 0.7}, and may omit Detectron2's defaults. Settings that change what a model
computes are either translated or refused; of the others, those without a counterpart are listed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from det_detectron2.importer.detectron2_dense import retinanet_head
from det_detectron2.importer.detectron2_heads import second_stage
from det_detectron2.importer.detectron2_ignored_settings import mark_ignored_settings
from det_detectron2.importer.detectron2_semantic import sem_seg_head
from det_detectron2.importer.detectron2_training import data_section, train_section
from det_detectron2.importer.detectron2_weights import weights_section
from det_detectron2.importer.extensions import extensions, translator
from det_detectron2.importer.settings import Settings, UnsupportedError, per_level

__all__ = [
    "Backbone",
    "Imported",
    "UnsupportedError",
    "backbone_section",
    "complete_tree",
    "input_section",
    "model_section",
    "recipe_from_yaml_settings",
    "resnet_section",
    "rpn_section",
]

_MODELS = ("GeneralizedRCNN", "ProposalNetwork", "RetinaNet", "SemanticSegmentor")
_BACKBONES = ("build_resnet_backbone", "build_resnet_fpn_backbone", "build_retinanet_resnet_fpn_backbone")
_STRIDES = {"res2": 4, "res3": 8, "res4": 16, "res5": 32}


@dataclass(frozen=True)
class Imported:
    """A translated configuration.

    Attributes:
        tree: recipe as plain data, for `det_core.recipes.recipe_from_tree`.
        unknown: settings unknown to Detectron2 itself, such as those of other projects.
        unused: settings with an effect in Detectron2 and without a counterpart here.
    """

    tree: dict[str, Any]
    unknown: list[str]
    unused: list[str]


# Setting -> our argument and our default. Our defaults are those of the published feature-pyramid configurations.
RESNET = {
    "MODEL.RESNETS.DEPTH": ("depth", 50),
    "MODEL.BACKBONE.FREEZE_AT": ("freeze_at", 2),
    "MODEL.RESNETS.STRIDE_IN_1X1": ("stride_in_1x1", True),
    "MODEL.RESNETS.NUM_GROUPS": ("groups", 1),
    "MODEL.RESNETS.WIDTH_PER_GROUP": ("width_per_group", 64),
    "MODEL.RESNETS.STEM_OUT_CHANNELS": ("stem_channels", 64),
    "MODEL.RESNETS.RES5_DILATION": ("res5_dilation", 1),
}
FPN = {"MODEL.FPN.OUT_CHANNELS": ("out_channels", 256), "MODEL.FPN.FUSE_TYPE": ("fuse", "sum")}
ANCHORS = {"MODEL.ANCHOR_GENERATOR.OFFSET": ("offset", 0.0)}
RPN_HEAD = {"MODEL.RPN.CONV_DIMS": ("conv_dims", [-1])}
RPN = {
    "MODEL.RPN.IOU_THRESHOLDS": ("iou_thresholds", [0.3, 0.7]),
    "MODEL.RPN.IOU_LABELS": ("iou_labels", [0, -1, 1]),
    "MODEL.RPN.BATCH_SIZE_PER_IMAGE": ("batch_size_per_image", 256),
    "MODEL.RPN.POSITIVE_FRACTION": ("positive_fraction", 0.5),
    "MODEL.RPN.BOUNDARY_THRESH": ("boundary_threshold", -1),
    "MODEL.RPN.BBOX_REG_WEIGHTS": ("box_weights", [1.0, 1.0, 1.0, 1.0]),
    "MODEL.RPN.BBOX_REG_LOSS_TYPE": ("box_loss", "smooth_l1"),
    "MODEL.RPN.SMOOTH_L1_BETA": ("smooth_l1_beta", 0.0),
    "MODEL.RPN.LOSS_WEIGHT": ("loss_weight", 1.0),
    "MODEL.RPN.BBOX_REG_LOSS_WEIGHT": ("box_loss_weight", 1.0),
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": ("pre_nms_topk_train", 2000),
    "MODEL.RPN.PRE_NMS_TOPK_TEST": ("pre_nms_topk_test", 1000),
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": ("post_nms_topk_train", 1000),
    "MODEL.RPN.POST_NMS_TOPK_TEST": ("post_nms_topk_test", 1000),
    "MODEL.RPN.NMS_THRESH": ("nms_threshold", 0.7),
    "MODEL.PROPOSAL_GENERATOR.MIN_SIZE": ("min_size", 0),
}


def recipe_from_yaml_settings(settings: Mapping[str, Any], summary: str = "") -> Imported:
    """The recipe of a published configuration that is a YAML file; `files.recipe_from_settings` takes both kinds.

    Args:
        settings: flat, with dots in the names; missing ones have Detectron2's default.
        summary: the summary of the recipe.

    Raises:
        UnsupportedError: the configuration needs a part without a counterpart here.
    """
    s = Settings(settings)
    tree = complete_tree(s, model_section(s), summary)
    unknown, unused = s.leftover()
    return Imported(tree, unknown, unused)


def complete_tree(
    s: Settings, model: dict[str, Any], summary: str = "", objects: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The recipe of a model, with everything around it; `objects` are the settings of a Python file."""
    tree: dict[str, Any] = {"summary": summary} if summary else {}
    tree["model"] = model
    if weights := weights_section(s, model):
        tree["weights"] = weights
    tree["data"] = data_section(s)
    tree["train"] = train_section(s)
    if model["type"] == "proposal_network":
        tree["data"]["evaluators"] = [{"type": "proposal_recall"}]
        tree["train"]["best_metric"] = "loss"
    for extension in extensions():
        if extension.complete and extension.concerns({**s.given, **(objects or {})}):
            extension.complete(s, tree)
    mark_ignored_settings(s)
    return tree


class Backbone(NamedTuple):
    """The node of a backbone, and the strides of its levels.

    Attributes:
        whole: whether it is all of the backbone, not the network underneath a pyramid.
    """

    node: dict[str, Any]
    strides: dict[str, int]
    whole: bool = False


def model_section(s: Settings, replacement: Backbone | None = None) -> dict[str, Any]:
    """Model node; `replacement` takes the place of the network that the settings describe."""
    if translate := translator("MODEL.META_ARCHITECTURE", s.peek("MODEL.META_ARCHITECTURE")):
        s.read("MODEL.META_ARCHITECTURE")
        whole: dict[str, Any] = translate(s)
        return whole
    kind = s.require("MODEL.META_ARCHITECTURE", *_MODELS)
    if kind == "RetinaNet":
        backbone, strides = backbone_section(s, replacement)
        head = retinanet_head(s, strides)
        return {
            "type": "dense_detector",
            **input_section(s, "MODEL.RETINANET.NUM_CLASSES"),
            "backbone": backbone,
            "head": head,
        }
    if kind == "SemanticSegmentor":
        backbone, strides = backbone_section(s, replacement)
        common = input_section(s, "MODEL.SEM_SEG_HEAD.NUM_CLASSES")
        return {"type": "semantic_segmentor", **common, "backbone": backbone, **sem_seg_head(s, strides)}
    backbone, strides = backbone_section(s, replacement)
    model: dict[str, Any] = {
        "type": "proposal_network",
        **input_section(s, "MODEL.ROI_HEADS.NUM_CLASSES"),
        "backbone": backbone,
        **_proposal_generator(s, strides),
    }
    if kind == "GeneralizedRCNN":
        model |= second_stage(s, strides)
    return model


def _proposal_generator(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The entry `proposal_generator` of a model, {} for the default."""
    if translate := translator("MODEL.PROPOSAL_GENERATOR.NAME", s["MODEL.PROPOSAL_GENERATOR.NAME"]):
        return {"proposal_generator": translate(s, strides)}
    if s.require("MODEL.PROPOSAL_GENERATOR.NAME", "RPN", "RRPN", "PrecomputedProposals") == "PrecomputedProposals":
        s.require("MODEL.META_ARCHITECTURE", "GeneralizedRCNN")
        s.read("MODEL.LOAD_PROPOSALS")
        return {"proposal_generator": None}
    proposals = rpn_section(s, strides)
    return {"proposal_generator": {"type": "rpn", **proposals}} if proposals else {}


def input_section(s: Settings, num_classes: str) -> dict[str, Any]:
    """The arguments that all models have."""
    return {
        "num_classes": s[num_classes],
        "pixel_mean": s["MODEL.PIXEL_MEAN"],
        "pixel_std": s["MODEL.PIXEL_STD"],
        "channel_order": s.require("INPUT.FORMAT", "BGR", "RGB"),
    }


def resnet_section(s: Settings) -> Backbone:
    """The ResNet that the settings describe."""
    node = {"type": "resnet", **s.differing(RESNET), **_deformable(s)}
    if (norm := s.norm("MODEL.RESNETS.NORM")) != "FrozenBN":
        node["norm"] = norm
    if (channels := s["MODEL.RESNETS.RES2_OUT_CHANNELS"]) != (64 if node.get("depth", 50) < 50 else 256):
        node["res2_channels"] = channels
    levels = list(s["MODEL.RESNETS.OUT_FEATURES"])
    if levels != list(_STRIDES):
        node["out_features"] = levels
    strides = {level: _STRIDES[level] for level in levels if level in _STRIDES}
    if node.get("res5_dilation", 1) != 1 and "res5" in strides:
        strides["res5"] = 16
    return Backbone(node, strides)


def backbone_section(s: Settings, replacement: Backbone | None = None) -> tuple[dict[str, Any], dict[str, int]]:
    """The node of the backbone, and the strides of its levels."""
    if replacement and replacement.whole:
        return replacement.node, replacement.strides
    if translate := translator("MODEL.BACKBONE.NAME", s["MODEL.BACKBONE.NAME"]):
        node, strides, _ = translate(s)
        return node, strides
    name = s.require("MODEL.BACKBONE.NAME", *_BACKBONES)
    node, strides, _ = replacement or resnet_section(s)
    if name == "build_resnet_backbone":
        return node, strides
    above: dict[str, Any] = {"type": "fpn", **s.differing(FPN)}
    if norm := s.norm("MODEL.FPN.NORM"):
        above["norm"] = norm
    levels = list(s["MODEL.FPN.IN_FEATURES"])
    if levels != list(strides):
        above["in_features"] = levels
    names = [int(strides[level]).bit_length() - 1 for level in levels if level in strides]
    on_top = 1
    if name == "build_retinanet_resnet_fpn_backbone":
        above["top"], on_top = "convolutions", 2
    names += [max(names, default=0) + 1 + i for i in range(on_top)]
    return {**above, "bottom_up": node}, {f"p{level}": 2**level for level in names}


def _deformable(s: Settings) -> dict[str, Any]:
    """Stages with deformable convolutions, and their kind."""
    stages = [stage for stage, on in zip(_STRIDES, s["MODEL.RESNETS.DEFORM_ON_PER_STAGE"], strict=True) if on]
    if not stages:
        return {}
    node: dict[str, Any] = {"deformable_stages": stages}
    if s["MODEL.RESNETS.DEFORM_MODULATED"]:
        node["deformable"] = "v2"
    if (groups := s["MODEL.RESNETS.DEFORM_NUM_GROUPS"]) != 1:
        node["deformable_groups"] = groups
    return node


def _anchors(s: Settings, strides: list[int], rotated: bool) -> dict[str, Any]:
    """The arguments of the anchors that are not their defaults; strides are those of their levels."""
    anchors: dict[str, Any] = {}
    if (sizes := per_level(s["MODEL.ANCHOR_GENERATOR.SIZES"])) != [[8 * stride] for stride in strides]:
        anchors["sizes"] = sizes
    if (ratios := per_level(s["MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS"])) != [[0.5, 1.0, 2.0]]:
        anchors["aspect_ratios"] = ratios
    if rotated:
        anchors["angles"] = per_level(s["MODEL.ANCHOR_GENERATOR.ANGLES"])
    return anchors | s.differing(ANCHORS)


def rpn_section(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The arguments of an `rpn` that are not its defaults."""
    rotated = s["MODEL.PROPOSAL_GENERATOR.NAME"] == "RRPN"
    own_anchors = translator("MODEL.ANCHOR_GENERATOR.NAME", s["MODEL.ANCHOR_GENERATOR.NAME"])
    if own_anchors is None:
        s.require("MODEL.ANCHOR_GENERATOR.NAME", "RotatedAnchorGenerator" if rotated else "DefaultAnchorGenerator")
    own_head = translator("MODEL.RPN.HEAD_NAME", s["MODEL.RPN.HEAD_NAME"])
    if own_head is None:
        s.require("MODEL.RPN.HEAD_NAME", "StandardRPNHead")
    node = s.differing(RPN)
    levels = list(s["MODEL.RPN.IN_FEATURES"])
    if levels != list(strides):
        node["in_features"] = levels
    anchors = own_anchors(s) if own_anchors else _anchors(s, [strides.get(level, 0) for level in levels], rotated)
    if anchors:
        node["anchor_generator"] = anchors
    if head := own_head(s) if own_head else s.differing(RPN_HEAD):
        node["head"] = head
    return node
