"""The recipes that come with core: files in this folder, named as published in lower case.

One table, sorted: folder of the published configuration -> name of the recipe -> name of the configuration. The names
of some folders are put in front where others have a configuration of the same name.
"""

__all__ = ["PUBLISHED", "TORCHVISION", "UNPUBLISHED"]

# Of parts that are published, in a configuration that is not.
UNPUBLISHED = ("rotated_faster_rcnn_r50_fpn_3x",)

PUBLISHED: dict[str, dict[str, str]] = {
    "COCO-Detection": {
        "faster_rcnn_r101_c4_3x": "faster_rcnn_R_101_C4_3x",
        "faster_rcnn_r101_dc5_3x": "faster_rcnn_R_101_DC5_3x",
        "faster_rcnn_r101_fpn_3x": "faster_rcnn_R_101_FPN_3x",
        "faster_rcnn_r50_c4_1x": "faster_rcnn_R_50_C4_1x",
        "faster_rcnn_r50_c4_3x": "faster_rcnn_R_50_C4_3x",
        "faster_rcnn_r50_dc5_1x": "faster_rcnn_R_50_DC5_1x",
        "faster_rcnn_r50_dc5_3x": "faster_rcnn_R_50_DC5_3x",
        "faster_rcnn_r50_fpn_1x": "faster_rcnn_R_50_FPN_1x",
        "faster_rcnn_r50_fpn_3x": "faster_rcnn_R_50_FPN_3x",
        "faster_rcnn_x101_32x8d_fpn_3x": "faster_rcnn_X_101_32x8d_FPN_3x",
        "fcos_r50_fpn_1x": "fcos_R_50_FPN_1x",
        "retinanet_r101_fpn_3x": "retinanet_R_101_FPN_3x",
        "retinanet_r50_fpn_1x": "retinanet_R_50_FPN_1x",
        "retinanet_r50_fpn_3x": "retinanet_R_50_FPN_3x",
        "rpn_r50_c4_1x": "rpn_R_50_C4_1x",
        "rpn_r50_fpn_1x": "rpn_R_50_FPN_1x",
    },
    "COCO-InstanceSegmentation": {
        "mask_rcnn_r101_c4_3x": "mask_rcnn_R_101_C4_3x",
        "mask_rcnn_r101_dc5_3x": "mask_rcnn_R_101_DC5_3x",
        "mask_rcnn_r101_fpn_3x": "mask_rcnn_R_101_FPN_3x",
        "mask_rcnn_r50_c4_1x": "mask_rcnn_R_50_C4_1x",
        "mask_rcnn_r50_c4_3x": "mask_rcnn_R_50_C4_3x",
        "mask_rcnn_r50_dc5_1x": "mask_rcnn_R_50_DC5_1x",
        "mask_rcnn_r50_dc5_3x": "mask_rcnn_R_50_DC5_3x",
        "mask_rcnn_r50_fpn_1x": "mask_rcnn_R_50_FPN_1x",
        "mask_rcnn_r50_fpn_1x_giou": "mask_rcnn_R_50_FPN_1x_giou",
        "mask_rcnn_r50_fpn_3x": "mask_rcnn_R_50_FPN_3x",
        "mask_rcnn_regnetx_4gf_dds_fpn_1x": "mask_rcnn_regnetx_4gf_dds_fpn_1x",
        "mask_rcnn_regnety_4gf_dds_fpn_1x": "mask_rcnn_regnety_4gf_dds_fpn_1x",
        "mask_rcnn_x101_32x8d_fpn_3x": "mask_rcnn_X_101_32x8d_FPN_3x",
    },
    "COCO-Keypoints": {
        "keypoint_rcnn_r101_fpn_3x": "keypoint_rcnn_R_101_FPN_3x",
        "keypoint_rcnn_r50_fpn_1x": "keypoint_rcnn_R_50_FPN_1x",
        "keypoint_rcnn_r50_fpn_3x": "keypoint_rcnn_R_50_FPN_3x",
        "keypoint_rcnn_x101_32x8d_fpn_3x": "keypoint_rcnn_X_101_32x8d_FPN_3x",
    },
    "Detectron1-Comparisons": {
        "detectron1_faster_rcnn_r50_fpn_noaug_1x": "faster_rcnn_R_50_FPN_noaug_1x",
        "detectron1_keypoint_rcnn_r50_fpn_1x": "keypoint_rcnn_R_50_FPN_1x",
        "detectron1_mask_rcnn_r50_fpn_noaug_1x": "mask_rcnn_R_50_FPN_noaug_1x",
    },
    "Misc": {
        "cascade_mask_rcnn_r50_fpn_1x": "cascade_mask_rcnn_R_50_FPN_1x",
        "cascade_mask_rcnn_r50_fpn_3x": "cascade_mask_rcnn_R_50_FPN_3x",
        "cascade_mask_rcnn_x152_32x8d_fpn_in5k_gn_dconv": "cascade_mask_rcnn_X_152_32x8d_FPN_IN5k_gn_dconv",
        "mask_rcnn_r50_fpn_1x_cls_agnostic": "mask_rcnn_R_50_FPN_1x_cls_agnostic",
        "mask_rcnn_r50_fpn_1x_dconv_c3-c5": "mask_rcnn_R_50_FPN_1x_dconv_c3-c5",
        "mask_rcnn_r50_fpn_3x_dconv_c3-c5": "mask_rcnn_R_50_FPN_3x_dconv_c3-c5",
        "mask_rcnn_r50_fpn_3x_gn": "mask_rcnn_R_50_FPN_3x_gn",
        "mask_rcnn_r50_fpn_3x_syncbn": "mask_rcnn_R_50_FPN_3x_syncbn",
        "scratch_mask_rcnn_r50_fpn_3x_gn": "scratch_mask_rcnn_R_50_FPN_3x_gn",
        "scratch_mask_rcnn_r50_fpn_9x_gn": "scratch_mask_rcnn_R_50_FPN_9x_gn",
        "scratch_mask_rcnn_r50_fpn_9x_syncbn": "scratch_mask_rcnn_R_50_FPN_9x_syncbn",
    },
    "new_baselines": {
        "mask_rcnn_r101_fpn_100ep_lsj": "mask_rcnn_R_101_FPN_100ep_LSJ",
        "mask_rcnn_r101_fpn_200ep_lsj": "mask_rcnn_R_101_FPN_200ep_LSJ",
        "mask_rcnn_r101_fpn_400ep_lsj": "mask_rcnn_R_101_FPN_400ep_LSJ",
        "mask_rcnn_r50_fpn_100ep_lsj": "mask_rcnn_R_50_FPN_100ep_LSJ",
        "mask_rcnn_r50_fpn_200ep_lsj": "mask_rcnn_R_50_FPN_200ep_LSJ",
        "mask_rcnn_r50_fpn_400ep_lsj": "mask_rcnn_R_50_FPN_400ep_LSJ",
        "mask_rcnn_r50_fpn_50ep_lsj": "mask_rcnn_R_50_FPN_50ep_LSJ",
        "mask_rcnn_regnetx_4gf_dds_fpn_100ep_lsj": "mask_rcnn_regnetx_4gf_dds_FPN_100ep_LSJ",
        "mask_rcnn_regnetx_4gf_dds_fpn_200ep_lsj": "mask_rcnn_regnetx_4gf_dds_FPN_200ep_LSJ",
        "mask_rcnn_regnetx_4gf_dds_fpn_400ep_lsj": "mask_rcnn_regnetx_4gf_dds_FPN_400ep_LSJ",
        "mask_rcnn_regnety_4gf_dds_fpn_100ep_lsj": "mask_rcnn_regnety_4gf_dds_FPN_100ep_LSJ",
        "mask_rcnn_regnety_4gf_dds_fpn_200ep_lsj": "mask_rcnn_regnety_4gf_dds_FPN_200ep_LSJ",
        "mask_rcnn_regnety_4gf_dds_fpn_400ep_lsj": "mask_rcnn_regnety_4gf_dds_FPN_400ep_LSJ",
    },
    "Rethinking-BatchNorm": {
        "mask_rcnn_bnhead": "mask_rcnn_BNhead",
        "mask_rcnn_bnhead_batch_stats": "mask_rcnn_BNhead_batch_stats",
        "mask_rcnn_bnhead_shuffle": "mask_rcnn_BNhead_shuffle",
        "mask_rcnn_syncbnhead": "mask_rcnn_SyncBNhead",
        "retinanet_syncbnhead": "retinanet_SyncBNhead",
        "retinanet_syncbnhead_sharedtraining": "retinanet_SyncBNhead_SharedTraining",
    },
}

# Of torchvision, folder by folder as above.
TORCHVISION: dict[str, dict[str, str]] = {
    "torchvision": {
        f"torchvision_{name}": name
        for name in (
            "fasterrcnn_resnet50_fpn",
            "fasterrcnn_resnet50_fpn_v2",
            "fcos_resnet50_fpn",
            "keypointrcnn_resnet50_fpn",
            "maskrcnn_resnet50_fpn",
            "maskrcnn_resnet50_fpn_v2",
            "retinanet_resnet50_fpn",
            "retinanet_resnet50_fpn_v2",
        )
    }
}
