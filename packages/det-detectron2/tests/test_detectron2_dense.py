"""Published settings of one-stage detectors become recipes."""

from det_core import models
from det_detectron2.importer import detectron2_dense
from det_detectron2.importer.files import recipe_from_settings
from published_settings import default_of

SETTINGS = {
    "MODEL.META_ARCHITECTURE": "RetinaNet",
    "MODEL.BACKBONE.NAME": "build_retinanet_resnet_fpn_backbone",
    "MODEL.RESNETS.OUT_FEATURES": ["res3", "res4", "res5"],
    "MODEL.FPN.IN_FEATURES": ["res3", "res4", "res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[x, x * 2 ** (1.0 / 3), x * 2 ** (2.0 / 3)] for x in (32, 64, 128, 256, 512)],
    "MODEL.RETINANET.SMOOTH_L1_LOSS_BETA": 0.0,
}


def model(**changes):
    changes = {key.replace("__", "."): value for key, value in changes.items()}
    return recipe_from_settings({**SETTINGS, **changes}).tree["model"]


def test_importer_defaults_equal_head_defaults():
    for argument, default in detectron2_dense.RETINANET.values():
        ours = default_of(models.RetinaNetHead, argument)
        assert (list(ours) if isinstance(ours, tuple) else ours) == default


def test_published_retinanet_imports_without_arguments():
    assert model()["type"] == "dense_detector"
    assert model()["head"] == {"type": "retinanet_head"}
    assert model()["backbone"]["top"] == "convolutions"
    assert recipe_from_settings(SETTINGS).unused == []


def test_every_setting_of_the_head_arrives_at_its_argument():
    head = model(
        MODEL__RETINANET__NUM_CONVS=2,
        MODEL__RETINANET__NORM="SyncBN",
        MODEL__RETINANET__SMOOTH_L1_LOSS_BETA=0.1,
        MODEL__RETINANET__IN_FEATURES=["p3", "p4"],
        MODEL__ANCHOR_GENERATOR__SIZES=[[32], [64]],
        MODEL__ANCHOR_GENERATOR__ASPECT_RATIOS=[[1.0]],
        MODEL__ANCHOR_GENERATOR__OFFSET=0.5,
        TEST__DETECTIONS_PER_IMAGE=300,
    )["head"]
    assert head == {
        "type": "retinanet_head",
        "in_features": ["p3", "p4"],
        "conv_dims": [-1, -1],
        "norm": "SyncBN",
        "smooth_l1_beta": 0.1,
        "max_detections": 300,
        "anchor_generator": {"sizes": [[32], [64]], "aspect_ratios": [[1.0]], "offset": 0.5},
    }
