"""The plugin is found, its recipes are the published configurations, and its settings are read."""

import pytest
from det_core import plugins, recipes
from det_core.zoo import published
from det_detectron2.importer.detectron2 import UnsupportedError
from det_detectron2.importer.files import recipe_from_settings
from det_pointrend import importer
from det_pointrend.plugin import PUBLISHED

NAMES = {name: f"{folder}/{path}" for folder, names in PUBLISHED.items() for name, path in names.items()}
INSTANCES = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.MASK_ON": True,
    "MODEL.ROI_MASK_HEAD.NAME": "PointRendMaskHead",
    "MODEL.ROI_MASK_HEAD.POINT_HEAD_ON": True,
}
SEMANTIC = {
    **INSTANCES,
    "MODEL.META_ARCHITECTURE": "SemanticSegmentor",
    "MODEL.SEM_SEG_HEAD.NAME": "PointRendSemSegHead",
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 80,
    "MODEL.MASK_ON": False,
    "MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead",
}


def test_plugin_is_active_without_problems():
    (found,) = [each for each in plugins.catalog().plugins if each.distribution == "det-pointrend"]
    assert (found.status, found.problem) == ("active", "")


@pytest.mark.parametrize("name", NAMES)
def test_recipe_fits_constructors_and_published_path_is_alias(name):
    recipe = recipes.load(name).check()
    assert recipes.load(NAMES[name]) == recipe
    assert published.of_recipe(name).name == NAMES[name]


def test_published_models_of_both_projects_have_recipes():
    wanted = {name for name in published.models() if name.startswith(("PointRend/", "PointSup/"))}
    assert wanted == set(NAMES.values())


def test_settings_of_the_heads_arrive():
    changes = {
        "MODEL.ROI_MASK_HEAD.FC_DIM": 512,
        "MODEL.ROI_MASK_HEAD.OUTPUT_SIDE_RESOLUTION": 14,
        "MODEL.ROI_MASK_HEAD.IN_FEATURES": ["p2", "p3"],
        "MODEL.POINT_HEAD.FC_DIM": 128,
        "MODEL.POINT_HEAD.CLS_AGNOSTIC_MASK": True,
        "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": False,
        "MODEL.POINT_HEAD.IN_FEATURES": ["p3"],
        "MODEL.POINT_HEAD.TRAIN_NUM_POINTS": 100,
        "MODEL.POINT_HEAD.OVERSAMPLE_RATIO": 4,
        "MODEL.POINT_HEAD.IMPORTANCE_SAMPLE_RATIO": 0.5,
        "MODEL.POINT_HEAD.SUBDIVISION_STEPS": 3,
        "MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS": 196,
    }
    found = recipe_from_settings(INSTANCES | changes)
    assert found.unknown == found.unused == []
    assert found.tree["model"]["mask_head"] == {
        "type": "det-pointrend/pointrend_mask_head",
        "in_features": ["p2", "p3"],
        "fc_dim": 512,
        "point_features": ["p3"],
        "coarse_resolution": 14,
        "point_head": {
            "type": "det_pointrend.layers:StandardPointHead",
            "fc_dim": 128,
            "class_agnostic": True,
            "coarse_each_layer": False,
        },
        "num_points": 100,
        "oversample": 4,
        "importance": 0.5,
        "subdivision_steps": 3,
        "subdivision_points": 196,
    }


def test_settings_of_the_implicit_head_arrive():
    changes = {
        "MODEL.ROI_MASK_HEAD.NAME": "ImplicitPointRendMaskHead",
        "MODEL.POINT_HEAD.NAME": "ImplicitPointHead",
        "MODEL.POINT_HEAD.TRAIN_NUM_POINTS": 100,
        "MODEL.IMPLICIT_POINTREND.POS_ENC_ENABLED": False,
        "MODEL.IMPLICIT_POINTREND.PARAMS_L2_REGULARIZER": 0.1,
    }
    assert recipe_from_settings(INSTANCES | changes).tree["model"]["mask_head"] == {
        "type": "det-pointrend/implicit_pointrend_mask_head",
        "point_head": {"type": "det_pointrend.layers:ImplicitPointHead", "positions": False},
        "points": {"type": "det_pointrend.point_targets:DrawnPoints", "count": 100},
        "regularization": 0.1,
        "subdivision_steps": 5,
    }


def test_semantic_head_settings_arrive_and_crop_follows_resize():
    changes = {
        "MODEL.POINT_HEAD.COARSE_PRED_EACH_LAYER": False,
        "MODEL.POINT_HEAD.NUM_FC": 2,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": 64,
        "INPUT.CROP.ENABLED": True,
        "INPUT.CROP.SIZE": [64, 64],
        "INPUT.CROP.TYPE": "absolute",
        "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA": 0.5,
    }
    found = recipe_from_settings(SEMANTIC | changes)
    assert found.unknown == found.unused == []
    assert found.tree["model"]["sem_seg_head"] == {
        "type": "det-pointrend/pointrend_sem_seg_head",
        "coarse_head": {"type": "sem_seg_fpn_head", "conv_dim": 64},
        "point_head": {"type": "det_pointrend.layers:StandardPointHead", "num_fc": 2, "coarse_each_layer": False},
        "num_points": 196,
        "subdivision_steps": 5,
        "subdivision_points": 784,
    }
    kinds = [each["type"].rpartition(":")[2] for each in found.tree["data"]["train_transforms"]]
    assert kinds == ["ResizeShortestEdge", "RandomCrop", "RandomHorizontalFlip"]
    assert found.tree["data"]["train_transforms"][1]["max_class_share"] == 0.5


def test_another_number_of_classes_for_the_points_is_refused():
    with pytest.raises(UnsupportedError, match=r"MODEL\.POINT_HEAD\.NUM_CLASSES"):
        recipe_from_settings(INSTANCES | {"MODEL.POINT_HEAD.NUM_CLASSES": 8})


def test_project_defaults_leave_other_configurations_unchanged():
    plain = INSTANCES | {"MODEL.ROI_MASK_HEAD.NAME": "MaskRCNNConvUpsampleHead"}
    del plain["MODEL.ROI_MASK_HEAD.POINT_HEAD_ON"]
    found = recipe_from_settings(plain | {"MODEL.POINT_HEAD.NUM_CLASSES": 8})
    assert found.tree == recipe_from_settings(plain).tree
    assert found.unknown == found.unused == []
    assert importer.DEFAULTS["MODEL.POINT_HEAD.SUBDIVISION_NUM_POINTS"] == 784
