"""The published configurations: folder -> name of the recipe -> name of the configuration."""

__all__ = ["PUBLISHED"]

_CITYSCAPES = "os16_mg124_poly_90k_bs32_crop_512_1024"
_COCO = "os16_mg124_poly_200k_bs64_crop_640_640_coco_dsconv"

PUBLISHED: dict[str, dict[str, str]] = {
    "COCO-PanopticSegmentation": {
        "panoptic_fpn_r101_3x": "panoptic_fpn_R_101_3x",
        "panoptic_fpn_r50_1x": "panoptic_fpn_R_50_1x",
        "panoptic_fpn_r50_3x": "panoptic_fpn_R_50_3x",
    },
    "Misc": {
        "panoptic_fpn_r101_dconv_cascade_gn_3x": "panoptic_fpn_R_101_dconv_cascade_gn_3x",
        "semantic_r50_fpn_1x": "semantic_R_50_FPN_1x",
    },
    "DeepLab/Cityscapes-SemanticSegmentation": {
        "deeplab_v3_r103_os16_mg124_poly_90k_bs16": "deeplab_v3_R_103_os16_mg124_poly_90k_bs16",
        "deeplab_v3_plus_r103_os16_mg124_poly_90k_bs16": "deeplab_v3_plus_R_103_os16_mg124_poly_90k_bs16",
    },
    "Panoptic-DeepLab/Cityscapes-PanopticSegmentation": {
        f"panoptic_deeplab_r52_{_CITYSCAPES}": f"panoptic_deeplab_R_52_{_CITYSCAPES}",
        f"panoptic_deeplab_r52_{_CITYSCAPES}_dsconv": f"panoptic_deeplab_R_52_{_CITYSCAPES}_dsconv",
    },
    "Panoptic-DeepLab/COCO-PanopticSegmentation": {
        f"panoptic_deeplab_r52_{_COCO}": f"panoptic_deeplab_R_52_{_COCO}",
    },
}
