"""What det-mobile adds to det, as names; nothing here is imported before it is used."""

from det_core.plugins.hooks import hookimpl

# Name of the recipe -> published path.
_PUBLISHED = {
    "faster_rcnn_fbnetv3a_c4": "d2go/faster_rcnn_fbnetv3a_C4",
    "faster_rcnn_fbnetv3a_c4_fsdp": "d2go/faster_rcnn_fbnetv3a_C4_FSDP",
    "faster_rcnn_fbnetv3a_c4_lsj": "d2go/faster_rcnn_fbnetv3a_C4_LSJ",
    "faster_rcnn_fbnetv3a_dsmask_c4": "d2go/faster_rcnn_fbnetv3a_dsmask_C4",
    "faster_rcnn_fbnetv3g_fpn": "d2go/faster_rcnn_fbnetv3g_fpn",
    "keypoint_rcnn_fbnetv3a_dsmask_c4": "d2go/keypoint_rcnn_fbnetv3a_dsmask_C4",
    "mask_rcnn_fbnetv3a_c4": "d2go/mask_rcnn_fbnetv3a_C4",
    "mask_rcnn_fbnetv3a_dsmask_c4": "d2go/mask_rcnn_fbnetv3a_dsmask_C4",
    "mask_rcnn_fbnetv3g_fpn": "d2go/mask_rcnn_fbnetv3g_fpn",
    "qat_faster_rcnn_fbnetv3a_c4": "d2go/qat_faster_rcnn_fbnetv3a_C4",
}
_UNPUBLISHED = ("mobile_small", "mobile_tiny")

# What recipes may build beside what is offered through hooks.
SAFE_PARTS = (
    "det_mobile.distillation:AdapterState",
    "det_mobile.distillation:Imitation",
    "det_mobile.distillation:Logits",
    "det_mobile.distillation:PseudoBoxes",
    "det_mobile.distillation:Teacher",
    "det_mobile.fbnet:FBNetBlocks",
    "det_mobile.quantization:QuantizationAware",
    "det_mobile.schedules:JoinedWarmupCosine",
)


@hookimpl
def det_backbones() -> dict[str, str]:
    """Networks that turn images into feature maps."""
    return {"fbnet": "det_mobile.fbnet:FBNet", "fbnet_c4": "det_mobile.fbnet:FBNetC4"}


@hookimpl
def det_heads() -> dict[str, str]:
    """Heads made of FBNet blocks, and anchors of given shapes."""
    return {
        "fbnet_box_head": "det_mobile.heads:FBNetBoxHead",
        "fbnet_keypoint_head": "det_mobile.heads:FBNetKeypointHead",
        "fbnet_mask_head": "det_mobile.heads:FBNetMaskHead",
        "fbnet_rpn_head": "det_mobile.heads:FBNetRPNHead",
        "shaped_anchors": "det_mobile.anchors.shaped:ShapedAnchors",
        "subclass_roi_heads": "det_mobile.heads:SubclassROIHeads",
    }


@hookimpl
def det_models() -> dict[str, str]:
    """A student and its teacher."""
    return {"distilled": "det_mobile.distillation:Distilled"}


@hookimpl
def det_datasets() -> dict[str, str]:
    """Annotations with sub-classes."""
    return {"subclass_coco": "det_mobile.subclasses:SubclassCoco"}


@hookimpl
def det_exporters() -> dict[str, str]:
    """Files for ExecuTorch."""
    return {"executorch": "det_mobile.device.exporter:ExecuTorchExporter"}


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in the folder `recipes`; the published path of a configuration is an alias of its name."""
    files = {name: f"det_mobile:recipes/{name}.yaml" for name in _UNPUBLISHED}
    for name, published in _PUBLISHED.items():
        files[name] = files[published] = f"det_mobile:recipes/{name}.yaml"
    return files


@hookimpl
def det_importers() -> dict[str, str]:
    """The settings of D2Go."""
    return {"detectron2.d2go": "det_mobile.importer:EXTENSION"}


@hookimpl
def det_commands() -> dict[str, str]:
    """Anchors that fit a dataset."""
    return {"anchors": "det_mobile.anchors.cli:anchors"}
