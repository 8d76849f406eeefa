"""The recipes that come with det-core."""

import pytest
import torch
from det_core import recipes

# Name -> published path, and published number of parameters.
ZOO = {
    "faster_rcnn_r50_fpn_1x": ("COCO-Detection/faster_rcnn_R_50_FPN_1x", 41_699_936),
    "faster_rcnn_r50_fpn_3x": ("COCO-Detection/faster_rcnn_R_50_FPN_3x", 41_699_936),
    "faster_rcnn_r101_fpn_3x": ("COCO-Detection/faster_rcnn_R_101_FPN_3x", 60_639_840),
    "fcos_r50_fpn_1x": ("COCO-Detection/fcos_R_50_FPN_1x", 32_244_245),
    "mask_rcnn_regnetx_4gf_dds_fpn_1x": (
        "COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x",
        41_159_888,
    ),
    "mask_rcnn_regnety_4gf_dds_fpn_1x": (
        "COCO-InstanceSegmentation/mask_rcnn_regnety_4gf_dds_fpn_1x",
        39_892_168,
    ),
    "retinanet_r50_fpn_1x": ("COCO-Detection/retinanet_R_50_FPN_1x", 37_915_572),
    "retinanet_r50_fpn_3x": ("COCO-Detection/retinanet_R_50_FPN_3x", 37_915_572),
    "retinanet_r101_fpn_3x": ("COCO-Detection/retinanet_R_101_FPN_3x", 56_855_476),
    "cascade_mask_rcnn_r50_fpn_1x": ("Misc/cascade_mask_rcnn_R_50_FPN_1x", 71_984_926),
    "cascade_mask_rcnn_r50_fpn_3x": ("Misc/cascade_mask_rcnn_R_50_FPN_3x", 71_984_926),
    "keypoint_rcnn_r50_fpn_1x": ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_1x", 59_133_158),
    "keypoint_rcnn_r50_fpn_3x": ("COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x", 59_133_158),
    "mask_rcnn_r50_fpn_1x": ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x", 44_343_216),
    "mask_rcnn_r50_fpn_3x": ("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x", 44_343_216),
    "semantic_r50_fpn_1x": ("Misc/semantic_R_50_FPN_1x", 28_430_070),
    "rpn_r50_fpn_1x": ("COCO-Detection/rpn_R_50_FPN_1x", 27_393_231),
}


@pytest.mark.parametrize("name", ZOO)
def test_a_recipe_fits_its_constructors_and_has_the_published_number_of_parameters(name):
    recipe = recipes.load(name).check()
    with torch.device("meta"):
        model = recipe.build_model()
    assert sum(parameter.numel() for parameter in model.parameters()) == ZOO[name][1]
    assert model.num_classes == recipe.tree["model"]["num_classes"]
    assert recipe.summary


@pytest.mark.parametrize("name", ZOO)
def test_the_published_path_is_another_name_of_the_recipe(name):
    assert recipes.load(ZOO[name][0]) == recipes.load(name)


@pytest.mark.parametrize("name", ZOO)
def test_a_resolved_recipe_is_its_own_resolution(name):
    resolved = recipes.load(name).resolved()
    assert resolved.resolved() == resolved


def test_the_longer_schedule_differs_in_steps_alone():
    short, long = (recipes.load(f"faster_rcnn_r50_fpn_{times}x").tree for times in (1, 3))
    assert short["model"] == long["model"]
    assert short["data"] == long["data"]
    assert (long["train"]["steps"], long["train"]["schedule"]["milestones"]) == (270_000, [210_000, 250_000])
    assert {**long["train"], "steps": 0, "schedule": 0} == {**short["train"], "steps": 0, "schedule": 0}
