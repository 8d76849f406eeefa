"""The components of det-tensormask by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl, recipe_files

_PUBLISHED = {
    "TensorMask": {
        "tensormask_r50_fpn_1x": "tensormask_R_50_FPN_1x",
        "tensormask_r50_fpn_6x": "tensormask_R_50_FPN_6x",
    }
}


# What recipes may build beside the components of the hooks.
SAFE_PARTS = (
    "det_tensormask.exporting:CutGrids",
    "det_tensormask.head:MaskWindows",
    "det_tensormask.head:Subnets",
    "det_tensormask.losses:FocalLossStar",
    "det_tensormask.losses:MaskLoss",
)

# Arguments of 0.1.0 that are now attributes of parts.
MOVED_ARGUMENTS = {
    "tensormask_head": {
        "windows": "masks.windows",
        "aligned": "masks.aligned",
        "bipyramid": "masks.bipyramid",
        "num_convs": "subnets.num_convs",
        "class_channels": "subnets.class_channels",
        "box_channels": "subnets.box_channels",
        "mask_channels": "subnets.mask_channels",
        "focal_alpha": "focal_loss.alpha",
        "focal_gamma": "focal_loss.gamma",
        "mask_loss_weight": "mask_loss.weight",
        "mask_positive_weight": "mask_loss.positive_weight",
        "score_threshold": "nms.score_threshold",
        "topk_candidates": "nms.topk_candidates",
        "nms_threshold": "nms.iou_threshold",
        "max_detections": "nms.max_detections",
    }
}


@hookimpl
def det_heads() -> dict[str, str]:
    """One-stage head for `dense_detector`."""
    return {"tensormask_head": "det_tensormask.head:TensorMaskHead"}


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in the folder `recipes`; the published path of a configuration is an alias of its name."""
    return recipe_files("det_tensormask:recipes", _PUBLISHED)


@hookimpl
def det_importers() -> dict[str, str]:
    """Settings of Detectron2's TensorMask project."""
    return {"detectron2.tensormask": "det_tensormask.importer:EXTENSION"}
