"""Published settings of semantic segmentation become recipes."""

import inspect

from det_detectron2.importer.detectron2_semantic import SEM_SEG_HEAD
from det_detectron2.importer.files import recipe_from_settings
from det_panoptic.semantic import SemSegFPNHead

SETTINGS = {
    "MODEL.META_ARCHITECTURE": "SemanticSegmentor",
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
}


def test_importer_defaults_equal_head_defaults():
    parameters = inspect.signature(SemSegFPNHead).parameters
    assert all(parameters[argument].default == default for argument, default in SEM_SEG_HEAD.values())


def test_published_settings_import_without_arguments_and_others_with():
    found = recipe_from_settings(SETTINGS)
    assert found.tree["model"]["type"] == "semantic_segmentor"
    assert found.tree["model"]["num_classes"] == 54
    assert "sem_seg_head" not in found.tree["model"]
    changes = {"NUM_CLASSES": 19, "IN_FEATURES": ["p3", "p4"], "COMMON_STRIDE": 8, "NORM": "", "LOSS_WEIGHT": 0.5}
    model = recipe_from_settings(
        SETTINGS | {f"MODEL.SEM_SEG_HEAD.{key}": value for key, value in changes.items()}
    ).tree["model"]
    assert model["num_classes"] == 19
    assert model["sem_seg_head"] == {
        "type": "sem_seg_fpn_head",
        "common_stride": 8,
        "loss_weight": 0.5,
        "in_features": ["p3", "p4"],
        "norm": "",
    }


def test_cityscapes_pixels_use_train_ids():
    data = recipe_from_settings(SETTINGS | {"DATASETS.TEST": ["cityscapes_fine_sem_seg_val"]}).tree["data"]
    assert len(data["val"].pop("classes")) == 19
    assert data["val"] == {
        "type": "semantic_folder",
        "images": "cityscapes/leftImg8bit/val",
        "labels": "cityscapes/gtFine/val",
        "image_suffix": "_leftImg8bit.png",
        "label_suffix": "_gtFine_labelTrainIds.png",
    }
