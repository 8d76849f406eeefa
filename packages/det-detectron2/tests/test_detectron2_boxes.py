"""Published settings of rotated boxes and of losses of boxes become recipes."""

import pytest
from det_core.recipes import recipe_from_tree
from det_detectron2.importer.detectron2 import UnsupportedError
from published_settings import imported

ROTATED = {
    "MODEL__PROPOSAL_GENERATOR__NAME": "RRPN",
    "MODEL__ANCHOR_GENERATOR__NAME": "RotatedAnchorGenerator",
    "MODEL__RPN__BBOX_REG_WEIGHTS": (1.0, 1.0, 1.0, 1.0, 1.0),
    "MODEL__ROI_HEADS__NAME": "RROIHeads",
    "MODEL__ROI_BOX_HEAD__POOLER_TYPE": "ROIAlignRotated",
    "MODEL__ROI_BOX_HEAD__BBOX_REG_WEIGHTS": (10.0, 10.0, 5.0, 5.0, 1.0),
}


def test_rotated_boxes_are_parts_of_the_same_model():
    model = imported(**ROTATED).tree["model"]
    assert model["proposal_generator"] == {
        "type": "rpn",
        "box_weights": [1.0] * 5,
        "anchor_generator": {"angles": [[-90, 0, 90]]},  # their default
    }
    assert model["roi_heads"] == {
        "type": "standard_roi_heads",
        "pooler_type": "ROIAlignRotated",
        "box_predictor": {"box_weights": [10.0, 10.0, 5.0, 5.0, 1.0]},
    }
    recipe_from_tree({"model": model}).check()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL__ANCHOR_GENERATOR__NAME", "DefaultAnchorGenerator"),
        ("MODEL__ROI_BOX_HEAD__POOLER_TYPE", "ROIAlignV2"),
        ("MODEL__MASK_ON", True),
    ],
)
def test_rotated_boxes_need_all_their_parts(key, value):
    with pytest.raises(UnsupportedError, match="not supported yet") as error:
        imported(**{**ROTATED, key: value})
    assert str(error.value).startswith(key.replace("__", "."))


def test_federated_loss_takes_frequencies_from_training_set():
    lvis = {
        "MODEL__ROI_BOX_HEAD__USE_FED_LOSS": True,
        "MODEL__ROI_BOX_HEAD__USE_SIGMOID_CE": True,
        "MODEL__ROI_BOX_HEAD__FED_LOSS_NUM_CLASSES": 40,
        "DATASETS__TRAIN": ("lvis_v1_train",),
    }
    found = imported(**lvis)
    assert found.tree["model"]["roi_heads"]["box_predictor"] == {
        "class_loss": "sigmoid",
        "federated": {"counts_from": "lvis/lvis_v1_train.json", "classes": 40},
    }
    recipe_from_tree({"model": found.tree["model"]}).check()
    with pytest.raises(UnsupportedError, match="USE_SIGMOID_CE"):
        imported(**{**lvis, "MODEL__ROI_BOX_HEAD__USE_SIGMOID_CE": False})
    with pytest.raises(UnsupportedError, match="is not LVIS"):
        imported(**{**lvis, "DATASETS__TRAIN": ("coco_2017_train",)})
