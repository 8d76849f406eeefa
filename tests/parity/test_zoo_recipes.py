"""The recipes that come with the packages are what importing the published settings gives."""

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from det_core import recipes
from det_core.importers.detectron2 import recipe_from_settings


@pytest.mark.parametrize(
    ("name", "case"),
    [
        ("rpn_r50_fpn_1x", "rpn_R_50_FPN"),
        ("faster_rcnn_r50_fpn_3x", "faster_rcnn_R_50_FPN"),
        ("retinanet_r50_fpn_3x", "retinanet_R_50_FPN"),
        ("semantic_r50_fpn_1x", "semantic_R_50_FPN"),
        ("keypoint_rcnn_r50_fpn_3x", "keypoint_rcnn_R_50_FPN"),
        ("cascade_mask_rcnn_r50_fpn_3x", "cascade_mask_rcnn_R_50_FPN"),
        ("mask_rcnn_r50_fpn_3x", "mask_rcnn_R_50_FPN"),
        ("rotated_faster_rcnn_r50_fpn_3x", "rotated_faster_rcnn_R_50_FPN"),
    ],
)
def test_a_recipe_equals_the_imported_configuration(name: str, case: str, refpack: ModuleType) -> None:
    settings = refpack.Case(case, Path(refpack.__file__).with_name("cases")).spec["settings"]
    found = recipe_from_settings(settings)
    ours, theirs = recipes.load(name).resolved().tree, recipes.recipe_from_tree(found.tree).resolved().tree
    assert found.unknown == []
    for section in ("model", "data", "train"):
        assert ours[section] == theirs[section]


def test_the_recipe_of_rotated_boxes_has_the_recorded_keys_and_shapes(refpack: ModuleType) -> None:
    case = refpack.Case("rotated_faster_rcnn_R_50_FPN", Path(refpack.__file__).with_name("cases"))
    with torch.device("meta"):
        model = recipes.load("rotated_faster_rcnn_r50_fpn_3x").check().build_model()
    assert {key: list(value.shape) for key, value in model.state_dict().items()} == case.spec["state_dict"]


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("fcos_r50_fpn_1x", "COCO-Detection/fcos_R_50_FPN_1x"),
        ("mask_rcnn_regnetx_4gf_dds_fpn_1x", "COCO-InstanceSegmentation/mask_rcnn_regnetx_4gf_dds_fpn_1x"),
        ("mask_rcnn_regnety_4gf_dds_fpn_1x", "COCO-InstanceSegmentation/mask_rcnn_regnety_4gf_dds_fpn_1x"),
    ],
)
def test_a_recipe_equals_the_configuration_that_is_a_python_file(
    name: str, published: str, zoo: dict[str, Any]
) -> None:
    found = recipe_from_settings(zoo[published]["settings"])
    ours, theirs = recipes.load(name).resolved().tree, recipes.recipe_from_tree(found.tree).resolved().tree
    for section in ("model", "data", "train"):
        assert ours[section] == theirs[section]


def test_the_variants_of_a_batch_norm_head_differ_from_it_in_its_norms_and_its_shuffling(zoo: dict[str, Any]) -> None:
    def model(name: str) -> dict[str, Any]:
        tree: dict[str, Any] = recipe_from_settings(zoo[f"Rethinking-BatchNorm/{name}"]["settings"]).tree["model"]
        return tree

    plain, batch_stats, shuffled = (model(f"mask_rcnn_BNhead{kind}") for kind in ("", "_batch_stats", "_shuffle"))
    for head, other in ((plain["mask_head"], batch_stats["mask_head"]), (_box_head(plain), _box_head(batch_stats))):
        assert (head.pop("norm"), other.pop("norm")) == ("BN", "BatchStatBN")
    assert plain == batch_stats
    plain = model("mask_rcnn_BNhead")
    assert shuffled["mask_head"].pop("shuffle")
    assert _box_head(shuffled).pop("shuffle")
    assert plain == shuffled


def _box_head(model: dict[str, Any]) -> dict[str, Any]:
    head: dict[str, Any] = model["roi_heads"]["box_head"]
    return head
