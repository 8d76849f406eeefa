"""Published configurations that are Python files become recipes."""

import inspect
import subprocess
import sys

import pytest
from det_core.backbones import RegNet
from det_core.recipes import recipe_from_tree
from det_detectron2.importer.detectron2 import UnsupportedError
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.importer.lazy_model import REGNET_DEFAULTS
from det_detectron2.importer.lazy_objects import Objects

FCOS = {
    "model.kind": "FCOS",
    "model.num_classes": 80,
    "model.pixel_mean": [103.53, 116.28, 123.675],
    "model.pixel_std": [1.0, 1.0, 1.0],
    "model.backbone.kind": "FPN",
    "model.backbone.in_features": ["res3", "res4", "res5"],
    "model.backbone.out_channels": 256,
    "model.backbone.top_block.kind": "LastLevelP6P7",
    "model.backbone.top_block.in_feature": "p5",
    "model.backbone.bottom_up.kind": "ResNet",
    "model.backbone.bottom_up.freeze_at": 2,
    "model.backbone.bottom_up.out_features": ["res3", "res4", "res5"],
    "model.backbone.bottom_up.stem.kind": "BasicStem",
    "model.backbone.bottom_up.stem.norm": "FrozenBN",
    "model.backbone.bottom_up.stages.kind": "make_default_stages",
    "model.backbone.bottom_up.stages.depth": 50,
    "model.backbone.bottom_up.stages.stride_in_1x1": True,
    "model.backbone.bottom_up.stages.norm": "FrozenBN",
    "model.head.kind": "FCOSHead",
    "model.head.conv_dims": [256] * 4,
    "model.head.norm": "GN",
    "model.head_in_features": ["p3", "p4", "p5", "p6", "p7"],
    "train.max_iter": 90_000,
    "train.strange": 1,
    "optimizer.kind": "SGD",
    "optimizer.lr": 0.02,
    "lr_multiplier.kind": "WarmupParamScheduler",
    "lr_multiplier.warmup_length": 1000 / 90_000,
    "lr_multiplier.warmup_factor": 0.01,
    "lr_multiplier.scheduler.kind": "MultiStepParamScheduler",
    "lr_multiplier.scheduler.values": [1.0, 0.1, 0.01],
    "lr_multiplier.scheduler.milestones": [60_000, 80_000, 90_000],
}


def imported(**changes):
    return recipe_from_settings({**FCOS, **{key.replace("__", "."): value for key, value in changes.items()}})


def test_arguments_with_published_value_are_omitted():
    model = imported().tree["model"]
    assert model["head"] == {"type": "fcos_head"}
    assert model["backbone"] == {
        "type": "fpn",
        "top": "convolutions",
        "top_input": "pyramid",
        "bottom_up": {"type": "resnet", "out_features": ["res3", "res4", "res5"]},
    }
    recipe_from_tree(imported().tree).check()


def test_fcos_arguments_are_imported():
    head = imported(
        model__test_score_thresh=0.1,
        model__center_sampling_radius=2.0,
        model__head__norm="SyncBatchNorm",
        model__head__conv_dims=[256],
        model__head_in_features=["p3", "p4"],
    ).tree["model"]["head"]
    assert head == {
        "type": "fcos_head",
        "score_threshold": 0.1,
        "center_radius": 2.0,
        "norm": "SyncBN",
        "conv_dims": [-1],
        "in_features": ["p3", "p4"],
        "level_norms": "shared",
    }


def test_schedule_is_imported_and_unknown_training_settings_are_listed():
    found = imported()
    assert found.tree["train"]["schedule"] == {
        "type": "det_core.engine:WarmupMultiStep",
        "milestones": [60_000, 80_000],
        "gamma": 0.1,
        "warmup": 1000,
        "warmup_start": 0.01,
    }
    assert found.tree["train"]["optimizer"]["lr"] == 0.02
    assert found.unused == ["train.strange"]


def test_large_scale_jitter_is_imported_with_unknown_settings_listed():
    path = "dataloader__train__mapper__augmentations"
    found = imported(
        **{
            "dataloader__train__kind": "build_detection_train_loader",
            f"{path}__0__kind": "ResizeScale",
            f"{path}__0__min_scale": 0.1,
            f"{path}__0__max_scale": 2.0,
            f"{path}__0__target_height": 1024,
            f"{path}__0__target_width": 512,
            f"{path}__1__kind": "FixedSizeCrop",
            f"{path}__1__crop_size": [1024, 512],
            f"{path}__2__kind": "RandomRotation",
            f"{path}__3__kind": "RandomFlip",
            f"{path}__3__horizontal": True,
            "dataloader__train__mapper__recompute_boxes": True,
        }
    )
    assert found.tree["data"]["train_transforms"] == [
        {"type": "det_core.data:ScaleJitter", "size": [1024, 512], "scale": [0.1, 2.0]},
        {"type": "det_core.data:FixedSizeCrop", "size": [1024, 512]},
        {"type": "torchvision.transforms.v2:RandomHorizontalFlip"},
    ]
    assert found.unused == ["dataloader.train.mapper.augmentations.2.kind", "train.strange"]


def test_milestones_are_stretched_over_the_training():
    train = imported(train__max_iter=180_000, lr_multiplier__warmup_length=0.01).tree["train"]
    assert train["schedule"]["milestones"] == [120_000, 160_000]
    assert train["schedule"]["warmup"] == 1800
    updates = imported(lr_multiplier__scheduler__num_updates=45_000).tree["train"]
    assert updates["schedule"]["milestones"] == [120_000, 160_000]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model__kind", "PyramidPainter"),
        ("model__new_loss", True),
        ("model__backbone__bottom_up__kind", "ViT"),
        ("model__backbone__bottom_up__stages__block_class", "DeformBottleneckBlock"),
        ("model__backbone__bottom_up__stem__norm", "BN"),
        ("model__head__kind", "MyHead"),
        ("model__head__conv_dims", [256, 128]),
    ],
)
def test_unsupported_settings_are_refused_by_name(key, value):
    with pytest.raises(UnsupportedError) as error:
        imported(**{key: value})
    assert str(error.value).startswith(key.replace("__", "."))


def test_missing_required_argument_is_refused():
    with pytest.raises(UnsupportedError, match=r"model\.pixel_mean: is missing"):
        recipe_from_settings({"model.kind": "FCOS"})


def test_importing_needs_no_torch():
    code = (
        "import sys; from det_detectron2.importer.files import recipe_from_settings as f; "
        f"f({FCOS!r}); print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_regnet_under_pyramid_is_imported():
    changes = {
        "kind": "RegNet",
        "stem_class": "SimpleStem",
        "block_class": "ResBottleneckBlock",
        "stem_width": 32,
        "depth": 22,
        "w_0": 96,
        "w_a": 31.41,
        "w_m": 2.24,
        "group_width": 64,
        "se_ratio": 0.25,
        "norm": "SyncBN",
        "out_features": ["s2", "s3", "s4"],
    }
    settings = {key: value for key, value in FCOS.items() if not key.startswith("model.backbone.bottom_up")}
    settings |= {f"model.backbone.bottom_up.{key}": value for key, value in changes.items()}
    settings["model.backbone.in_features"] = ["s2", "s3", "s4"]
    model = recipe_from_settings(settings).tree["model"]
    assert model["backbone"]["bottom_up"] == {
        "type": "regnet",
        "depth": 22,
        "slope": 31.41,
        "multiplier": 2.24,
        "group_width": 64,
        "se_ratio": 0.25,
        "out_features": ["s2", "s3", "s4"],
        "freeze_at": 0,
        "norm": "SyncBN",
    }
    assert model["head"] == {"type": "fcos_head"}
    with pytest.raises(UnsupportedError, match=r"bottom_up\.bottleneck_ratio"):
        recipe_from_settings({**settings, "model.backbone.bottom_up.bottleneck_ratio": 0.5})


def test_importer_defaults_equal_regnet_defaults():
    parameters = inspect.signature(RegNet).parameters
    for argument, default in REGNET_DEFAULTS.items():
        ours = parameters[argument].default
        assert (list(ours) if isinstance(ours, tuple) else ours) == default


def test_unknown_norm_is_refused():
    with pytest.raises(UnsupportedError, match=r"model\.head\.norm: is not supported yet; got 'MyNorm'"):
        imported(model__head__norm="MyNorm")


OPTIMIZER = {
    "optimizer.kind": "AdamW",
    "optimizer.lr": 1e-4,
    "optimizer.betas": [0.9, 0.999],
    "optimizer.weight_decay": 0.1,
    "optimizer.params.kind": "get_default_optimizer_params",
    "optimizer.params.base_lr": 1e-4,
    "optimizer.params.weight_decay_norm": 0.0,
    "optimizer.params.overrides.pos_embed.weight_decay": 0.0,
    "optimizer.params.lr_factor_func": (
        "functools.partial(<function get_vit_lr_decay_rate at 0x7f8>, lr_decay_rate=0.7, num_layers=12)"
    ),
}


def test_adamw_parameter_groups_are_imported():
    settings = {key: value for key, value in FCOS.items() if not key.startswith("optimizer")}
    train = recipe_from_settings({**settings, **OPTIMIZER}).tree["train"]
    assert train["optimizer"] == {"type": "torch.optim:AdamW", "lr": 1e-4, "weight_decay": 0.1}
    assert train["param_groups"] == {
        "weight_decay_of": {"pos_embed": 0.0},
        "layer_decay": {"rate": 0.7, "layers": 12},
    }


def test_transforms_that_are_applied_sometimes_hold_others():
    path = "dataloader.train.mapper.augmentations.0"
    found = imported(
        **{
            "dataloader.train.kind": "build_detection_train_loader",
            f"{path}.kind": "RandomApply",
            f"{path}.prob": 0.25,
            f"{path}.tfm_or_aug.kind": "AugmentationList",
            f"{path}.tfm_or_aug.augs.0.kind": "RandomFlip",
        }
    )
    flip = {"type": "torchvision.transforms.v2:RandomHorizontalFlip"}
    expected = {"type": "torchvision.transforms.v2:RandomApply", "transforms": [flip], "p": 0.25}
    assert found.tree["data"]["train_transforms"] == [expected]


def test_cascade_stages_differ_in_weights_and_iou_only():
    path = "model.roi_heads"
    cascade = {
        f"{path}.box_heads.{i}.{key}": value for i in range(2) for key, value in (("kind", "H"), ("fc_dims", [9]))
    }
    objects = Objects(cascade)
    assert objects.count(f"{path}.box_heads") == 2
    assert objects.differences(f"{path}.box_heads.0", f"{path}.box_heads.1") == []
    objects = Objects({**cascade, f"{path}.box_heads.1.fc_dims": [8]})
    assert objects.differences(f"{path}.box_heads.0", f"{path}.box_heads.1") == ["fc_dims"]
