"""The components of det-panoptic by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl, recipe_files

from det_panoptic.zoo import PUBLISHED

_PREPROCESS = {
    "pixel_mean": "preprocess.mean",
    "pixel_std": "preprocess.std",
    "channel_order": "preprocess.channel_order",
}
_LOSS = {"loss": "pixel_loss.kind", "loss_top_k": "pixel_loss.hardest", "ignore": "pixel_loss.ignore"}
_DECODER = {
    name: f"decoder.{name}"
    for name in (
        *("in_features", "project_channels", "decoder_channels", "aspp_channels", "aspp_dilations"),
        *("aspp_dropout", "norm", "train_size", "separable"),
    )
}
# Arguments of 0.1.0 with another name or place now; by component name, or by its place in one.
MOVED_ARGUMENTS = {
    "deeplab_resnet": {
        "res4_dilation": "dilations.res4",
        "res5_dilation": "dilations.res5",
        "multi_grid": "dilations.multi_grid",
        "deformable_stages": "deformation.stages",
        "deformable": "deformation.kind",
        "deformable_groups": "deformation.groups",
    },
    "deeplab_v3_head": _LOSS,
    "deeplab_v3_plus_head": _LOSS | _DECODER,
    "panoptic_deeplab": _PREPROCESS,
    "panoptic_deeplab.ins_embed_head": _DECODER | {"centre_loss_weight": "center_loss_weight"},
    "panoptic_deeplab.sem_seg_head": _LOSS | _DECODER,
    "panoptic_fpn": _PREPROCESS,
    "semantic_segmentor": _PREPROCESS,
}
# Parts of det-core before 0.2; the schedule is part of core, in its published form.
MOVED_NAMES = {
    **{f"det-core/{name}": f"det-panoptic/{name}" for name in ("sem_seg_fpn_head", "semantic_segmentor")},
    **{
        f"{package}/{name}": "det-panoptic/semantic_r50_fpn_1x"
        for package in ("det-core", "det-datasets")
        for name in ("semantic_r50_fpn_1x", "Misc/semantic_R_50_FPN_1x")
    },
    **{f"det_core.models:{name}": f"det_panoptic.semantic:{name}" for name in ("SemSegFPNHead", "SemanticSegmentor")},
    **dict.fromkeys(("det_core.models.semantic", "det_core.models.detectors.semantic"), "det_panoptic.semantic"),
    "det_panoptic.schedules": "det_core.engine.schedules",
    "det_panoptic.truth": "det_panoptic.segments",
}
SAFE_PARTS = (
    "det_panoptic.backbone:Dilations",
    "det_panoptic.deeplab:DeepLabDecoder",
    "det_panoptic.exporting:GroupPixels",
    "det_panoptic.exporting:JoinThings",
    "det_panoptic.grouping:Grouping",
    "det_panoptic.losses:PixelLoss",
    "det_panoptic.merging:Merging",
    "det_panoptic.panoptic_deeplab:PanopticDeepLabInsEmbedHead",
    "det_panoptic.panoptic_deeplab:PanopticDeepLabSemSegHead",
    "det_panoptic.semantic:SemSegFPNHead",
    "det_panoptic.targets:TargetGenerator",
)


@hookimpl
def det_backbones() -> dict[str, str]:
    """Dilated residual networks."""
    return {"deeplab_resnet": "det_panoptic.backbone:DeepLabResNet"}


@hookimpl
def det_heads() -> dict[str, str]:
    """Heads that classify every pixel."""
    return {
        "deeplab_v3_head": "det_panoptic.deeplab:DeepLabV3Head",
        "deeplab_v3_plus_head": "det_panoptic.deeplab:DeepLabV3PlusHead",
        "sem_seg_fpn_head": "det_panoptic.semantic:SemSegFPNHead",
    }


@hookimpl
def det_models() -> dict[str, str]:
    """Complete models with panoptic or semantic predictions."""
    return {
        "panoptic_deeplab": "det_panoptic.panoptic_deeplab:PanopticDeepLab",
        "panoptic_fpn": "det_panoptic.panoptic_fpn:PanopticFPN",
        "semantic_segmentor": "det_panoptic.semantic:SemanticSegmentor",
    }


@hookimpl
def det_datasets() -> dict[str, str]:
    """Readers of panoptic and semantic datasets."""
    return {
        "ade20k": "det_panoptic.data:Ade20k",
        "cityscapes_panoptic": "det_panoptic.data:CityscapesPanoptic",
        "cityscapes_semantic": "det_panoptic.data:CityscapesSemantic",
        "coco_panoptic": "det_panoptic.data:CocoPanoptic",
    }


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Panoptic evaluators."""
    return {
        "boundary_quality": "det_panoptic.evaluation:BoundaryQuality",
        "panoptic_quality": "det_panoptic.evaluation:PanopticQuality",
        "stuff_iou": "det_panoptic.evaluation:StuffIoU",
    }


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in the folder `recipes`; the published path of a configuration is an alias of its name."""
    return recipe_files("det_panoptic:recipes", PUBLISHED)


@hookimpl
def det_importers() -> dict[str, str]:
    """Settings of Detectron2's DeepLab and Panoptic-DeepLab projects."""
    return {"detectron2.panoptic": "det_panoptic.importer:EXTENSION"}


@hookimpl
def det_conformance() -> dict[str, str]:
    """Arguments with which the conformance kit builds the components of this package."""
    return {"panoptic": "det_panoptic.testing:settings"}
