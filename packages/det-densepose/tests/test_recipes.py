"""The plugin is found, its recipes are the published configurations, its settings are read, its weights load."""

import importlib
import pickle

import pytest
import torch
from det_core import plugins, recipes
from det_core.data.transforms import Points, compose
from det_core.structures import Sample, Targets
from det_core.weights import InitialWeights, load_into
from det_core.weights.reading import read
from det_core.zoo import published
from det_densepose import importer
from det_densepose.backbones import HRFPN, HRNet
from det_densepose.plugin import PUBLISHED, SAFE_PARTS
from det_densepose.structures import POINTS
from det_detectron2.importer.files import recipe_from_settings
from det_detectron2.importer.settings import UnsupportedError

NAMES = {name: f"{folder}/{path}" for folder, names in PUBLISHED.items() for name, path in names.items()}
HEAD = "MODEL.ROI_DENSEPOSE_HEAD"
CHARTS = {
    "MODEL.BACKBONE.NAME": "build_resnet_fpn_backbone",
    "MODEL.FPN.IN_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
    "MODEL.ANCHOR_GENERATOR.SIZES": [[32], [64], [128], [256], [512]],
    "MODEL.RPN.IN_FEATURES": ["p2", "p3", "p4", "p5", "p6"],
    "MODEL.ROI_HEADS.NAME": "DensePoseROIHeads",
    "MODEL.ROI_HEADS.IN_FEATURES": ["p2", "p3", "p4", "p5"],
    "MODEL.ROI_HEADS.NUM_CLASSES": 1,
    "MODEL.ROI_BOX_HEAD.NAME": "FastRCNNConvFCHead",
    "MODEL.ROI_BOX_HEAD.NUM_FC": 2,
    f"{HEAD}.NAME": "DensePoseV1ConvXHead",
    f"{HEAD}.POOLER_TYPE": "ROIAlign",
}
CSE = {
    **CHARTS,
    f"{HEAD}.PREDICTOR_NAME": "DensePoseEmbeddingPredictor",
    f"{HEAD}.LOSS_NAME": "DensePoseCseLoss",
    f"{HEAD}.CSE.EMBEDDERS.cat.TYPE": "vertex_direct",
    f"{HEAD}.CSE.EMBEDDERS.cat.NUM_VERTICES": 100,
}


def branch(settings):
    found = recipe_from_settings(settings)
    assert found.unknown == found.unused == []
    return found.tree["model"]["roi_heads"].get("densepose", {})


def test_plugin_is_in_use_without_problems():
    (found,) = [each for each in plugins.catalog().plugins if each.distribution == "det-densepose"]
    assert (found.status, found.problem) == ("active", "")


@pytest.mark.parametrize("name", NAMES)
def test_recipe_is_valid_and_aliased_by_published_path(name):
    recipe = recipes.load(name).check()
    assert recipes.load(NAMES[name]) == recipe
    assert published.of_recipe(name).name == NAMES[name]


def test_every_published_model_of_the_project_has_a_recipe():
    wanted = {name for name in published.models() if name.startswith("DensePose/")}
    assert wanted == set(NAMES.values())
    assert len(wanted) == 47


def types_in(node):
    if isinstance(node, dict):
        yield from ([node["type"]] if isinstance(node.get("type"), str) else [])
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from types_in(each)


def test_untrusted_recipes_may_build_every_published_part():
    used = {kind for name in NAMES for kind in types_in(recipes.load(name).tree)}
    own = {kind for kind in used if kind.startswith("det_densepose")}
    assert own <= set(SAFE_PARTS)
    assert {"det_densepose.losses:SoftEmbeddingLoss", "det_densepose.bodies.published:BodyFolder"} <= own


@pytest.mark.parametrize("part", SAFE_PARTS)
def test_safe_parts_are_there(part):
    module, _, name = part.partition(":")
    assert callable(getattr(importlib.import_module(module), name))


def test_settings_of_charts_arrive():
    changes = {
        f"{HEAD}.NAME": "DensePoseDeepLabHead",
        f"{HEAD}.NUM_STACKED_CONVS": 4,
        f"{HEAD}.CONV_HEAD_DIM": 256,
        f"{HEAD}.DEEPLAB.NORM": "",
        f"{HEAD}.DEEPLAB.NONLOCAL_ON": 1,
        f"{HEAD}.NUM_COARSE_SEGM_CHANNELS": 15,
        f"{HEAD}.POOLER_RESOLUTION": 14,
        f"{HEAD}.HEATMAP_SIZE": 56,
        f"{HEAD}.POOLER_TYPE": "ROIAlignV2",
        f"{HEAD}.DECODER_CONV_DIMS": 128,
        f"{HEAD}.DECODER_NORM": "GN",
        f"{HEAD}.FG_IOU_THRESHOLD": 0.5,
        f"{HEAD}.INDEX_WEIGHTS": 2.0,
        f"{HEAD}.UV_CONFIDENCE.ENABLED": True,
        f"{HEAD}.UV_CONFIDENCE.TYPE": "indep_aniso",
        f"{HEAD}.UV_CONFIDENCE.EPSILON": 0.1,
        f"{HEAD}.SEGM_CONFIDENCE.ENABLED": True,
        f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS": True,
    }
    assert branch(CHARTS | changes) == {
        "pooler": {"resolution": 14, "pooling": "ROIAlignV2"},
        "decoder": {"conv_dim": 128, "norm": "GN"},
        "densepose_head": {
            "type": "det_densepose.models:DensePoseDeepLabHead",
            "num_conv": 4,
            "conv_dim": 256,
            "norm": "",
            "nonlocal_block": True,
        },
        "densepose_predictor": {
            "type": "det_densepose.models:DensePoseChartPredictor",
            "coarse_channels": 15,
            "segm_confidence": True,
            "uv_confidence": "indep_aniso",
        },
        "loss": {
            "type": "det_densepose.losses:DensePoseChartLoss",
            "weights": {"coarse": 2.0},
            "epsilon": 0.1,
            "coarse": {"type": "det_densepose.losses:CoarseLossFromMasks"},
        },
        "min_iou": 0.5,
    }


def test_settings_of_embeddings_arrive():
    changes = {
        "MODEL.ROI_HEADS.NUM_CLASSES": 2,
        "DATASETS.CLASS_TO_MESH_NAME_MAPPING.0": "dog",
        "DATASETS.CLASS_TO_MESH_NAME_MAPPING.1": "cat",
        f"{HEAD}.PREDICTOR_NAME": "DensePoseEmbeddingWithConfidencePredictor",
        f"{HEAD}.SEGM_CONFIDENCE.ENABLED": True,
        f"{HEAD}.CSE.EMBED_SIZE": 8,
        f"{HEAD}.CSE.EMBEDDERS.cat.IS_TRAINABLE": False,
        f"{HEAD}.CSE.EMBEDDERS.dog.TYPE": "vertex_feature",
        f"{HEAD}.CSE.EMBEDDERS.dog.NUM_VERTICES": 50,
        f"{HEAD}.CSE.EMBEDDERS.dog.FEATURE_DIM": 32,
        f"{HEAD}.CSE.EMBEDDERS.dog.FEATURES_TRAINABLE": True,
        f"{HEAD}.CSE.EMBED_LOSS_WEIGHT": 1.0,
        f"{HEAD}.CSE.EMBEDDING_DIST_GAUSS_SIGMA": 0.2,
        f"{HEAD}.CSE.SHAPE_TO_SHAPE_CYCLE_LOSS.ENABLED": True,
        f"{HEAD}.CSE.SHAPE_TO_SHAPE_CYCLE_LOSS.WEIGHT": 1.0,
        f"{HEAD}.CSE.PIX_TO_SHAPE_CYCLE_LOSS.ENABLED": True,
        f"{HEAD}.CSE.PIX_TO_SHAPE_CYCLE_LOSS.USE_ALL_MESHES_NOT_GT_ONLY": True,
    }
    folder = {"type": "det_densepose.bodies.published:BodyFolder", "folder": "densepose"}
    assert branch(CSE | changes) == {
        "densepose_predictor": {
            "type": "det_densepose.models:DensePoseEmbeddingPredictor",
            "embed_dim": 8,
            "segm_confidence": True,
        },
        "embedder": {
            "cat": {"type": "det_densepose.models:VertexDirectEmbedder", "num_vertices": 100, "trainable": False},
            "dog": {
                "type": "det_densepose.models:VertexFeatureEmbedder",
                "num_vertices": 50,
                "feature_dim": 32,
                "features_trainable": True,
            },
        },
        "mesh_of_label": ["dog", "cat"],
        "loss": {
            "type": "det_densepose.losses:DensePoseCseLoss",
            "weights": {"embedding": 1.0},
            "embedding": {"type": "det_densepose.losses:EmbeddingLoss", "sigma": 0.2},
            "shape_to_shape": {"weight": 1.0},
            "pix_to_shape": {"all_meshes": True},
            "meshes": folder,
        },
    }


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (f"{HEAD}.HEATMAP_SIZE", 100),
        (f"{HEAD}.DECONV_KERNEL", 6),
        (f"{HEAD}.NAME", "AnotherHead"),
        (f"{HEAD}.UV_CONFIDENCE.TYPE", "another"),
        ("MODEL.MASK_ON", True),
    ],
)
def test_settings_without_a_counterpart_are_refused_by_their_name(key, value):
    with pytest.raises(UnsupportedError, match=key.rpartition(".")[2]):
        recipe_from_settings(CHARTS | {f"{HEAD}.UV_CONFIDENCE.ENABLED": True, key: value})


def test_embedder_of_unknown_type_is_refused():
    with pytest.raises(UnsupportedError, match=r"cat\.TYPE"):
        recipe_from_settings(CSE | {f"{HEAD}.CSE.EMBEDDERS.cat.TYPE": "another"})


def test_defaults_leave_other_configurations_unchanged():
    plain = {key: value for key, value in CHARTS.items() if not key.startswith(HEAD)}
    plain["MODEL.ROI_HEADS.NAME"] = "StandardROIHeads"
    found = recipe_from_settings(plain | {f"{HEAD}.INDEX_WEIGHTS": 3.0})
    assert found.tree == recipe_from_settings(plain).tree
    assert found.unknown == found.unused == []
    assert importer.DEFAULTS[f"{HEAD}.INDEX_WEIGHTS"] == 5.0


def test_learning_rates_of_embeddings_become_factors_by_name():
    found = recipe_from_settings(CSE | {f"{HEAD}.CSE.EMBEDDING_LR_FACTOR": 0.1})
    assert found.tree["train"]["param_groups"]["lr_factor_of"] == {"embeddings": 0.1}
    assert "param_groups" not in recipe_from_settings(CSE).tree["train"]


def test_evaluation_settings_arrive_with_mesh_alignment():
    changes = {
        "DATASETS.TEST": ["densepose_lvis_v1_ds1_val_v1"],
        "DENSEPOSE_EVALUATION.TYPE": "cse",
        "DENSEPOSE_EVALUATION.MIN_IOU_THRESHOLD": 0.2,
        "DENSEPOSE_EVALUATION.EVALUATE_MESH_ALIGNMENT": True,
    }
    assert recipe_from_settings(CSE | changes).tree["data"]["evaluators"] == [
        {"type": "coco"},
        {
            "type": "det-densepose/densepose",
            "bodies": "densepose",
            "min_similarity": 0.2,
            "key_vertices": "densepose/mesh_keyvertices_v0.json",
        },
    ]


def test_data_of_unknown_names_are_left_out_and_listed():
    found = recipe_from_settings(CSE | {"DATASETS.TRAIN": ["of_mine_1", "of_mine_2"], "DATASETS.TEST": ["of_mine_3"]})
    assert "train" not in found.tree["data"]
    assert "DATASETS.TRAIN" in [*found.unknown, *found.unused]


def test_categories_are_chosen_and_merged_by_their_names():
    name = "DATASETS.{}.base_coco_2017_train"
    changes = {
        "DATASETS.TRAIN": ["base_coco_2017_train"],
        name.format("WHITELISTED_CATEGORIES"): [1, 17],
        f"{name.format('CATEGORY_MAPS')}.17": 1,
        f"{HEAD}.COARSE_SEGM_TRAINED_BY_MASKS": True,
    }
    train = recipe_from_settings(CHARTS | changes).tree["data"]["train"]
    assert train["annotations"] == "coco/annotations/instances_train2017.json"
    assert (train["classes"], train["class_map"]) == (["person"], {"cat": "person"})
    assert (train["masks"], train["keep"]) == ("bitmaps", "points or masks")


def train_transforms(settings):
    found = recipe_from_settings(settings)
    assert found.unknown == found.unused == []
    return found.tree["data"]["train_transforms"]


def test_rotation_angles_are_drawn_evenly_after_the_flip():
    *before, rotation = train_transforms(CHARTS | {"INPUT.ROTATION_ANGLES": [0, 30, -30.0]})
    assert before == train_transforms(CHARTS)
    turned = {"type": "torchvision.transforms.v2:RandomRotation", "interpolation": "bilinear"}
    assert rotation == {
        "type": "torchvision.transforms.v2:RandomChoice",
        "transforms": [
            {"type": "torch.nn:Identity"},
            {**turned, "degrees": [30.0, 30.0]},
            {**turned, "degrees": [-30.0, -30.0]},
        ],
    }
    assert train_transforms(CHARTS | {"INPUT.ROTATION_ANGLES": [0, 360]}) == before


def test_rotation_angles_turn_image_box_and_points(tmp_path):
    transforms = train_transforms(CHARTS | {"INPUT.ROTATION_ANGLES": (90,)})[-1:]
    tree = {"model": recipe_from_settings(CHARTS).tree["model"], "data": {"train_transforms": transforms}}
    [transform] = recipes.recipe_from_tree(tree).build("data").train_transforms
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[:, 4, 28] = 255
    targets = Targets(
        boxes=torch.tensor([[24.0, 2.0, 30.0, 8.0]]),
        labels=torch.zeros(1, dtype=torch.int64),
        extras={POINTS: Points(torch.tensor([[[28.5, 4.5]]]), canvas_size=(32, 32))},
    )
    turned = compose([transform])(Sample(image=image, targets=targets, id=1))
    # Counter-clockwise: the upper right corner becomes the upper left one.
    assert turned.image[0].nonzero().tolist() == [[3, 4]]
    torch.testing.assert_close(turned.targets.boxes, torch.tensor([[2.0, 2.0, 8.0, 8.0]]))
    torch.testing.assert_close(turned.targets.extras[POINTS].data, torch.tensor([[[4.5, 3.5]]]))


@pytest.mark.parametrize("as_list", [True, False])
def test_bootstrap_datasets_are_mixed_in_by_ratio(as_list):
    entry = {"DATASET": "mine", "RATIO": 0.5, "DATA_SAMPLER": {"TYPE": "densepose_UV_confidence"}}
    flat = {"0.DATASET": "mine", "0.RATIO": 0.5, "0.DATA_SAMPLER.TYPE": "densepose_UV_confidence"}
    given = {"BOOTSTRAP_DATASETS": [entry]} if as_list else {f"BOOTSTRAP_DATASETS.{k}": v for k, v in flat.items()}
    found = recipe_from_settings(CHARTS | given | {"DATASETS.TRAIN": ["densepose_coco_2014_train"]})
    assert found.unknown == found.unused == []
    train = found.tree["data"]["train"]
    assert (train["type"], train["weights"]) == ("concat", [1.0, 0.5])
    annotated, pseudo = train["datasets"]
    assert (pseudo["images"], pseudo["annotations"]) == ("mine/frames", "mine/UV_confidence.json")
    own = ("images", "annotations")
    assert {**annotated, **{key: pseudo[key] for key in own}} == pseudo


def test_fine_tuning_skips_parts_missing_in_published_file():
    name = "densepose_cse_r50_fpn_soft_animals_"
    skipped = {
        "finetune_4k": ["roi_heads.box_predictor", "roi_heads.embedder"],  # from persons, one class and one mesh
        "ca_finetune_4k": ["roi_heads.embedder"],
        "i0_finetune_16k": [],  # from the same animals
        "i0_finetune_m2m_16k": ["roi_heads.embedder.embedder_smpl_27554"],
    }
    for end, expected in skipped.items():
        assert recipes.load(name + end).tree["weights"].get("skip", []) == expected


def test_published_hrnet_weights_load_below_the_pyramid(tmp_path):
    torch.manual_seed(0)
    settings = {"channels": (4, 8, 12, 16), "modules": (1, 1, 1), "blocks": 1, "stem_channels": 4}
    source, model = HRNet(**settings), HRFPN(HRNet(**settings), out_channels=4)
    state = {key: value.numpy() for key, value in source.state_dict().items()}
    state |= {"classifier.weight": torch.zeros(2, 3).numpy(), "incre_modules.0.0.conv1.weight": torch.zeros(2).numpy()}
    file = tmp_path / "hrnet.pkl"
    file.write_bytes(pickle.dumps(state))
    whole = torch.nn.Module()
    whole.backbone = model
    report = InitialWeights(str(file), into="backbone.bottom_up").load(whole)
    assert len(report.unused) == 2
    torch.testing.assert_close(model.bottom_up.state_dict(), source.state_dict())


def test_published_file_of_whole_model_loads_strictly(tmp_path):
    tree = recipe_from_settings(CSE).tree
    with torch.device("meta"):
        keys = {key: value.shape for key, value in recipes.recipe_from_tree(tree).build_model().state_dict().items()}
    file = tmp_path / "model_final.pkl"
    small = {key: torch.full(shape, 0.5).numpy() for key, shape in keys.items() if key.startswith("roi_heads.embedder")}
    file.write_bytes(pickle.dumps({"model": small, "__author__": "someone"}))
    embedder = recipes.recipe_from_tree(tree).build_model().roi_heads.embedder
    whole = torch.nn.Module()
    whole.roi_heads = torch.nn.Module()
    whole.roi_heads.embedder = embedder
    assert load_into(whole, read(str(file))).loaded == 1
    assert (embedder.get_submodule("embedder_cat").embeddings == 0.5).all()
