"""Detectron2's RoI head settings as those of a recipe."""

from collections.abc import Mapping
from typing import Any

from det_core.printable import quoted

from det_detectron2.importer.extensions import translator
from det_detectron2.importer.settings import Settings, UnsupportedError

__all__ = [
    "BOX_HEAD",
    "BOX_PREDICTOR",
    "CASCADE",
    "KEYPOINT_HEAD",
    "MASK_HEAD",
    "RES5",
    "ROI_HEADS",
    "levels_section",
    "roi_heads_section",
    "second_stage",
]

# Setting -> our argument and our default.
BOX_HEAD = {
    "MODEL.ROI_BOX_HEAD.NUM_CONV": ("num_conv", 0),
    "MODEL.ROI_BOX_HEAD.CONV_DIM": ("conv_dim", 256),
    "MODEL.ROI_BOX_HEAD.NUM_FC": ("num_fc", 2),
    "MODEL.ROI_BOX_HEAD.FC_DIM": ("fc_dim", 1024),
}
BOX_PREDICTOR = {
    "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": ("class_agnostic", False),
    "MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS": ("box_weights", [10.0, 10.0, 5.0, 5.0]),
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE": ("box_loss", "smooth_l1"),
    "MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA": ("smooth_l1_beta", 0.0),
    "MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_WEIGHT": ("box_loss_weight", 1.0),
    "MODEL.ROI_HEADS.SCORE_THRESH_TEST": ("score_threshold", 0.05),
    "MODEL.ROI_HEADS.NMS_THRESH_TEST": ("nms_threshold", 0.5),
    "TEST.DETECTIONS_PER_IMAGE": ("max_detections", 100),
}
FEDERATED = {
    "MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES": ("classes", 50),
    "MODEL.ROI_BOX_HEAD.FED_LOSS_FREQ_WEIGHT_POWER": ("power", 0.5),
}
# Published training set -> its annotations, relative to the data folder.
LVIS_TRAIN = {f"lvis_{version}_train": f"lvis/lvis_{version}_train.json" for version in ("v1", "v0.5")}
ROI_HEADS = {
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": ("pooler_resolution", 7),
    "MODEL.ROI_BOX_HEAD.POOLER_TYPE": ("pooler_type", "ROIAlignV2"),
    "MODEL.ROI_BOX_HEAD.POOLER_SAMPLING_RATIO": ("pooler_sampling_ratio", 0),
    "MODEL.ROI_HEADS.IOU_THRESHOLDS": ("iou_thresholds", [0.5]),
    "MODEL.ROI_HEADS.IOU_LABELS": ("iou_labels", [0, 1]),
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": ("batch_size_per_image", 512),
    "MODEL.ROI_HEADS.POSITIVE_FRACTION": ("positive_fraction", 0.25),
    "MODEL.ROI_HEADS.PROPOSAL_APPEND_GT": ("append_truth", True),
    "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES": ("train_on_predicted_boxes", False),
}
MASK_HEAD = {
    "MODEL.ROI_MASK_HEAD.POOLER_RESOLUTION": ("pooler_resolution", 14),
    "MODEL.ROI_MASK_HEAD.POOLER_TYPE": ("pooler_type", "ROIAlignV2"),
    "MODEL.ROI_MASK_HEAD.POOLER_SAMPLING_RATIO": ("pooler_sampling_ratio", 0),
    "MODEL.ROI_MASK_HEAD.NUM_CONV": ("num_conv", 4),
    "MODEL.ROI_MASK_HEAD.CONV_DIM": ("conv_dim", 256),
    "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": ("class_agnostic", False),
}
KEYPOINT_HEAD = {
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_RESOLUTION": ("pooler_resolution", 14),
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_TYPE": ("pooler_type", "ROIAlignV2"),
    "MODEL.ROI_KEYPOINT_HEAD.POOLER_SAMPLING_RATIO": ("pooler_sampling_ratio", 0),
    "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS": ("num_keypoints", 17),
    "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": ("conv_dims", [512] * 8),
    "MODEL.ROI_KEYPOINT_HEAD.LOSS_WEIGHT": ("loss_weight", 1.0),
}
CASCADE = {
    "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS": (
        "box_weights",
        [[10.0, 10.0, 5.0, 5.0], [20.0, 20.0, 10.0, 10.0], [30.0, 30.0, 15.0, 15.0]],
    ),
}
RES5 = {
    **{key: value for key, value in ROI_HEADS.items() if key != "MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES"},
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": ("pooler_resolution", 14),
    "MODEL.RESNETS.STRIDE_IN_1X1": ("stride_in_1x1", True),
    "MODEL.RESNETS.NUM_GROUPS": ("groups", 1),
    "MODEL.RESNETS.WIDTH_PER_GROUP": ("width_per_group", 64),
}
_STAGES = {
    "StandardROIHeads": "standard_roi_heads",
    "CascadeROIHeads": "cascade_roi_heads",
    "Res5ROIHeads": "res5_roi_heads",
    "RROIHeads": "standard_roi_heads",
}


# Default heads of `mask_rcnn` and `keypoint_rcnn`.
_DEFAULT_HEADS = (
    {"type": "mask_rcnn_conv_upsample_head"},
    {"type": "keypoint_rcnn_conv_deconv_upsample_head"},
)


def second_stage(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """The entries `type`, `roi_heads` and the extra RoI heads of a model, where they differ from the defaults.

    Args:
        s: settings of the configuration.
        strides: stride of each backbone level.
    """
    if translate := translator("MODEL.ROI_HEADS.NAME", s["MODEL.ROI_HEADS.NAME"]):
        entries: dict[str, Any] = translate(s, strides)
        return entries
    heads = _extra_heads(s, strides)
    stage = roi_heads_section(s, strides)
    names: dict[tuple[str, ...], str] = {("mask_head",): "mask_rcnn", ("keypoint_head",): "keypoint_rcnn"}
    kind = names.get(tuple(heads), "faster_rcnn")
    model: dict[str, Any] = {"type": kind}
    if kind == "faster_rcnn" and heads:
        stage["heads"] = heads
    elif kind != "faster_rcnn":
        model |= {name: head for name, head in heads.items() if head not in _DEFAULT_HEADS}
    kind = _STAGES[s["MODEL.ROI_HEADS.NAME"]]
    if stage or kind != "standard_roi_heads":
        model["roi_heads"] = {"type": kind, **stage}
    return model


def _extra_heads(s: Settings, strides: Mapping[str, int]) -> dict[str, dict[str, Any]]:
    heads: dict[str, dict[str, Any]] = {}
    if s["MODEL.MASK_ON"]:
        heads["mask_head"] = _mask_head(s, strides)
    if s["MODEL.KEYPOINT_ON"]:
        s.require("MODEL.ROI_HEADS.NAME", "StandardROIHeads", "CascadeROIHeads")
        heads["keypoint_head"] = _keypoint_head(s, strides)
    return heads


def _mask_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    if translate := translator("MODEL.ROI_MASK_HEAD.NAME", s["MODEL.ROI_MASK_HEAD.NAME"]):
        node: dict[str, Any] = translate(s, strides)
        return node
    s.require("MODEL.ROI_MASK_HEAD.NAME", "MaskRCNNConvUpsampleHead")
    arguments = {**s.differing(MASK_HEAD), **levels_section(s, strides)}
    if s["MODEL.ROI_HEADS.NAME"] == "Res5ROIHeads":  # has its own pooler
        arguments = {key: value for key, value in arguments.items() if not key.startswith(("pooler", "in_features"))}
    node = {"type": "mask_rcnn_conv_upsample_head", **arguments}
    if norm := s.norm("MODEL.ROI_MASK_HEAD.NORM"):
        node["norm"] = norm
    return node


def _keypoint_head(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    if translate := translator("MODEL.ROI_KEYPOINT_HEAD.NAME", s["MODEL.ROI_KEYPOINT_HEAD.NAME"]):
        node: dict[str, Any] = translate(s, strides)
    else:
        s.require("MODEL.ROI_KEYPOINT_HEAD.NAME", "KRCNNConvDeconvUpsampleHead")
        arguments = s.differing(KEYPOINT_HEAD)
        node = {"type": "keypoint_rcnn_conv_deconv_upsample_head", **arguments, **levels_section(s, strides)}
    if not s["MODEL.ROI_KEYPOINT_HEAD.NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS"]:
        node["normalize_by"] = "capacity"
        foreground = s["MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE"] * s["MODEL.ROI_HEADS.POSITIVE_FRACTION"]
        if foreground != 128:
            node["max_foreground"] = foreground
    return node


def levels_section(s: Settings, strides: Mapping[str, int]) -> dict[str, list[str]]:
    """`in_features`, where they are not all levels up to stride 32."""
    levels = list(s["MODEL.ROI_HEADS.IN_FEATURES"])
    return {} if levels == [level for level, stride in strides.items() if stride <= 32] else {"in_features": levels}


def roi_heads_section(s: Settings, strides: Mapping[str, int]) -> dict[str, Any]:
    """Arguments of the RoI heads that differ from the defaults."""
    name = s.require("MODEL.ROI_HEADS.NAME", *_STAGES)
    if name == "RROIHeads":
        s.require("MODEL.ROI_BOX_HEAD.POOLER_TYPE", "ROIAlignRotated")
        s.require("MODEL.MASK_ON", False)
        s.require("MODEL.KEYPOINT_ON", False)
    node: dict[str, Any] = _res5(s) if name == "Res5ROIHeads" else {**s.differing(ROI_HEADS), **_box_head(s)}
    node |= levels_section(s, strides)
    predictor = s.differing(BOX_PREDICTOR)
    if s["MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE"]:
        predictor["class_loss"] = "sigmoid"
    if s["MODEL.ROI_BOX_HEAD.USE_FED_LOSS"]:
        predictor["federated"] = _federated(s)
    if name == "CascadeROIHeads":
        node |= _cascade(s, predictor)
    if predictor:
        node["box_predictor"] = predictor
    return node


def _federated(s: Settings) -> dict[str, Any]:
    """Federated-loss settings; the class frequencies come from the training set."""
    s.require("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", True)
    names = s.peek("DATASETS.TRAIN")
    if len(names) != 1 or names[0] not in LVIS_TRAIN:
        raise UnsupportedError("DATASETS.TRAIN", "is not LVIS, which a federated loss needs", f"got {quoted(names)}")
    return {"counts_from": LVIS_TRAIN[names[0]], **s.differing(FEDERATED)}


def _box_head(s: Settings) -> dict[str, Any]:
    if translate := translator("MODEL.ROI_BOX_HEAD.NAME", s["MODEL.ROI_BOX_HEAD.NAME"]):
        return {"box_head": translate(s)}
    s.require("MODEL.ROI_BOX_HEAD.NAME", "FastRCNNConvFCHead")
    node = s.differing(BOX_HEAD)
    if norm := s.norm("MODEL.ROI_BOX_HEAD.NORM"):
        node["norm"] = norm
    return {"box_head": {"type": "fast_rcnn_conv_fc_head", **node}} if node else {}


def _res5(s: Settings) -> dict[str, Any]:
    """The last ResNet stage as part of the RoI heads."""
    node = s.differing(RES5)
    if s["MODEL.RESNETS.DEFORM_ON_PER_STAGE"][-1]:
        raise UnsupportedError("MODEL.RESNETS.DEFORM_ON_PER_STAGE", "res5 cannot be deformable in the second stage")
    if (norm := s.norm("MODEL.RESNETS.NORM")) != "FrozenBN":
        node["norm"] = norm
    if (channels := 8 * s["MODEL.RESNETS.RES2_OUT_CHANNELS"]) != 2048:
        node["out_channels"] = channels
    return node


def _cascade(s: Settings, predictor: dict[str, Any]) -> dict[str, Any]:
    """Cascade settings; some arguments of `predictor` are replaced by those of the cascade."""
    s.require("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", True)
    s.require("MODEL.ROI_BOX_HEAD.TRAIN_ON_PRED_BOXES", False)
    for name in ("class_agnostic", "box_weights"):
        predictor.pop(name, None)
    node = s.differing(CASCADE)
    if (ious := s["MODEL.ROI_BOX_CASCADE_HEAD.IOUS"])[1:] != [0.6, 0.7]:
        node["later_ious"] = ious[1:]
    return node
