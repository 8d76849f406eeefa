"""Files of each family compute what the model does where an image has no detection, one, and many."""

import pytest
import torch
from counting import require_counts
from det_core import recipes
from torch import nn

BACKBONE = {
    "type": "fpn",
    "out_channels": 8,
    "bottom_up": {"type": "resnet", "depth": 18, "stem_channels": 8, "res2_channels": 8, "norm": "BN"},
}
ROI_HEADS = {"type": "standard_roi_heads", "box_head": {"type": "fast_rcnn_conv_fc_head", "fc_dim": 16}}
DENSE = {"fcos": "fcos_r50_fpn_1x"}
TWO_STAGE = {
    "mask_rcnn": {
        "model": {
            "type": "mask_rcnn",
            "num_classes": 3,
            "backbone": BACKBONE,
            "mask_head": {"type": "mask_rcnn_conv_upsample_head", "conv_dim": 8, "num_conv": 1},
            "roi_heads": ROI_HEADS,
        }
    },
}
NARROW = (
    "model.backbone.bottom_up.depth=18",
    "model.backbone.bottom_up.res2_channels=8",
    "model.backbone.bottom_up.stem_channels=8",
    "model.backbone.out_channels=32",
    "model.num_classes=2",
)
EXAMPLE, OTHER = (160, 192), (190, 150)


def built(name):
    """A narrow model whose random scores are spread, so that a threshold parts them."""
    torch.manual_seed(0)
    recipe = recipes.load(DENSE[name], NARROW) if name in DENSE else recipes.recipe_from_tree(TWO_STAGE[name])
    model = recipe.build_model().eval()
    for path, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and "head" in path and "bbox" not in path:
            nn.init.kaiming_normal_(module.weight)
    return model


def test_counts_fcos_none_one_and_many_as_the_model(tmp_path):
    require_counts(built("fcos"), EXAMPLE, OTHER, tmp_path)


@pytest.mark.slow
def test_counts_mask_rcnn_none_one_many_agree(tmp_path):
    require_counts(built("mask_rcnn"), EXAMPLE, OTHER, tmp_path)
