"""Published settings of a Faster R-CNN with a pyramid."""

import inspect

from det_core.plugins import registry
from det_core.recipes import Factory
from det_core.recipes.moved import ARGUMENTS
from det_detectron2.importer.files import recipe_from_settings

FPN_SETTINGS = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.RPN.PRE_NMS_TOPK_TRAIN": 2000,
    "MODEL.RPN.PRE_NMS_TOPK_TEST": 1000,
    "MODEL.RPN.POST_NMS_TOPK_TRAIN": 1000,
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
}


def imported(**changes):
    return recipe_from_settings({**FPN_SETTINGS, **{key.replace("__", "."): value for key, value in changes.items()}})


def default_of(target, argument):
    """The default of an argument of a constructor, also where it has moved into a part."""
    moved = (
        moves for name, moves in ARGUMENTS.items() if argument in moves and registry.find(None, name).load() is target
    )
    first, *parts = next(moved, {argument: argument})[argument].split(".")
    value = inspect.signature(target).parameters[first].default
    for part in parts:
        if isinstance(value, Factory):
            value = value.arguments.get(part, inspect.signature(value.target).parameters[part].default)
        else:
            value = getattr(value, part)
    return value
