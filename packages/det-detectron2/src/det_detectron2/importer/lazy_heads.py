"""RoI heads of Detectron2's Python configurations as settings of its YAML configurations."""

from typing import Any

from det_detectron2.importer.lazy_objects import NEEDED, Objects
from det_detectron2.importer.settings import UnsupportedError

__all__ = ["settings_of_roi_heads", "shuffled_heads"]

_SHUFFLED = "WithShuffle"
"""Suffixes of classes that exchange regions between processes."""

ROI_HEADS = {
    "num_classes": ("MODEL.ROI_HEADS.NUM_CLASSES", NEEDED),
    "batch_size_per_image": ("MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE", NEEDED),
    "positive_fraction": ("MODEL.ROI_HEADS.POSITIVE_FRACTION", NEEDED),
    "proposal_append_gt": ("MODEL.ROI_HEADS.PROPOSAL_APPEND_GT", True),
}
MATCHER = {
    "thresholds": ("MODEL.ROI_HEADS.IOU_THRESHOLDS", NEEDED),
    "labels": ("MODEL.ROI_HEADS.IOU_LABELS", NEEDED),
}
BOX_PREDICTOR = {
    "box2box_transform.weights": ("MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS", NEEDED),
    "test_score_thresh": ("MODEL.ROI_HEADS.SCORE_THRESH_TEST", 0.0),
    "test_nms_thresh": ("MODEL.ROI_HEADS.NMS_THRESH_TEST", 0.5),
    "test_topk_per_image": ("TEST.DETECTIONS_PER_IMAGE", 100),
    "cls_agnostic_bbox_reg": ("MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG", False),
    "smooth_l1_beta": ("MODEL.ROI_BOX_HEAD.SMOOTH_L1_BETA", 0.0),
    "box_reg_loss_type": ("MODEL.ROI_BOX_HEAD.BBOX_REG_LOSS_TYPE", "smooth_l1"),
    "use_sigmoid_ce": ("MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE", False),
    "use_fed_loss": ("MODEL.ROI_BOX_HEAD.USE_FED_LOSS", False),
    "fed_loss_num_classes": ("MODEL.ROI_BOX_HEAD.FED_LOSS_NUM_CLASSES", 50),
}
POOLER = {
    "output_size": ("POOLER_RESOLUTION", NEEDED),
    "sampling_ratio": ("POOLER_SAMPLING_RATIO", NEEDED),
    "pooler_type": ("POOLER_TYPE", NEEDED),
}


def settings_of_roi_heads(o: Objects) -> dict[str, Any]:
    """The settings equivalent to the tree below "model.roi_heads"."""
    path = "model.roi_heads"
    kind = o.require(f"{path}.kind", "StandardROIHeads", "CascadeROIHeads", "Res5ROIHeads")
    settings = {"MODEL.ROI_HEADS.NAME": kind, **o.renamed(path, ROI_HEADS)}
    if kind == "CascadeROIHeads":
        settings |= _cascade(o, path)
    else:
        settings |= _box_predictor(o, f"{path}.box_predictor") | _matcher(o, f"{path}.proposal_matcher")
    if kind == "Res5ROIHeads":
        settings["MODEL.ROI_HEADS.IN_FEATURES"] = o(f"{path}.in_features")
        settings |= _pooler(o, f"{path}.pooler", "MODEL.ROI_BOX_HEAD")
        o.ignore(f"{path}.res5")  # the last backbone stage
    else:
        settings["MODEL.ROI_HEADS.IN_FEATURES"] = o(f"{path}.box_in_features")
        settings |= _pooler(o, f"{path}.box_pooler", "MODEL.ROI_BOX_HEAD")
        settings |= _box_head(o, f"{path}.box_heads.0" if kind == "CascadeROIHeads" else f"{path}.box_head")
    return settings | _mask_head(o, path) | _keypoint_head(o, path)


def _matcher(o: Objects, path: str) -> dict[str, Any]:
    o.ignore(f"{path}.kind")
    o.require(f"{path}.allow_low_quality_matches", False, default=False)
    return o.renamed(path, MATCHER)


def _cascade(o: Objects, path: str) -> dict[str, Any]:
    """Cascade stages, which may differ in box regression weights and IoU threshold only."""
    stages = range(o.count(f"{path}.box_heads"))
    for part, stage_settings in (("box_heads", ()), ("box_predictors", ("box2box_transform.weights",))):
        for i in stages[1:]:
            if differing := o.differences(f"{path}.{part}.0", f"{path}.{part}.{i}", stage_settings):
                first = f"{path}.{part}.{i}.{differing[0]}"
                raise UnsupportedError(first, "must be that of the first stage", f"got {o(first, None)!r}")
            o.ignore(*(key for key in o.given if key.startswith(f"{path}.{part}.{i}.")))
    matchers = [_matcher(o, f"{path}.proposal_matchers.{i}") for i in stages]
    ious = [matcher["MODEL.ROI_HEADS.IOU_THRESHOLDS"] for matcher in matchers]
    for i, matcher in enumerate(matchers):
        if len(ious[i]) != 1 or list(matcher["MODEL.ROI_HEADS.IOU_LABELS"]) != [0, 1]:
            raise UnsupportedError(
                f"{path}.proposal_matchers.{i}", "must separate two groups of regions", f"got {matcher}"
            )
    weights = [o(f"{path}.box_predictors.{i}.box2box_transform.weights") for i in stages]
    return {
        **_box_predictor(o, f"{path}.box_predictors.0"),
        **matchers[0],
        "MODEL.ROI_BOX_CASCADE_HEAD.IOUS": [iou for (iou,) in ious],
        "MODEL.ROI_BOX_CASCADE_HEAD.BBOX_REG_WEIGHTS": [[float(weight) for weight in stage] for stage in weights],
    }


def shuffled_heads(o: Objects) -> dict[str, str]:
    """Heads that exchange regions between processes, and their names here, for which there are no YAML settings."""
    heads = {"box_head": "fast_rcnn_conv_fc_head", "mask_head": "mask_rcnn_conv_upsample_head"}
    return {head: kind for head, kind in heads.items() if o(f"model.roi_heads.{head}.kind", "").endswith(_SHUFFLED)}


def _kind(o: Objects, path: str, kind: str) -> str:
    o.require(f"{path}.kind", kind, f"{kind}{_SHUFFLED}")
    return kind


def _pooler(o: Objects, path: str, prefix: str) -> dict[str, Any]:
    o.require(f"{path}.kind", "ROIPooler")
    o.ignore(f"{path}.scales")  # given by the backbone
    return {f"{prefix}.{name}": value for name, value in o.renamed(path, POOLER).items()}


def _box_head(o: Objects, path: str) -> dict[str, Any]:
    o.ignore(f"{path}.input_shape")
    convs, layers = _equal(o, f"{path}.conv_dims", 256), _equal(o, f"{path}.fc_dims", 1024)
    return {
        "MODEL.ROI_BOX_HEAD.NAME": _kind(o, path, "FastRCNNConvFCHead"),
        "MODEL.ROI_BOX_HEAD.NUM_CONV": convs[0],
        "MODEL.ROI_BOX_HEAD.CONV_DIM": convs[1],
        "MODEL.ROI_BOX_HEAD.NUM_FC": layers[0],
        "MODEL.ROI_BOX_HEAD.FC_DIM": layers[1],
        "MODEL.ROI_BOX_HEAD.NORM": o.norm(f"{path}.conv_norm"),
    }


def _box_predictor(o: Objects, path: str) -> dict[str, Any]:
    o.require(f"{path}.kind", "FastRCNNOutputLayers")
    o.ignore(f"{path}.input_shape", f"{path}.box2box_transform.kind", f"{path}.num_classes")
    o.ignore(f"{path}.get_fed_loss_cls_weights")  # a function of the training set's name; its code is not recorded
    settings = o.renamed(path, BOX_PREDICTOR)
    settings["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"] = [
        float(w) for w in settings["MODEL.ROI_BOX_HEAD.BBOX_REG_WEIGHTS"]
    ]
    return settings


def _mask_head(o: Objects, heads: str) -> dict[str, Any]:
    path = f"{heads}.mask_head"
    if not o.has(path):
        return {}
    o.ignore(f"{path}.input_shape")
    count, width = _equal(o, f"{path}.conv_dims", 256)
    classes = o(f"{path}.num_classes")
    o.require(f"{path}.loss_weight", 1.0, default=1.0)
    settings = {
        "MODEL.MASK_ON": True,
        "MODEL.ROI_MASK_HEAD.NAME": _kind(o, path, "MaskRCNNConvUpsampleHead"),
        "MODEL.ROI_MASK_HEAD.NUM_CONV": count - 1,  # the last width is that of the upsampling layer
        "MODEL.ROI_MASK_HEAD.CONV_DIM": width,
        "MODEL.ROI_MASK_HEAD.NORM": o.norm(f"{path}.conv_norm"),
        "MODEL.ROI_MASK_HEAD.CLS_AGNOSTIC_MASK": classes == 1 != o(f"{heads}.num_classes"),
    }
    return settings | _extra_head_pooler(o, heads, "mask", "MODEL.ROI_MASK_HEAD")


def _keypoint_head(o: Objects, heads: str) -> dict[str, Any]:
    path = f"{heads}.keypoint_head"
    if not o.has(path):
        return {}
    o.ignore(f"{path}.input_shape")
    normalizer = o(f"{path}.loss_normalizer", "visible")
    settings = {
        "MODEL.KEYPOINT_ON": True,
        "MODEL.ROI_KEYPOINT_HEAD.NAME": o.require(f"{path}.kind", "KRCNNConvDeconvUpsampleHead"),
        "MODEL.ROI_KEYPOINT_HEAD.CONV_DIMS": o(f"{path}.conv_dims"),
        "MODEL.ROI_KEYPOINT_HEAD.NUM_KEYPOINTS": o(f"{path}.num_keypoints"),
        "MODEL.ROI_KEYPOINT_HEAD.LOSS_WEIGHT": o(f"{path}.loss_weight", 1.0),
        "MODEL.ROI_KEYPOINT_HEAD.NORMALIZE_LOSS_BY_VISIBLE_KEYPOINTS": normalizer == "visible",
    }
    return settings | _extra_head_pooler(o, heads, "keypoint", "MODEL.ROI_KEYPOINT_HEAD")


def _extra_head_pooler(o: Objects, heads: str, name: str, prefix: str) -> dict[str, Any]:
    """Pooler of an extra RoI head, unless it shares the features of the box head, as in C4 models."""
    if not o.has(f"{heads}.{name}_pooler"):
        return {}
    if (levels := o(f"{heads}.{name}_in_features")) != o(f"{heads}.box_in_features"):
        raise UnsupportedError(f"{heads}.{name}_in_features", "must be those of the box head", f"got {levels}")
    return _pooler(o, f"{heads}.{name}_pooler", prefix)


def _equal(o: Objects, path: str, default: int) -> tuple[int, int]:
    """Number of layers, and their common width."""
    widths = list(o(path, ()))
    if len(set(widths)) > 1:
        raise UnsupportedError(path, "must all be equal", f"got {widths}")
    return len(widths), widths[0] if widths else default
