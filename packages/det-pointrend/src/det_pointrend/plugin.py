"""The components of det-pointrend by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl, recipe_files

# Folder of the published configuration -> name of the recipe -> name of the configuration.
PUBLISHED = {
    "PointRend/InstanceSegmentation": {
        "implicit_pointrend_r50_fpn_1x_coco": "implicit_pointrend_R_50_FPN_1x_coco",
        "implicit_pointrend_r50_fpn_3x_coco": "implicit_pointrend_R_50_FPN_3x_coco",
        "pointrend_rcnn_r101_fpn_3x_coco": "pointrend_rcnn_R_101_FPN_3x_coco",
        "pointrend_rcnn_r50_fpn_1x_cityscapes": "pointrend_rcnn_R_50_FPN_1x_cityscapes",
        "pointrend_rcnn_r50_fpn_1x_coco": "pointrend_rcnn_R_50_FPN_1x_coco",
        "pointrend_rcnn_r50_fpn_3x_coco": "pointrend_rcnn_R_50_FPN_3x_coco",
        "pointrend_rcnn_x101_32x8d_fpn_3x_coco": "pointrend_rcnn_X_101_32x8d_FPN_3x_coco",
    },
    "PointRend/SemanticSegmentation": {
        "pointrend_semantic_r101_fpn_1x_cityscapes": "pointrend_semantic_R_101_FPN_1x_cityscapes",
    },
    "PointSup": {
        "implicit_pointrend_r50_fpn_3x_point_sup_point_aug_coco": (
            "implicit_pointrend_R_50_FPN_3x_point_sup_point_aug_coco"
        ),
        "mask_rcnn_r50_fpn_3x_point_sup_coco": "mask_rcnn_R_50_FPN_3x_point_sup_coco",
        "mask_rcnn_r50_fpn_3x_point_sup_point_aug_coco": "mask_rcnn_R_50_FPN_3x_point_sup_point_aug_coco",
    },
}

SAFE_PARTS = (
    "det_pointrend.coco_points:SamplePoints",
    "det_pointrend.colors:ColorDistortion",
    "det_pointrend.layers:ImplicitPointHead",
    "det_pointrend.layers:RegionLayers",
    "det_pointrend.layers:StandardPointHead",
    "det_pointrend.points:PointSampler",
    "det_pointrend.points:Subdivision",
    "det_pointrend.point_targets:AnnotatedPoints",
    "det_pointrend.point_targets:DrawnPoints",
    "det_pointrend.point_targets:PointLoss",
)
MOVED_NAMES = {
    "det_pointrend.colours:ColourDistortion": "det_pointrend.colors:ColorDistortion",
    "det_pointrend.truth": "det_pointrend.point_targets",
}

_REGION_LAYERS = {
    "pooler_resolution": "region_layers.resolution",
    "conv_dim": "region_layers.conv_dim",
    "fc_dim": "region_layers.fc_dim",
    "num_fc": "region_layers.num_fc",
    "subdivision_steps": "subdivision.steps",
    "subdivision_points": "subdivision.points",
}
# Arguments of 0.1.0 with another name or place now.
MOVED_ARGUMENTS = {
    "implicit_pointrend_mask_head": _REGION_LAYERS | {"regularisation": "regularization"},
    "pointrend_mask_head": _REGION_LAYERS
    | {"num_points": "sampler.num_points", "oversample": "sampler.oversample", "importance": "sampler.importance"},
}


@hookimpl
def det_heads() -> dict[str, str]:
    """Mask heads and a semantic head that predict points."""
    return {
        "implicit_pointrend_mask_head": "det_pointrend.mask_heads:ImplicitPointRendMaskHead",
        "pointrend_mask_head": "det_pointrend.mask_heads:PointRendMaskHead",
        "pointrend_sem_seg_head": "det_pointrend.semantic:PointRendSemSegHead",
    }


@hookimpl
def det_datasets() -> dict[str, str]:
    """Reader of point annotations."""
    return {"coco_points": "det_pointrend.coco_points:CocoPointsDataset"}


@hookimpl
def det_evaluators() -> dict[str, str]:
    """Evaluator of mask boundaries."""
    return {"boundary": "det_pointrend.boundary:BoundaryEvaluator"}


@hookimpl
def det_recipes() -> dict[str, str]:
    """The published configurations, whose paths are aliases."""
    return recipe_files("det_pointrend:recipes", PUBLISHED)


@hookimpl
def det_importers() -> dict[str, str]:
    """Settings of Detectron2's PointRend and PointSup projects."""
    return {"detectron2.pointrend": "det_pointrend.importer:EXTENSION"}


@hookimpl
def det_conformance() -> dict[str, str]:
    """Arguments with which the conformance kit builds the components of this package."""
    return {"pointrend": "det_pointrend.testing:settings"}
