"""The index of published models, and the names that lead to it."""

import re

import pytest
from det_core import recipes
from det_core.errors import UnknownNameError, WeightsError
from det_core.zoo import PUBLISHED, TORCHVISION, class_names, published

THREE_TIMES = "COCO-Detection/faster_rcnn_R_50_FPN_3x"


def test_metrics_of_models_share_one_vocabulary():
    model = published.find(THREE_TIMES)
    assert model.figures == {"box_ap": 40.2, "seconds": 0.038, "gigabytes": 3.0}
    assert model.task == "detection"
    assert published.find("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x").figures["mask_ap"] == 37.2
    assert published.find("COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x").figures["keypoint_ap"] == 65.5
    deeplab = next(name for name in published.models() if name.startswith("Panoptic-DeepLab/COCO"))
    assert published.find(deeplab).figures == {"box_ap": 18.6, "mask_ap": 19.7}


@pytest.mark.parametrize(
    "name",
    ["faster_rcnn_r50_fpn_3x", "det-core/faster_rcnn_r50_fpn_3x", THREE_TIMES, f"det-core/{THREE_TIMES}"],
)
def test_every_name_of_a_recipe_means_its_model(name):
    assert published.of_recipe(name).name == published.find(name).name == THREE_TIMES
    assert published.of_recipe(recipes.load(name).source).name == THREE_TIMES


def test_core_models_have_recipes_and_others_packages():
    tables = (PUBLISHED | TORCHVISION).items()
    ours = {f"{folder}/{path}": name for folder, names in tables for name, path in names.items()}
    for name, model in published.models().items():
        assert (model.package == "det-core") == (name in ours)
        if name in ours:
            assert model.recipe() == ours[name]
        assert model.task in published.TASKS


def test_model_of_missing_package_has_no_recipe():
    assert published.find("TensorMask/tensormask_R_50_FPN_1x").recipe() == ""
    assert published.find("TensorMask/tensormask_R_50_FPN_1x").package == "det-tensormask"
    assert published.of_recipe("TensorMask/tensormask_R_50_FPN_1x") is None


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
    assert published.find(name).task == task


def test_misspelt_name_gets_suggestions():
    with pytest.raises(UnknownNameError, match=r"is not published; did you mean .*'COCO-Detection/faster_rcnn_R_50"):
        published.find("COCO-Detection/fastr_rcnn_R_50_FPN_3x")
    with pytest.raises(UnknownNameError, match="is not published; `det zoo list` lists those that are"):
        published.find("zzz")


def test_recipe_without_published_model_is_refused():
    assert published.of_recipe("rotated_faster_rcnn_r50_fpn_3x") is None
    with pytest.raises(UnknownNameError, match="is a recipe of no published model"):
        published.find("rotated_faster_rcnn_r50_fpn_3x")


def test_model_without_weights_is_refused():
    assert published.find(THREE_TIMES).source().startswith("https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/")
    with pytest.raises(WeightsError, match=re.escape("COCO-Detection/fcos_R_50_FPN_1x: has no published weights")):
        published.find("fcos_r50_fpn_1x").source()


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
