"""Published settings become recipes."""

import subprocess
import sys

import pytest
from det_core import models
from det_core.backbones import FPN, ResNet
from det_core.errors import ConfigError
from det_core.recipes import recipe_from_tree
from det_detectron2.importer import detectron2, detectron2_datasets, detectron2_heads
from det_detectron2.importer.detectron2 import UnsupportedError
from det_detectron2.importer.files import recipe_from_settings
from published_settings import FPN_SETTINGS, default_of, imported


@pytest.mark.parametrize(
    ("table", "target"),
    [
        (detectron2.RESNET, ResNet),
        (detectron2.FPN, FPN),
        (detectron2.ANCHORS, models.AnchorGenerator),
        (detectron2.RPN_HEAD, models.RPNHead),
        (detectron2.RPN, models.RPN),
        (detectron2_heads.ROI_HEADS, models.StandardROIHeads),
        (detectron2_heads.BOX_HEAD, models.FastRCNNConvFCHead),
        (detectron2_heads.BOX_PREDICTOR, models.FastRCNNPredictor),
        (detectron2_heads.CASCADE, models.CascadeROIHeads),
        (detectron2_heads.RES5, models.Res5ROIHeads),
        (detectron2_heads.KEYPOINT_HEAD, models.KeypointRCNNConvDeconvUpsampleHead),
        (detectron2_heads.MASK_HEAD, models.MaskRCNNConvUpsampleHead),
    ],
)
def test_importer_defaults_equal_constructor_defaults(table, target):
    def listed(value):
        return [listed(item) for item in value] if isinstance(value, list | tuple) else value

    assert dict(table.values()) == {argument: listed(default_of(target, argument)) for argument, _ in table.values()}


def test_published_pyramid_imports_without_arguments():
    model = imported().tree["model"]
    assert model == {
        "type": "faster_rcnn",
        "num_classes": 80,
        "pixel_mean": [103.53, 116.28, 123.675],
        "pixel_std": [1.0, 1.0, 1.0],
        "channel_order": "BGR",
        "backbone": {"type": "fpn", "bottom_up": {"type": "resnet"}},
    }


def test_every_setting_of_the_tables_arrives_at_its_argument():
    values = {
        "MODEL.RESNETS.DEPTH": 101,
        "MODEL.RESNETS.NORM": "GN",
        "MODEL.RESNETS.NUM_GROUPS": 32,
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 128,
        "MODEL.FPN.NORM": "naiveSyncBN",
        "MODEL.FPN.FUSE_TYPE": "avg",
        "MODEL.ANCHOR_GENERATOR.SIZES": [16, 24],
        "MODEL.ANCHOR_GENERATOR.ASPECT_RATIOS": [[1.0]],
        "MODEL.ANCHOR_GENERATOR.OFFSET": 0.5,
        "MODEL.RPN.CONV_DIMS": [64, -1],
        "MODEL.RPN.NMS_THRESH": 0.6,
        "MODEL.RPN.BBOX_REG_LOSS_TYPE": "giou",
        "MODEL.ROI_HEADS.NUM_CLASSES": 5,
        "MODEL.ROI_HEADS.SCORE_THRESH_TEST": 0.3,
        "MODEL.ROI_BOX_HEAD.POOLER_TYPE": "ROIAlign",
        "MODEL.ROI_BOX_HEAD.NUM_CONV": 4,
        "MODEL.ROI_BOX_HEAD.NUM_FC": 1,
        "MODEL.ROI_BOX_HEAD.NORM": "GN",
        "MODEL.ROI_BOX_HEAD.CLS_AGNOSTIC_BBOX_REG": True,
        "MODEL.ROI_BOX_HEAD.USE_SIGMOID_CE": True,
        "TEST.DETECTIONS_PER_IMAGE": 300,
        "INPUT.FORMAT": "RGB",
    }
    model = recipe_from_settings({**FPN_SETTINGS, **values}).tree["model"]
    assert model["num_classes"] == 5
    assert model["channel_order"] == "RGB"
    assert model["backbone"] == {
        "type": "fpn",
        "fuse": "avg",
        "norm": "SyncBN",
        "bottom_up": {"type": "resnet", "depth": 101, "groups": 32, "norm": "GN", "res2_channels": 128},
    }
    assert model["proposal_generator"] == {
        "type": "rpn",
        "box_loss": "giou",
        "nms_threshold": 0.6,
        "anchor_generator": {"sizes": [[16, 24]], "aspect_ratios": [[1.0]], "offset": 0.5},
        "head": {"conv_dims": [64, -1]},
    }
    assert model["roi_heads"] == {
        "type": "standard_roi_heads",
        "pooler_type": "ROIAlign",
        "box_head": {"type": "fast_rcnn_conv_fc_head", "num_conv": 4, "num_fc": 1, "norm": "GN"},
        "box_predictor": {
            "class_agnostic": True,
            "score_threshold": 0.3,
            "max_detections": 300,
            "class_loss": "sigmoid",
        },
    }


def test_c4_model_takes_res5_from_backbone_settings():
    settings = {
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.NUM_GROUPS": 32,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
        "MODEL.MASK_ON": True,
    }
    model = recipe_from_settings(settings).tree["model"]
    assert model["type"] == "mask_rcnn"
    assert model["mask_head"] == {"type": "mask_rcnn_conv_upsample_head", "num_conv": 0}
    assert model["roi_heads"] == {
        "type": "res5_roi_heads",
        "stride_in_1x1": False,
        "groups": 32,
        "width_per_group": 8,
    }


def test_cascade_and_deformable_stages_are_imported():
    model = imported(
        MODEL__ROI_HEADS__NAME="CascadeROIHeads",
        MODEL__ROI_BOX_HEAD__CLS_AGNOSTIC_BBOX_REG=True,
        MODEL__ROI_BOX_CASCADE_HEAD__IOUS=[0.5, 0.55, 0.65],
        MODEL__RESNETS__DEFORM_ON_PER_STAGE=[False, False, True, True],
        MODEL__RESNETS__DEFORM_MODULATED=True,
        MODEL__RESNETS__DEFORM_NUM_GROUPS=2,
    ).tree["model"]
    assert model["roi_heads"] == {"type": "cascade_roi_heads", "later_ious": [0.55, 0.65]}
    assert model["backbone"]["bottom_up"] == {
        "type": "resnet",
        "deformable_stages": ["res4", "res5"],
        "deformable": "v2",
        "deformable_groups": 2,
    }


def test_backbone_without_pyramid_and_dilated_is_built():
    settings = {
        "MODEL.RESNETS.OUT_FEATURES": ["res5"],
        "MODEL.RESNETS.RES5_DILATION": 2,
        "MODEL.RPN.IN_FEATURES": ["res5"],
        "MODEL.ROI_HEADS.NAME": "StandardROIHeads",
        "MODEL.ROI_HEADS.IN_FEATURES": ["res5"],
        "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
        "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
        "MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION": 7,
    }
    import torch

    with torch.device("meta"):
        model = recipe_from_tree(recipe_from_settings(settings).tree).build_model()
    assert model.proposal_generator.anchor_generator.per_pixel == [15]
    assert model.roi_heads.box_pooler.strides == (16,)
    assert model.proposal_generator.nms.pre_nms_topk_train == 12000


def test_imported_sections_fit_their_constructors():
    whole = recipe_from_tree(imported().tree).check()
    alone = recipe_from_tree(imported(MODEL__META_ARCHITECTURE="ProposalNetwork").tree).check()
    assert alone.tree["model"] == {**whole.tree["model"], "type": "proposal_network"}


def test_solver_settings_become_train_section():
    train = imported(
        SOLVER__MAX_ITER=100,
        SOLVER__STEPS=(60, 80),
        SOLVER__BASE_LR=0.01,
        SOLVER__NESTEROV=True,
        SOLVER__IMS_PER_BATCH=2,
        SOLVER__WARMUP_ITERS=10,
        SOLVER__BIAS_LR_FACTOR=2.0,
        SOLVER__CLIP_GRADIENTS__ENABLED=True,
        TEST__EVAL_PERIOD=50,
        TEST__PRECISE_BN__ENABLED=True,
        SEED=7,
    ).tree["train"]
    assert train == {
        "steps": 100,
        "batch_size": 2,
        "optimizer": {"type": "torch.optim:SGD", "lr": 0.01, "momentum": 0.9, "nesterov": True, "weight_decay": 0.0001},
        "schedule": {
            "type": "det_core.engine:WarmupMultiStep",
            "milestones": [60, 80],
            "gamma": 0.1,
            "warmup": 10,
            "warmup_start": 0.001,
        },
        "param_groups": {"bias_lr_factor": 2.0},
        "clip_gradients": {"limit": 1.0, "by": "value"},
        "checkpoint_every": 5000,
        "evaluate_every": 50,
        "precise_norms": 200,
        "seed": 7,
    }


def test_gradients_clipped_by_norm_are_those_of_each_parameter():
    clip = {"ENABLED": True, "CLIP_TYPE": "norm", "CLIP_VALUE": 0.5}
    found = imported(**{f"SOLVER__CLIP_GRADIENTS__{name}": value for name, value in clip.items()})
    assert found.tree["train"]["clip_gradients"] == {"limit": 0.5, "by": "norm_of_each"}
    assert not [name for name in found.unused if "CLIP" in name]


def test_cosine_schedule_ends_at_fraction_of_base_lr():
    found = imported(SOLVER__LR_SCHEDULER_NAME="WarmupCosineLR", SOLVER__BASE_LR=0.1, SOLVER__BASE_LR_END=0.01)
    assert found.tree["train"]["schedule"]["type"] == "det_core.engine:WarmupCosine"
    assert found.tree["train"]["schedule"]["end"] == pytest.approx(0.1)


def test_input_settings_become_data_section():
    data = imported(
        DATASETS__TRAIN=("coco_2017_train",),
        DATASETS__TEST=("coco_2017_val",),
        INPUT__MIN_SIZE_TRAIN=(640, 800),
        INPUT__MIN_SIZE_TRAIN_SAMPLING="range",
        INPUT__RANDOM_FLIP="vertical",
        INPUT__MIN_SIZE_TEST=0,
    ).tree["data"]
    assert data["train"]["annotations"] == "coco/annotations/instances_train2017.json"
    assert data["val"]["images"] == "coco/val2017"
    assert data["train_transforms"] == [
        {"type": "det_core.data:ResizeShortestEdge", "size": [640, 800], "max_size": 1333, "draw": "range"},
        {"type": "torchvision.transforms.v2:RandomVerticalFlip"},
    ]
    assert data["eval_transforms"] == []


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("coco_2017_val",), "coco"),
        (("cityscapes_fine_instance_seg_val",), "cityscapes"),
        (("lvis_v1_val",), "lvis"),
        (("voc_2007_trainval", "voc_2012_trainval"), "concat"),
        (("coco_2017_val_panoptic_stuffonly",), "semantic_folder"),
        (("voc_2007_trainval", "my_own"), None),
        ((), None),
    ],
)
def test_datasets_are_known_by_their_published_names(names, expected):
    found = imported(DATASETS__TRAIN=names, DATASETS__TEST=names, MODEL__MASK_ON=True)
    assert found.tree["data"].get("val", {}).get("type") == expected
    assert found.unused == ([] if expected or not names else ["DATASETS.TEST", "DATASETS.TRAIN"])
    recipe_from_tree(found.tree).check()


def test_stuff_classes_match_published_model():
    assert len(set(detectron2_datasets.STUFF)) == 54


def test_precomputed_proposals_are_imported_into_dataset():
    changes = {
        "DATASETS__TRAIN": ("coco_2017_train",),
        "DATASETS__PROPOSAL_FILES_TRAIN": ("detectron2://COCO-Detection/rpn/1/coco_train_box_proposals.pkl",),
        "MODEL__LOAD_PROPOSALS": True,
    }
    found = imported(MODEL__PROPOSAL_GENERATOR__NAME="PrecomputedProposals", **changes)
    train = found.tree["data"]["train"]
    assert (train["file"], train["top"]) == ("proposals/coco_train_box_proposals.npz", 2000)
    assert train["dataset"]["type"] == "coco"
    assert found.unused == []
    recipe_from_tree(found.tree).check()
    assert imported(**changes).tree["data"]["train"]["type"] == "coco"


def test_rare_classes_are_repeated_and_a_crop_comes_first():
    found = imported(
        DATALOADER__SAMPLER_TRAIN="RepeatFactorTrainingSampler",
        DATALOADER__REPEAT_THRESHOLD=0.001,
        DATALOADER__REPEAT_SQRT=False,
        INPUT__CROP__ENABLED=True,
        INPUT__CROP__TYPE="absolute",
        INPUT__CROP__SIZE=(384, 600),
    )
    data = found.tree["data"]
    assert data["sampler"] == {"type": "det_datasets.samplers:RepeatFactorSampler", "threshold": 0.001, "sqrt": False}
    assert data["train_transforms"][0] == {"type": "det_core.data:RandomCrop", "size": [384, 600], "form": "absolute"}
    assert found.unused == []
    recipe_from_tree(found.tree).check()


def test_unknown_and_untranslated_settings_are_listed():
    found = imported(
        MODEL__POINT_HEAD_ON=True,
        TEST__AUG__ENABLED=True,
        DATASETS__TRAIN=["my_own"],
        SOLVER__CLIP_GRADIENTS__ENABLED=True,
        SOLVER__CLIP_GRADIENTS__CLIP_TYPE="norm",
        SOLVER__CLIP_GRADIENTS__NORM_TYPE=1.0,
        SOLVER__LR_SCHEDULER_NAME="MyScheduler",
    )
    assert found.unknown == ["MODEL.POINT_HEAD_ON"]
    assert found.unused == [
        "DATASETS.TRAIN",
        "SOLVER.CLIP_GRADIENTS.CLIP_TYPE",
        "SOLVER.CLIP_GRADIENTS.ENABLED",
        "SOLVER.CLIP_GRADIENTS.NORM_TYPE",
        "SOLVER.LR_SCHEDULER_NAME",
        "TEST.AUG.ENABLED",
    ]
    assert "train" not in found.tree["data"]
    assert "schedule" not in found.tree["train"]


@pytest.mark.parametrize(
    ("changes", "idle"),
    [
        ({}, ["ROI_MASK_HEAD.NUM_CONV", "ROI_KEYPOINT_HEAD.LOSS_WEIGHT", "RETINANET.NMS_THRESH_TEST"]),
        ({"META_ARCHITECTURE": "ProposalNetwork"}, ["ROI_HEADS.NMS_THRESH_TEST", "ROI_BOX_HEAD.FC_DIM", "MASK_ON"]),
        ({"META_ARCHITECTURE": "SemanticSegmentor"}, ["RPN.NMS_THRESH", "ANCHOR_GENERATOR.OFFSET"]),
        ({"PROPOSAL_GENERATOR.NAME": "PrecomputedProposals"}, ["RPN.NMS_THRESH", "ANCHOR_GENERATOR.OFFSET"]),
        ({"ROI_HEADS.NAME": "Res5ROIHeads", "MASK_ON": True}, ["ROI_BOX_HEAD.FC_DIM", "ROI_MASK_HEAD.POOLER_TYPE"]),
    ],
)
def test_settings_of_disabled_parts_are_not_listed(changes, idle):
    changes = {f"MODEL__{key.replace('.', '__')}": value for key, value in changes.items()}
    other = {f"MODEL__{key.replace('.', '__')}": 7 for key in idle}
    assert imported(**changes, **other, OUTPUT_DIR="elsewhere").unused == []


def test_settings_with_default_effect_are_not_listed():
    assert imported(TEST__AUG__ENABLED=False, FLOAT32_PRECISION="").unused == []


@pytest.mark.parametrize(
    ("source", "changes", "expected"),
    [
        ("", {}, None),
        ("detectron2://ImageNetPretrained/MSRA/R-50.pkl", {}, {"into": "backbone.bottom_up"}),
        ("catalog://ImageNetPretrained/FAIR/X-152-32x8d-IN5k", {}, {"into": "backbone.bottom_up"}),
        ("weights/R-50.pkl", {"MODEL__BACKBONE__NAME": "build_resnet_backbone"}, {"into": "backbone"}),
        ("https://a.net/pycls/RegNetX-4.0GF_dds_8gpu.pyth", {}, {"into": "backbone.bottom_up"}),
        ("runs/R-50-mask/model_final.pth", {}, {"match": "shapes"}),
        (
            "detectron2://COCO-Detection/faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl",
            {},
            {"match": "shapes"},
        ),
        (
            "detectron2://COCO-Detection/faster_rcnn_R_50_FPN_3x/137849458/model_final_280758.pkl",
            {"MODEL__ROI_HEADS__NUM_CLASSES": 3},
            {"match": "shapes"},
        ),
        (
            "https://dl.fbaipublicfiles.com/detectron2/COCO-InstanceSegmentation/mask/137849600/model_final_f10217.pkl",
            {"MODEL__ROI_HEADS__NUM_CLASSES": 8, "MODEL__MASK_ON": True},
            {"match": "shapes"},
        ),
    ],
)
def test_initial_weights_are_imported_with_target_and_new_layers(source, changes, expected):
    tree = imported(MODEL__WEIGHTS=source, **changes).tree
    assert tree.get("weights") == (None if expected is None else {"source": source, **expected})
    recipe_from_tree(tree).check()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("MODEL__META_ARCHITECTURE", "PanopticFPN"),
        ("MODEL__PROPOSAL_GENERATOR__NAME", "MyRPN"),
        ("MODEL__ANCHOR_GENERATOR__NAME", "RotatedAnchorGenerator"),
        ("MODEL__RPN__HEAD_NAME", "MyHead"),
        ("MODEL__BACKBONE__NAME", "build_regnet_backbone"),
        ("MODEL__ROI_HEADS__NAME", "PointRendROIHeads"),
        ("MODEL__ROI_BOX_HEAD__NAME", ""),
    ],
)
@pytest.mark.usefixtures("alone")
def test_unsupported_settings_are_refused_by_name(key, value):
    with pytest.raises(UnsupportedError, match="not supported yet") as error:
        imported(**{key: value})
    assert str(error.value).startswith(key.replace("__", "."))


def test_nested_settings_are_refused():
    with pytest.raises(ConfigError, match="must be flat"):
        recipe_from_settings({"MODEL": {"MASK_ON": False}})


def test_importing_needs_no_torch():
    code = (
        "import sys; from det_detectron2.importer.files import recipe_from_settings as f; "
        f"f({FPN_SETTINGS!r}); print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
