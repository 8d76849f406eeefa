"""The plugin is found, without problems, with all that it offers."""

import pytest
import torch
import yaml
from det_core import plugins, recipes
from det_detectron2.importer.detectron2 import UnsupportedError
from det_detectron2.importer.lazy_objects import Objects
from det_vitdet import importer, plugin


@pytest.fixture
def found():
    (found,) = [each for each in plugins.catalog().plugins if each.distribution == "det-vitdet"]
    return found


def test_it_is_listed_without_problems_with_its_backbones(found):
    assert found.status == "active"
    assert not found.problem
    assert {"vit", "mvit", "swin", "timm", "vitdet_b", "mvitv2_t", "swin_t"} <= set(found.components["backbones"])


def test_there_are_29_published_recipes_under_both_names():
    names = {name for folder in plugin.PUBLISHED.values() for name in folder}
    assert len(names) == 29
    assert recipes.load("ViTDet/COCO/mask_rcnn_vitdet_b_100ep") == recipes.load("mask_rcnn_vitdet_b_100ep")


def test_backbone_is_built_by_published_size_name():
    tree = yaml.safe_load("{model: {type: mask_rcnn, num_classes: 3, backbone: {type: vitdet_b, drop_path_rate: 0.0}}}")
    with torch.device("meta"):
        model = recipes.recipe_from_tree(tree).build_model()
    assert list(model.backbone.channels) == ["p2", "p3", "p4", "p5", "p6"]


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"norm_layer": "functools.partial(<class 'torch.nn.LayerNorm'>, eps=1e-05)"}, "must be a LayerNorm with eps"),
        ({"use_abs_pos": True}, "use_abs_pos: is not supported yet; got True; supported: False"),
    ],
)
def test_importer_refuses_unsupported_network_arguments(settings, told):
    given = {"norm_layer": "functools.partial(<class 'torch.nn.LayerNorm'>, eps=1e-06)", **settings}
    objects = Objects({f"model.backbone.bottom_up.{name}": value for name, value in given.items()})
    with pytest.raises(UnsupportedError, match=told):
        importer.PARTS["model.backbone.bottom_up.kind", "MViT"](objects, "model.backbone.bottom_up")
