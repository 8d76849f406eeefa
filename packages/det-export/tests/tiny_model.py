"""One tiny two-stage model with masks, its recipe and classes, for tests of formats."""

import torch
from det_core import recipes
from det_core.structures import ImageBatch

TREE = {
    "model": {
        "type": "mask_rcnn",
        "num_classes": 3,
        "backbone": {
            "type": "fpn",
            "out_channels": 8,
            "bottom_up": {"type": "resnet", "depth": 18, "stem_channels": 8, "res2_channels": 8, "norm": "BN"},
        },
        "mask_head": {"type": "mask_rcnn_conv_upsample_head", "conv_dim": 8, "num_conv": 1},
        "roi_heads": {
            "type": "standard_roi_heads",
            "box_head": {"type": "fast_rcnn_conv_fc_head", "fc_dim": 16},
            "box_predictor": {"type": "fast_rcnn_predictor", "nms": {"score_threshold": 0.01}},
        },
    },
    "data": {"eval_transforms": [{"type": "det_core.data:ResizeShortestEdge", "size": 160}]},
}
CLASSES = ("cell", "platelet", "other")
EXAMPLE = (192, 224)


def model():
    torch.manual_seed(0)
    return recipes.recipe_from_tree(TREE).build_model().eval()


def example(count=1):
    return ImageBatch(pixels=torch.zeros(count, 3, *EXAMPLE, dtype=torch.uint8), sizes=(EXAMPLE,) * count)


def exported(exporter, folder, weights=None):
    """The file that an exporter writes of the model, with classes, category ids, a recipe and a licence."""
    recipe = recipes.recipe_from_tree(TREE).to_yaml()
    exporter.about = {"classes": CLASSES, "category_ids": (3, 5, 9), "recipe": recipe, "licence": "CC0-1.0"}
    return exporter.export(weights or model(), example(), folder / "model")
