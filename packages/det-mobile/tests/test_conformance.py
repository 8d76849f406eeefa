"""det's own checks of a plugin, a test each; `pytest -m "not slow"` leaves out what takes long."""

from dataclasses import replace

import torch
from det_devkit.conformance import conformance
from det_mobile.heads import SUBCLASS
from small import BLOCKS, c4_tree, folder, subclass_file, teacher

SMALL = {"blocks": BLOCKS}


def with_subclasses(targets):
    """Each object with a sub-class."""
    return replace(targets, extras={**targets.extras, SUBCLASS: torch.ones_like(targets.labels)})


FILE = subclass_file(folder(), {"extras": {"subclass_id": 2}}, {"extras": {"subclass_id": 0}})

test_conformance = conformance(
    "det-mobile",
    annotate=with_subclasses,
    examples={
        "backbones/fbnet": SMALL,
        "backbones/fbnet_c4": SMALL,
        "heads/fbnet_box_head": SMALL,
        "heads/fbnet_keypoint_head": SMALL,
        "heads/fbnet_mask_head": SMALL,
        "heads/fbnet_rpn_head": SMALL,
        "datasets/subclass_coco": {"images": str(folder()), "annotations": str(FILE)},
        "heads/subclass_roi_heads": {"box_head": {"type": "fast_rcnn_conv_fc_head", "fc_dim": 16}},
        "models/distilled": {
            "student": c4_tree(),
            "teacher": teacher(),
            "features": {"levels": {"trunk3": "p4"}, "channels": 12},
        },
    },
)
