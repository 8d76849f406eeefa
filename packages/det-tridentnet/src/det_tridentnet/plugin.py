"""The components of det-tridentnet by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl, recipe_files

_PUBLISHED = {
    "TridentNet": {
        "tridentnet_fast_r101_c4_3x": "tridentnet_fast_R_101_C4_3x",
        "tridentnet_fast_r50_c4_1x": "tridentnet_fast_R_50_C4_1x",
        "tridentnet_fast_r50_c4_3x": "tridentnet_fast_R_50_C4_3x",
    }
}


# What recipes may build beside the components of the hooks.
SAFE_PARTS = ("det_tridentnet.backbone:Branches",)

# Arguments of 0.1.0 that are now attributes of parts.
MOVED_ARGUMENTS = {
    "trident_rcnn": {
        "pixel_mean": "preprocess.mean",
        "pixel_std": "preprocess.std",
        "channel_order": "preprocess.channel_order",
        "nms_threshold": "nms.iou_threshold",
        "max_detections": "nms.max_detections",
    },
    "trident_resnet": {"dilations": "branches.dilations", "stage": "branches.stage", "branch": "branches.branch"},
}


@hookimpl
def det_backbones() -> dict[str, str]:
    """Networks that turn images into feature maps."""
    return {"trident_resnet": "det_tridentnet.backbone:TridentResNet"}


@hookimpl
def det_models() -> dict[str, str]:
    """Complete detectors."""
    return {"trident_rcnn": "det_tridentnet.model:TridentRCNN"}


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in the folder `recipes`; the published path of a configuration is an alias of its name."""
    return recipe_files("det_tridentnet:recipes", _PUBLISHED)


@hookimpl
def det_importers() -> dict[str, str]:
    """Settings of Detectron2's TridentNet project."""
    return {"detectron2.tridentnet": "det_tridentnet.importer:EXTENSION"}
