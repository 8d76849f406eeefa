"""Settings of D2Go beyond those of the published configurations, as recipes."""

import json

import pytest
from det_core.recipes import recipe_from_tree
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.importer.settings import UnsupportedError

C4 = {
    "MODEL.META_ARCHITECTURE": "GeneralizedRCNN",
    "MODEL.BACKBONE.NAME": "FBNetV2C4Backbone",
    "MODEL.FBNET_V2.ARCH": "FBNetV3_A_dsmask_tiny",
    "MODEL.FBNET_V2.WIDTH_DIVISOR": 8,
    "MODEL.RPN.HEAD_NAME": "FBNetV2RpnHead",
    "MODEL.RPN.IN_FEATURES": ["trunk3"],
    "MODEL.ROI_HEADS.IN_FEATURES": ["trunk3"],
    "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
    "MODEL.ROI_BOX_HEAD.NAME": "FBNetV2RoIBoxHead",
    "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 6,
}


def tree(**given):
    return recipe_from_settings({**C4, **given}).tree


def setting(key, value):
    return tree(**{key: value})


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("sgd", {"type": "torch.optim:SGD", "momentum": 0.9}),
        ("adamw", {"type": "torch.optim:AdamW", "betas": [0.9, 0.999], "eps": 1e-8}),
        ("AdamW_mt", {"type": "torch.optim:AdamW", "foreach": True}),
        ("rmsprop_mt", {"type": "torch.optim:RMSprop", "momentum": 0.9, "foreach": True}),
        ("rprop", {"type": "torch.optim:Rprop"}),
    ],
)
def test_optimizer_of_each_name_is_that_of_torch(name, node):
    found = setting("SOLVER.OPTIMIZER", name)
    assert node.items() <= found["train"]["optimizer"].items()
    assert ("weight_decay" in found["train"]["optimizer"]) == (name != "rprop")
    recipe_from_tree(found)


def test_unknown_optimizer_is_refused():
    with pytest.raises(UnsupportedError, match=r"SOLVER.OPTIMIZER.*'lion'.*adamw"):
        setting("SOLVER.OPTIMIZER", "lion")


OPS = {
    'RandomFlipOp::{"prob": 1.0, "horizontal": false, "vertical": true}': "RandomVerticalFlip",
    'RandomBrightnessOp::{"intensity_min": 0.5, "intensity_max": 1.5}': "ColorJitter",
    'RandomRotationOp::{"angle": [-10, 20]}': "RandomRotation",
    'ResizeOp::{"shape": 128}': "Resize",
    'ResizeShortestEdgeOp::{"short_edge_length": [96, 128], "max_size": 200}': "ResizeShortestEdge",
    'RandomCropOp::{"crop_type": "relative_range", "crop_size": [0.5, 0.5]}': "RandomCrop",
    'FixedSizeCropOp::{"crop_size": [96, 96]}': "FixedSizeCrop",
}


def test_augmentations_are_transforms_that_can_be_built():
    found = setting("D2GO_DATA.AUG_OPS.TRAIN", list(OPS))
    nodes = found["data"]["train_transforms"]
    assert [node["type"].rpartition(":")[2] for node in nodes] == list(OPS.values())
    assert nodes[0]["p"] == 1.0
    assert nodes[4]["draw"] == "range"
    built = recipe_from_tree(found).build_part("data.train_transforms", list[object])
    assert len(built) == len(OPS)


@pytest.mark.parametrize(
    "text",
    [
        "RandomBrightnessOp::{",
        'RandomBrightnessOp::{"level": 3}',
        "SpinOp",
        'RandomRotationOp::{"angle": 3, "sample_style": "choice"}',
        "ResizeOp::[3]",
    ],
)
def test_unknown_augmentation_is_refused(text):
    with pytest.raises(UnsupportedError, match=r"AUG_OPS\.TRAIN"):
        setting("D2GO_DATA.AUG_OPS.TRAIN", [text])


def test_subclasses_are_a_second_stage_that_builds():
    on = {"MODEL.SUBCLASS.SUBCLASS_ON": True, "MODEL.SUBCLASS.NUM_SUBCLASSES": 4, "MODEL.SUBCLASS.NUM_LAYERS": 2}
    found = tree(**{"MODEL.ROI_HEADS.NAME": "StandardROIHeadsWithSubClass", **on})
    model = recipe_from_tree(found).build_model()
    assert {"roi_heads.subclass_head.0.weight", "roi_heads.subclass_head.1.bias"} <= model.state_dict().keys()
    assert len(model.roi_heads.subclass_head[1].bias) == 5


KMEANS = {
    "MODEL.ANCHOR_GENERATOR.NAME": "KMeansAnchorGenerator",
    "MODEL.KMEANS_ANCHORS.KMEANS_ANCHORS_ON": True,
    "MODEL.KMEANS_ANCHORS.NUM_CLUSTERS": 2,
    "MODEL.KMEANS_ANCHORS.NUM_TRAINING_IMG": 50,
    "MODEL.KMEANS_ANCHORS.DATASETS": ["coco_2017_train"],
    "INPUT.MIN_SIZE_TRAIN": [50],
    "INPUT.MAX_SIZE_TRAIN": 100,
}


def test_fitted_anchors_are_those_of_the_training_boxes(tmp_path, monkeypatch):
    rows = [{"image_id": 1, "bbox": [0, 0, width, height]} for width, height in [(10, 10), (80, 40)] * 3]
    content = {"images": [{"id": 1, "width": 200, "height": 100}], "annotations": rows}
    monkeypatch.setenv("DET_DATA", str(tmp_path))
    file = tmp_path / "coco" / "annotations" / "instances_train2017.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(content))
    anchors = tree(**KMEANS)["model"]["proposal_generator"]["anchor_generator"]
    assert anchors == {"type": "det-mobile/shaped_anchors", "shapes": [[5.0, 5.0], [40.0, 20.0]]}


def test_fitted_anchors_without_their_data_name_the_command(tmp_path, monkeypatch):
    monkeypatch.setenv("DET_DATA", str(tmp_path))
    with pytest.raises(UnsupportedError, match=r"KMEANS_ANCHORS.DATASETS.*det anchors FILE --count 2 --short 50"):
        tree(**KMEANS)
