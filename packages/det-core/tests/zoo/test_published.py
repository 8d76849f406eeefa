"""The index of published models, and the names that lead to it."""

import pytest
from det_core import recipes
from det_core.zoo import class_names, published

THREE_TIMES = "COCO-Detection/faster_rcnn_R_50_FPN_3x"


@pytest.mark.parametrize(
    "name",
    ["faster_rcnn_r50_fpn_3x", "det-core/faster_rcnn_r50_fpn_3x", THREE_TIMES, f"det-core/{THREE_TIMES}"],
)
def test_every_name_of_a_recipe_means_its_model(name):
    assert published.of_recipe(name).name == THREE_TIMES
    assert published.of_recipe(recipes.load(name).source).name == THREE_TIMES


@pytest.mark.parametrize(
    ("task", "name"),
    [
        ("detection", "d2go/faster_rcnn_fbnetv3a_dsmask_C4"),
        ("instances", "TensorMask/tensormask_R_50_FPN_1x"),
        ("keypoints", "d2go/keypoint_rcnn_fbnetv3a_dsmask_C4"),
        ("proposals", "COCO-Detection/rpn_R_50_C4_1x"),
        ("semantic", "PointRend/SemanticSegmentation/pointrend_semantic_R_101_FPN_1x_cityscapes"),
        ("panoptic", "Misc/panoptic_fpn_R_101_dconv_cascade_gn_3x"),
        ("densepose", "DensePose/densepose_rcnn_R_50_FPN_s1x"),
    ],
)
def test_model_has_one_task(task, name):
    assert published.models()[name].task == task


def test_classes_of_known_datasets_have_names_and_numbers():
    names, numbers = class_names.class_names("coco_2017_val", 80), class_names.category_ids("coco_2017_val", 80)
    assert len(set(names)) == len(set(numbers)) == 80
    coco = dict(zip(numbers, names, strict=True))
    assert (coco[1], coco[13], coco[44], coco[90]) == ("person", "stop sign", "bottle", "toothbrush")
    assert class_names.class_names("keypoints_coco_2017_val", 1) == ("person",)
    assert class_names.class_names("voc_2007_test", 20)[-1] == "tvmonitor"
    assert class_names.class_names("cityscapes_fine_instance_seg_val", 8)[1] == "rider"


def test_unknown_classes_are_numbered():
    assert class_names.class_names("lvis_v1_val", 3) == ("class 0", "class 1", "class 2")
    assert class_names.category_ids("lvis_v1_val", 3) == (1, 2, 3)
    assert class_names.class_names("coco_2017_val", 2) == ("class 0", "class 1")
    assert class_names.category_ids("coco_2017_val", 2) == ()


def test_recipe_without_published_model():
    assert published.of_recipe("rotated_faster_rcnn_r50_fpn_3x") is None
