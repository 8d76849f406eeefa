"""The settings of the published project, also those that no published configuration has."""

import pytest
from det_core.recipes import recipe_from_tree
from det_detectron2.importer.detectron2 import UnsupportedError
from det_detectron2.importer.files import recipe_from_settings

SETTINGS = {
    "MODEL.BACKBONE.NAME": "build_trident_resnet_backbone",
    "MODEL.PROPOSAL_GENERATOR.NAME": "TridentRPN",
    "MODEL.ROI_HEADS.NAME": "TridentRes5ROIHeads",
}


def model(**changes):
    return recipe_from_settings({**SETTINGS, **changes}).tree["model"]


def test_all_branches_or_another_one_can_be_asked_for():
    assert "fast" not in model()
    every = model(**{"MODEL.TRIDENT.TEST_BRANCH_IDX": -1, "TEST.DETECTIONS_PER_IMAGE": 50})
    assert (every["fast"], every["max_detections"], "branch" in every["backbone"]) == (False, 50, False)
    assert model(**{"MODEL.TRIDENT.TEST_BRANCH_IDX": 0})["backbone"]["branch"] == 0


def test_branches_of_another_stage_and_number():
    node = model(
        **{
            "MODEL.TRIDENT.NUM_BRANCH": 2,
            "MODEL.TRIDENT.BRANCH_DILATIONS": [1, 4],
            "MODEL.TRIDENT.TRIDENT_STAGE": "res3",
        }
    )
    assert node["backbone"] == {"type": "trident_resnet", "dilations": [1, 4], "stage": "res3"}


def test_second_stage_of_linear_layers_is_imported():
    changes = {"MODEL.ROI_HEADS.NAME": "TridentStandardROIHeads", "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead"}
    node = model(**changes, **{"MODEL.ROI_BOX_HEAD.NUM_FC": 2, "MODEL.RESNETS.DEPTH": 50})
    assert node["type"] == "trident_rcnn"
    assert node["roi_heads"]["type"] == "standard_roi_heads"
    recipe_from_tree({"model": node}).resolved()


def test_unsupported_settings_are_refused():
    for changes in (
        {"MODEL.TRIDENT.NUM_BRANCH": 2},
        {"MODEL.MASK_ON": True},
        {"MODEL.RESNETS.DEFORM_ON_PER_STAGE": [False, False, True, False]},
    ):
        with pytest.raises(UnsupportedError):
            model(**changes)
