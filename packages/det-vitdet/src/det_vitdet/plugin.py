"""The components of det-vitdet by name; their modules are imported on first use."""

from det_core.plugins.hooks import hookimpl, recipe_files

# Tiny models, for the photographs of examples/blood-cells in det's repository.
UNPUBLISHED = ("tiny_mvitv2_blood_cells", "tiny_swin_blood_cells", "tiny_vitdet_blood_cells")

# Folder of the published configuration -> name of the recipe -> name of the configuration.
PUBLISHED: dict[str, dict[str, str]] = {
    "MViTv2": {
        name: name
        for name in (
            "cascade_mask_rcnn_mvitv2_b_3x",
            "cascade_mask_rcnn_mvitv2_b_in21k_3x",
            "cascade_mask_rcnn_mvitv2_h_in21k_lsj_3x",
            "cascade_mask_rcnn_mvitv2_l_in21k_lsj_50ep",
            "cascade_mask_rcnn_mvitv2_s_3x",
            "cascade_mask_rcnn_mvitv2_t_3x",
            "mask_rcnn_mvitv2_t_3x",
        )
    },
    "ViTDet/COCO": {
        name: name
        for name in (
            "cascade_mask_rcnn_mvitv2_b_in21k_100ep",
            "cascade_mask_rcnn_mvitv2_h_in21k_36ep",
            "cascade_mask_rcnn_mvitv2_l_in21k_50ep",
            "cascade_mask_rcnn_swin_b_in21k_50ep",
            "cascade_mask_rcnn_swin_l_in21k_50ep",
            "cascade_mask_rcnn_vitdet_b_100ep",
            "cascade_mask_rcnn_vitdet_h_75ep",
            "cascade_mask_rcnn_vitdet_l_100ep",
            "mask_rcnn_vitdet_b_100ep",
            "mask_rcnn_vitdet_h_75ep",
            "mask_rcnn_vitdet_l_100ep",
        )
    },
    "ViTDet/LVIS": {  # the same recipe names as for COCO
        f"lvis_{name}": name
        for name in (
            "cascade_mask_rcnn_mvitv2_b_in21k_100ep",
            "cascade_mask_rcnn_mvitv2_h_in21k_50ep",
            "cascade_mask_rcnn_mvitv2_l_in21k_50ep",
            "cascade_mask_rcnn_swin_b_in21k_50ep",
            "cascade_mask_rcnn_swin_l_in21k_50ep",
            "cascade_mask_rcnn_vitdet_b_100ep",
            "cascade_mask_rcnn_vitdet_h_100ep",
            "cascade_mask_rcnn_vitdet_l_100ep",
            "mask_rcnn_vitdet_b_100ep",
            "mask_rcnn_vitdet_h_100ep",
            "mask_rcnn_vitdet_l_100ep",
        )
    },
}


# What recipes may build beside the components of the hooks.
SAFE_PARTS = (
    "det_vitdet.mvit:PooledWindows",
    "det_vitdet.vit:Positions",
    "det_vitdet.vit:Windows",
)

# Arguments of 0.1.0 that are now attributes of parts.
MOVED_ARGUMENTS = {
    "mvit": {
        "kv_stride": "pooling.kv_stride",
        "window_size": "pooling.window_size",
        "residual_pooling": "pooling.residual",
    },
    "vit": {
        "window_size": "windows.size",
        "window_blocks": "windows.blocks",
        "absolute_positions": "positions.absolute",
        "relative_positions": "positions.relative",
        "image_size": "positions.image_size",
        "pretrain_size": "positions.pretrain_size",
        "pretrain_class_token": "positions.pretrain_class_token",
    },
}


@hookimpl
def det_backbones() -> dict[str, str]:
    """Transformers, and the feature pyramid for plain ones."""
    return {
        "mvit": "det_vitdet.mvit:MViT",
        "mvitv2_b": "det_vitdet.presets:mvitv2_b",
        "mvitv2_h": "det_vitdet.presets:mvitv2_h",
        "mvitv2_l": "det_vitdet.presets:mvitv2_l",
        "mvitv2_s": "det_vitdet.presets:mvitv2_s",
        "mvitv2_t": "det_vitdet.presets:mvitv2_t",
        "simple_feature_pyramid": "det_vitdet.pyramid:SimpleFeaturePyramid",
        "swin": "det_vitdet.swin:Swin",
        "swin_b": "det_vitdet.presets:swin_b",
        "swin_l": "det_vitdet.presets:swin_l",
        "swin_s": "det_vitdet.presets:swin_s",
        "swin_t": "det_vitdet.presets:swin_t",
        "timm": "det_vitdet.timm_backbone:TimmBackbone",
        "vit": "det_vitdet.vit:ViT",
        "vitdet_b": "det_vitdet.presets:vitdet_b",
        "vitdet_h": "det_vitdet.presets:vitdet_h",
        "vitdet_l": "det_vitdet.presets:vitdet_l",
    }


@hookimpl
def det_recipes() -> dict[str, str]:
    """Recipe files in the folder `recipes`; the published path of a configuration is an alias of its name."""
    return recipe_files("det_vitdet:recipes", PUBLISHED, UNPUBLISHED)


@hookimpl
def det_importers() -> dict[str, str]:
    """Settings of Detectron2's ViTDet and MViTv2 projects."""
    return {"detectron2.vitdet": "det_vitdet.importer:EXTENSION"}


@hookimpl
def det_conformance() -> dict[str, str]:
    """Arguments with which the conformance kit builds the components of this package."""
    return {"vitdet": "det_vitdet.testing:settings"}
