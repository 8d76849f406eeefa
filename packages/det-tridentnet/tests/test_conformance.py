"""det's own checks of a plugin, a test each; `pytest -m "not slow"` leaves out what takes long."""

from det_devkit.conformance import conformance

SMALL = {"stem_channels": 8, "res2_channels": 16, "width_per_group": 4}

test_conformance = conformance(
    "det-tridentnet",
    examples={
        "backbones/trident_resnet": SMALL,
        "models/trident_rcnn": {
            "num_classes": 2,
            "backbone": {"type": "det-tridentnet/trident_resnet", **SMALL},
            "proposal_generator": {
                "type": "rpn",
                "anchor_generator": {"sizes": [[16, 32, 64]]},
                "nms": {"post_nms_topk_train": 40, "post_nms_topk_test": 20},
            },
            "roi_heads": {"type": "res5_roi_heads", "res5": {"out_channels": 16, "width_per_group": 1}},
        },
    },
)
