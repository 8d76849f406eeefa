"""Published models by name: figures, recipes, packages."""

import re

import pytest
from det_core.errors import UnknownNameError, WeightsError
from det_core.plugins import discovery
from det_core.zoo import PUBLISHED, TORCHVISION, published
from det_inspect.zoo import TASKS, figures_of, package_of, published_model, recipe_of, weights_of

THREE_TIMES = "COCO-Detection/faster_rcnn_R_50_FPN_3x"


def test_metrics_of_models_share_one_vocabulary():
    model = published_model(THREE_TIMES)
    assert figures_of(model) == {"box_ap": 40.2, "seconds": 0.038, "gigabytes": 3.0}
    assert model.task == "detection"
    assert figures_of(published_model("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"))["mask_ap"] == 37.2
    assert figures_of(published_model("COCO-Keypoints/keypoint_rcnn_R_50_FPN_3x"))["keypoint_ap"] == 65.5
    deeplab = next(name for name in published.models() if name.startswith("Panoptic-DeepLab/COCO"))
    assert figures_of(published_model(deeplab)) == {"box_ap": 18.6, "mask_ap": 19.7}


def test_core_models_have_recipes_and_others_packages():
    tables = (PUBLISHED | TORCHVISION).items()
    ours = {f"{folder}/{path}": name for folder, names in tables for name, path in names.items()}
    for name, model in published.models().items():
        assert (package_of(model) == "det-core") == (name in ours)
        if name in ours:
            assert recipe_of(model) == ours[name]
        assert model.task in TASKS


def test_model_of_missing_package_has_no_recipe(monkeypatch):
    monkeypatch.setenv("DET_DISABLE_PLUGINS", "det-tensormask")
    monkeypatch.setattr(discovery, "_catalog", None)
    assert recipe_of(published_model("TensorMask/tensormask_R_50_FPN_1x")) == ""
    assert package_of(published_model("TensorMask/tensormask_R_50_FPN_1x")) == "det-tensormask"
    assert published.of_recipe("TensorMask/tensormask_R_50_FPN_1x") is None


def test_misspelt_name_gets_suggestions():
    with pytest.raises(UnknownNameError, match=r"is not published; did you mean .*'COCO-Detection/faster_rcnn_R_50"):
        published_model("COCO-Detection/fastr_rcnn_R_50_FPN_3x")
    with pytest.raises(UnknownNameError, match="is not published; `det zoo list` lists those that are"):
        published_model("zzz")


def test_recipe_without_published_model_is_refused():
    assert published.of_recipe("rotated_faster_rcnn_r50_fpn_3x") is None
    with pytest.raises(UnknownNameError, match="is a recipe of no published model"):
        published_model("rotated_faster_rcnn_r50_fpn_3x")


def test_model_without_weights_is_refused():
    assert weights_of(published_model(THREE_TIMES)).startswith(
        "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/"
    )
    with pytest.raises(WeightsError, match=re.escape("COCO-Detection/fcos_R_50_FPN_1x: has no published weights")):
        weights_of(published_model("fcos_r50_fpn_1x"))
