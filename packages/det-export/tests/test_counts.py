"""Files of each family compute what the model does where an image has no detection, one, and many."""

import pytest
import torch
from det_core import recipes
from det_core.data import read_image
from det_core.plugins import registry
from det_core.structures import ImageBatch
from det_export.check import compare, shipped
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


def shifted(model, bias):
    """The state dict with another bias of the scores: of all classes, or of the background where there is one."""
    state = {key: value.clone() for key, value in model.state_dict().items()}
    name = next(key for key in state if key.endswith("cls_score.bias"))
    if "roi_heads" in name:
        state[name][-1] = -bias
    else:
        state[name][:] = bias
    return state


@torch.no_grad()
def bias_for_one(model):
    """A bias with which the model has a single detection on the first picture, by bisection."""
    low, high = -1e4, 1e4
    batch = picture(OTHER)
    for _ in range(60):
        middle = (low + high) / 2
        model.load_state_dict(shifted(model, middle))
        count = len(model(batch)[0].detections)
        if count == 1:
            return middle
        low, high = (middle, high) if count == 0 else (low, middle)
    raise RuntimeError("no bias gives a single detection")


def picture(size):
    pixels = read_image(shipped()[0])[None].float()
    resized = nn.functional.interpolate(pixels, size=size, mode="bilinear", antialias=True)
    return ImageBatch(pixels=resized.round().to(torch.uint8), sizes=(size,))


def require_counts(name, tmp_path):
    model = built(name)
    one = bias_for_one(model)
    example = ImageBatch(pixels=torch.zeros(1, 3, *EXAMPLE, dtype=torch.uint8), sizes=(EXAMPLE,))
    exporter = registry.find("exporters", "torch_export", "test").load()()
    path = exporter.export(model, example, tmp_path / "model")
    program, facts = exporter._last
    for bias, least, most in ((-1e6, 0, 0), (one, 1, 1), (one + max(3, abs(one) / 2), 2, 100)):
        state = shifted(model, bias)
        model.load_state_dict(state)
        key = next(key for key in state if key.endswith("cls_score.bias"))
        program.state_dict[f"model.{key}"].copy_(state[key])
        exporter.write(program, facts, path)
        agreement = compare(model, exporter.load(path), shipped()[:1], [OTHER], path)
        row = agreement.rows[0]
        assert least <= row.expected <= most, (bias, row)
        assert row.found == row.expected
        assert agreement.agrees, agreement


def test_counts_fcos_none_one_and_many_as_the_model(tmp_path):
    require_counts("fcos", tmp_path)


@pytest.mark.slow
def test_counts_mask_rcnn_none_one_and_many_as_the_model(tmp_path):
    require_counts("mask_rcnn", tmp_path)
