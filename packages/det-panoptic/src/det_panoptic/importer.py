"""Panoptic FPN, DeepLab and Panoptic-DeepLab settings of Detectron2's configuration files."""

from collections.abc import Mapping
from typing import Any

from det_core.zoo.class_names import COCO_CLASSES
from det_detectron2.importer.detectron2 import RESNET, Backbone, backbone_section, input_section, rpn_section
from det_detectron2.importer.detectron2_heads import second_stage
from det_detectron2.importer.detectron2_semantic import sem_seg_head
from det_detectron2.importer.lazy_model import settings_of_rcnn
from det_detectron2.importer.lazy_objects import NEEDED, Objects
from det_detectron2.importer.settings import Settings, UnsupportedError

from det_panoptic.names import CITYSCAPES_THINGS
from det_panoptic.published import DATASETS, DEFAULTS, evaluators

__all__ = ["EXTENSION"]

# Setting -> our argument and our default.
DEEPLAB_RESNET = {
    **{key: value for key, value in RESNET.items() if key not in ("MODEL.BACKBONE.FREEZE_AT", "MODEL.RESNETS.DEPTH")},
    "MODEL.RESNETS.DEPTH": ("depth", 50),
    "MODEL.BACKBONE.FREEZE_AT": ("freeze_at", 0),
    "MODEL.RESNETS.STRIDE_IN_1X1": ("stride_in_1x1", False),
    "MODEL.RESNETS.STEM_TYPE": ("stem", "deeplab"),
    "MODEL.RESNETS.STEM_OUT_CHANNELS": ("stem_channels", 128),
    "MODEL.RESNETS.RES2_OUT_CHANNELS": ("res2_channels", 256),
    "MODEL.RESNETS.RES4_DILATION": ("res4_dilation", 1),
    "MODEL.RESNETS.RES5_DILATION": ("res5_dilation", 2),
    "MODEL.RESNETS.RES5_MULTI_GRID": ("multi_grid", [1, 2, 4]),
}
_ASPP = {
    "ASPP_CHANNELS": ("aspp_channels", 256),
    "ASPP_DILATIONS": ("aspp_dilations", [6, 12, 18]),
    "ASPP_DROPOUT": ("aspp_dropout", 0.1),
}
_SEMANTIC = {
    **{f"MODEL.SEM_SEG_HEAD.{key}": value for key, value in _ASPP.items()},
    "MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV": ("separable", False),
    "MODEL.SEM_SEG_HEAD.LOSS_TYPE": ("loss", "hard_pixel_mining"),
    "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT": ("loss_weight", 1.0),
    "MODEL.SEM_SEG_HEAD.IGNORE_VALUE": ("ignore", 255),
}
_DECODER = {
    **_SEMANTIC,
    "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS": ("project_channels", [48]),
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": ("decoder_channels", 256),
}
_SEMANTIC_BRANCH = {
    **_DECODER,
    "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS": ("project_channels", [32, 64]),
    "MODEL.SEM_SEG_HEAD.HEAD_CHANNELS": ("head_channels", 256),
    "MODEL.SEM_SEG_HEAD.LOSS_TOP_K": ("loss_top_k", 0.2),
}
_INSTANCE_BRANCH = {
    **{f"MODEL.INS_EMBED_HEAD.{key}": value for key, value in _ASPP.items()},
    "MODEL.INS_EMBED_HEAD.PROJECT_CHANNELS": ("project_channels", [32, 64]),
    "MODEL.INS_EMBED_HEAD.CONVS_DIM": ("decoder_channels", 128),
    "MODEL.INS_EMBED_HEAD.HEAD_CHANNELS": ("head_channels", 32),
    "MODEL.INS_EMBED_HEAD.CENTER_LOSS_WEIGHT": ("center_loss_weight", 200.0),
    "MODEL.INS_EMBED_HEAD.OFFSET_LOSS_WEIGHT": ("offset_loss_weight", 0.01),
    "MODEL.PANOPTIC_DEEPLAB.USE_DEPTHWISE_SEPARABLE_CONV": ("separable", False),
}
_GROUPING = {
    "MODEL.PANOPTIC_DEEPLAB.CENTER_THRESHOLD": ("threshold", 0.1),
    "MODEL.PANOPTIC_DEEPLAB.NMS_KERNEL": ("nms_kernel", 7),
    "MODEL.PANOPTIC_DEEPLAB.TOP_K_INSTANCE": ("top_k", 200),
    "MODEL.PANOPTIC_DEEPLAB.STUFF_AREA": ("stuff_area", 2048),
}
_TARGETS = {
    "INPUT.GAUSSIAN_SIGMA": ("sigma", 10),
    "INPUT.IGNORE_STUFF_IN_OFFSET": ("ignore_stuff_in_offset", True),
    "INPUT.SMALL_INSTANCE_AREA": ("small_area", 4096),
    "INPUT.SMALL_INSTANCE_WEIGHT": ("small_weight", 3.0),
    "INPUT.IGNORE_CROWD_IN_SEMANTIC": ("ignore_crowd_in_semantic", False),
}
_MERGING = {
    "MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH": ("overlap_threshold", 0.5),
    "MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT": ("stuff_area", 4096.0),
    "MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH": ("score_threshold", 0.5),
}
_SCHEDULE = {
    "SOLVER.POLY_LR_POWER": ("power", 0.9),
    "SOLVER.POLY_LR_CONSTANT_ENDING": ("end", 0.0),
    "SOLVER.WARMUP_ITERS": ("warmup", 1000),
    "SOLVER.WARMUP_FACTOR": ("warmup_start", 0.001),
}
# Arguments of the published classes, in configurations that are Python files.
_LAZY_SEMANTIC = {
    "num_classes": ("MODEL.SEM_SEG_HEAD.NUM_CLASSES", NEEDED),
    "conv_dims": ("MODEL.SEM_SEG_HEAD.CONVS_DIM", NEEDED),
    "common_stride": ("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", NEEDED),
    "loss_weight": ("MODEL.SEM_SEG_HEAD.LOSS_WEIGHT", 1.0),
    "ignore_value": ("MODEL.SEM_SEG_HEAD.IGNORE_VALUE", -1),
}
_LAZY_MERGING = {
    "combine_overlap_thresh": ("MODEL.PANOPTIC_FPN.COMBINE.OVERLAP_THRESH", 0.5),
    "combine_stuff_area_thresh": ("MODEL.PANOPTIC_FPN.COMBINE.STUFF_AREA_LIMIT", 4096),
    "combine_instances_score_thresh": ("MODEL.PANOPTIC_FPN.COMBINE.INSTANCES_CONFIDENCE_THRESH", 0.5),
}


def _panoptic_fpn(s: Settings) -> dict[str, Any]:
    """The node of Panoptic FPN."""
    s.require("MODEL.PROPOSAL_GENERATOR.NAME", "RPN")
    s.require("MODEL.MASK_ON", True)
    s.require("MODEL.KEYPOINT_ON", False)
    s.require("MODEL.PANOPTIC_FPN.INSTANCE_LOSS_WEIGHT", 1.0)
    s.read("MODEL.PANOPTIC_FPN.COMBINE.ENABLED")  # ignored by the published code too
    backbone, strides = backbone_section(s)
    common = input_section(s, "MODEL.ROI_HEADS.NUM_CLASSES")
    model = {
        "type": "panoptic_fpn",
        "num_things": common.pop("num_classes"),
        "num_stuff": s["MODEL.SEM_SEG_HEAD.NUM_CLASSES"] - 1,
        **common,
        "backbone": backbone,
    }
    if proposals := rpn_section(s, strides):
        model["proposal_generator"] = {"type": "rpn", **proposals}
    model |= {name: node for name, node in second_stage(s, strides).items() if name != "type"}
    semantic = sem_seg_head(s, strides).get("sem_seg_head", {"type": "sem_seg_fpn_head"})
    if semantic != {"type": "sem_seg_fpn_head", "loss_weight": 0.5}:
        model["sem_seg_head"] = semantic
    if merging := s.differing(_MERGING):
        model["merging"] = {name: int(v) if name == "stuff_area" else v for name, v in merging.items()}
    return model


def _lazy_panoptic_fpn(o: Objects) -> dict[str, Any]:
    """The YAML settings of Panoptic FPN."""
    o.require("model.sem_seg_head.kind", "SemSegFPNHead")
    levels = [key.split(".")[3] for key in o.given if key.startswith("model.sem_seg_head.input_shape.")]
    o.ignore("model.sem_seg_head.input_shape")
    return {
        "MODEL.META_ARCHITECTURE": "PanopticFPN",
        **settings_of_rcnn(o),
        **o.renamed("model.sem_seg_head", _LAZY_SEMANTIC),
        **o.renamed("model", _LAZY_MERGING),
        "MODEL.SEM_SEG_HEAD.NAME": "SemSegFPNHead",
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": list(dict.fromkeys(levels)),
        "MODEL.SEM_SEG_HEAD.NORM": o.norm("model.sem_seg_head.norm"),
    }


def _deeplab_resnet(s: Settings) -> Backbone:
    """The dilated ResNet."""
    node = {"type": "deeplab_resnet", **s.differing(DEEPLAB_RESNET)}
    if (norm := s.norm("MODEL.RESNETS.NORM")) != "SyncBN":
        node["norm"] = norm
    stages = ("res2", "res3", "res4", "res5")
    deformable = [name for name, on in zip(stages, s["MODEL.RESNETS.DEFORM_ON_PER_STAGE"], strict=True) if on]
    if deformable:
        node["deformable_stages"] = deformable
        if s["MODEL.RESNETS.DEFORM_MODULATED"]:
            node["deformable"] = "v2"
        if (groups := s["MODEL.RESNETS.DEFORM_NUM_GROUPS"]) != 1:
            node["deformable_groups"] = groups
    levels = list(s["MODEL.RESNETS.OUT_FEATURES"])
    if levels != list(stages):
        node["out_features"] = levels
    res4 = 8 if s["MODEL.RESNETS.RES4_DILATION"] > 1 else 16
    res5 = res4 if s["MODEL.RESNETS.RES5_DILATION"] > 1 else 2 * res4
    strides = dict(zip(stages, (4, 8, res4, res5), strict=True))
    return Backbone(node, {name: strides[name] for name in levels}, whole=True)


def _train_size(s: Settings) -> dict[str, Any]:
    if not s["INPUT.CROP.ENABLED"]:
        return {}
    s.require("INPUT.CROP.TYPE", "absolute")
    return {"train_size": list(s["INPUT.CROP.SIZE"])}


def _head(
    s: Settings, strides: Mapping[str, int], section: str, table: Mapping[str, tuple[str, Any]], default: list[str]
) -> dict[str, Any]:
    """Arguments of all heads with a decoder."""
    node = s.differing(table)
    levels = list(s[f"{section}.IN_FEATURES"])
    if sorted(levels, key=lambda name: strides[name]) != default:
        node["in_features"] = levels
    s.read(f"{section}.PROJECT_FEATURES")  # ignored by the published code too
    s.require(f"{section}.COMMON_STRIDE", min(strides[name] for name in levels))
    if (norm := s.norm(f"{section}.NORM")) != "SyncBN":
        node["norm"] = norm
    return node | _train_size(s)


def _deeplab_v3(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    node = {"type": "deeplab_v3_head", **s.differing(_SEMANTIC)}
    levels = list(s["MODEL.SEM_SEG_HEAD.IN_FEATURES"])
    if len(levels) != 1:
        raise UnsupportedError("MODEL.SEM_SEG_HEAD.IN_FEATURES", "must be one level for DeepLabV3Head", f"got {levels}")
    if levels != [max(strides, key=lambda name: strides[name])]:
        node["in_feature"] = levels[0]
    s.require("MODEL.SEM_SEG_HEAD.CONVS_DIM", s["MODEL.SEM_SEG_HEAD.ASPP_CHANNELS"])
    s.require("MODEL.SEM_SEG_HEAD.COMMON_STRIDE", strides[levels[0]])
    if (norm := s.norm("MODEL.SEM_SEG_HEAD.NORM")) != "SyncBN":
        node["norm"] = norm
    return node | _train_size(s)


def _deeplab_v3_plus(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    ordered = sorted(strides, key=lambda name: strides[name])
    node = _head(s, strides, "MODEL.SEM_SEG_HEAD", _DECODER, [ordered[0], ordered[-1]])
    return {"type": "deeplab_v3_plus_head", **node}


def _panoptic_deeplab(s: Settings) -> dict[str, Any]:
    """The node of Panoptic-DeepLab."""
    s.require("MODEL.SEM_SEG_HEAD.NAME", "PanopticDeepLabSemSegHead")
    s.require("MODEL.INS_EMBED_HEAD.NAME", "PanopticDeepLabInsEmbedHead")
    s.require(
        "MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV", s["MODEL.PANOPTIC_DEEPLAB.USE_DEPTHWISE_SEPARABLE_CONV"]
    )
    s.require("MODEL.PANOPTIC_DEEPLAB.BENCHMARK_NETWORK_SPEED", False)
    backbone, strides = backbone_section(s)
    model = {
        "type": "panoptic_deeplab",
        **input_section(s, "MODEL.SEM_SEG_HEAD.NUM_CLASSES"),
        "things": _things(s),
        "backbone": backbone,
    }
    levels = ["res2", "res3", "res5"]
    for name, section, table in (
        ("sem_seg_head", "MODEL.SEM_SEG_HEAD", _SEMANTIC_BRANCH),
        ("ins_embed_head", "MODEL.INS_EMBED_HEAD", _INSTANCE_BRANCH),
    ):
        if node := _head(s, strides, section, table, levels):
            model[name] = node
    for name, arguments in (("grouping", s.differing(_GROUPING)), ("targets", s.differing(_TARGETS))):
        if arguments:
            model[name] = arguments
    if (divisibility := s["MODEL.PANOPTIC_DEEPLAB.SIZE_DIVISIBILITY"]) > 0:
        model["size_divisibility"] = divisibility
    if not s["MODEL.PANOPTIC_DEEPLAB.PREDICT_INSTANCES"]:
        model["predict_instances"] = False
    return model


def _things(s: Settings) -> list[int]:
    """Labels of the thing classes of the training set."""
    names = s.peek("DATASETS.TRAIN")
    if names and names[0].startswith("coco_2017_"):
        return list(range(len(COCO_CLASSES)))
    if names and names[0].startswith("cityscapes_fine_panoptic_"):
        return list(CITYSCAPES_THINGS)
    problem = "is unknown, and so are its thing classes"
    raise UnsupportedError("DATASETS.TRAIN", problem, f"got {names!r}", "name a panoptic set of COCO or Cityscapes")


PARTS = {
    ("MODEL.META_ARCHITECTURE", "PanopticFPN"): _panoptic_fpn,
    ("MODEL.META_ARCHITECTURE", "PanopticDeepLab"): _panoptic_deeplab,
    ("MODEL.BACKBONE.NAME", "build_resnet_deeplab_backbone"): _deeplab_resnet,
    ("MODEL.SEM_SEG_HEAD.NAME", "DeepLabV3Head"): _deeplab_v3,
    ("MODEL.SEM_SEG_HEAD.NAME", "DeepLabV3PlusHead"): _deeplab_v3_plus,
    ("model.kind", "PanopticFPN"): _lazy_panoptic_fpn,
}


def complete(s: Settings, tree: dict[str, Any]) -> None:
    """Settings of the projects beside the model: schedule, optimizer, order of the transforms, evaluators."""
    kind = tree["model"]["type"]
    if kind not in ("panoptic_fpn", "panoptic_deeplab", "semantic_segmentor"):
        return
    train, data = tree["train"], tree["data"]
    if s.peek("SOLVER.LR_SCHEDULER_NAME") == "WarmupPolyLR" and s.peek("SOLVER.WARMUP_METHOD") == "linear":
        s.read("SOLVER.LR_SCHEDULER_NAME", "SOLVER.WARMUP_METHOD", "SOLVER.STEPS", "SOLVER.GAMMA")
        train["schedule"] = {"type": "det_core.engine:WarmupPoly", **s.differing(_SCHEDULE)}
    if kind != "panoptic_fpn":
        crops = [each for each in data["train_transforms"] if each["type"] == "det_core.data:RandomCrop"]
        if (share := s["INPUT.CROP.SINGLE_CATEGORY_MAX_AREA"]) < 1:
            crops = [{**crop, "max_class_share": share} for crop in crops]
        others = [each for each in data["train_transforms"] if each["type"] != "det_core.data:RandomCrop"]
        data["train_transforms"] = [*others[:1], *crops, *others[1:]]
    if kind == "panoptic_deeplab" and s["SOLVER.OPTIMIZER"] == "ADAM":
        s.read("SOLVER.MOMENTUM", "SOLVER.NESTEROV")
        decay = s["SOLVER.WEIGHT_DECAY"]
        train["optimizer"] = {"type": "torch.optim:Adam", "lr": s["SOLVER.BASE_LR"], "weight_decay": decay}
    if metrics := evaluators(kind, s.peek("DATASETS.TEST")):
        data["evaluators"] = metrics


EXTENSION = {"defaults": DEFAULTS, "datasets": DATASETS, "parts": PARTS, "complete": complete}
