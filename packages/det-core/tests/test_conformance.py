"""Core's own components are held to what it asks of plugins."""

import small_datasets
from det_devkit.conformance import conformance

BOX_HEAD = {"type": "fast_rcnn_conv_fc_head", "fc_dim": 16}
STAGE = {"type": "standard_roi_heads", "box_head": BOX_HEAD}
MASKS = {
    "type": "mask_rcnn_conv_upsample_head",
    "num_conv": 1,
    "conv_dim": 16,
    "pooler": {"type": "roi_pooler", "resolution": 7},
}
POINTS = {
    "type": "keypoint_rcnn_conv_deconv_upsample_head",
    "conv_dims": [16],
    "pooler": {"type": "roi_pooler", "resolution": 7},
}


def arguments(node):
    return {name: value for name, value in node.items() if name != "type"}


test_core = conformance(
    "det-core",
    examples={
        "backbones/fpn": {"out_channels": 32},
        "backbones/regnet": {
            "depth": 8,
            "width": 16,
            "slope": 8.0,
            "multiplier": 2.0,
            "group_width": 8,
            "out_features": ["s1", "s3"],
        },
        "backbones/resnet": {"depth": 18, "res2_channels": 16, "stem_channels": 16, "out_features": ["res2", "res4"]},
        "backbones/torchvision": {"name": "resnet18", "strides": [4, 8], "norm": "BN"},
        "heads/cascade_roi_heads": {"box_head": BOX_HEAD},
        "heads/fast_rcnn_conv_fc_head": {"num_conv": 1, "conv_dim": 16, "fc_dim": 16},
        "heads/fcos_head": {"tower": {"conv_dims": [-1]}},
        "heads/keypoint_rcnn_conv_deconv_upsample_head": arguments(POINTS),
        "heads/mask_rcnn_conv_upsample_head": arguments(MASKS),
        "heads/res5_roi_heads": {"in_features": ["p4"], "res5": {"out_channels": 64, "width_per_group": 2}},
        "heads/retinanet_head": {"tower": {"conv_dims": [-1]}},
        "heads/standard_roi_heads": arguments(STAGE),
        "models/faster_rcnn": {"roi_heads": STAGE},
        "models/keypoint_rcnn": {"roi_heads": STAGE, "keypoint_head": POINTS},
        "models/mask_rcnn": {"roi_heads": STAGE, "mask_head": MASKS},
        "datasets/coco": small_datasets.coco,
    },
)
