"""The plugin is found, fits the contract, and learns."""

import torch
from det_acme.tiny import TinyBackbone
from det_core import plugins, recipes
from det_core.contracts import Backbone
from det_core.structures import ImageBatch, Targets


def test_plugin_is_listed_without_problems():
    (acme,) = [plugin for plugin in plugins.catalog().plugins if plugin.distribution == "det-acme"]
    assert acme.status == "active"
    assert not acme.problem
    assert acme.components["backbones"] == {"acme_tiny": "det_acme.tiny:TinyBackbone"}


def test_backbone_features_have_declared_channels_and_strides():
    backbone = TinyBackbone(width=8)
    assert isinstance(backbone, Backbone)
    features = backbone(torch.zeros(2, 3, 64, 96))
    assert list(features) == ["s4", "s8", "s16", "s32"]
    for level, feature in features.items():
        stride = backbone.strides[level]
        assert feature.shape == (2, backbone.channels[level], 64 // stride, 96 // stride)


def test_recipe_detector_trains_one_step_with_lower_loss():
    torch.manual_seed(0)
    model = recipes.load("acme_tiny_faster_rcnn").build_model()
    pixels = torch.randint(0, 256, (1, 3, 96, 128), dtype=torch.uint8)
    targets = [Targets(boxes=torch.tensor([[20.0, 30.0, 80.0, 90.0]]), labels=torch.tensor([1]))]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    totals = []
    for _ in range(3):
        total = sum(model(ImageBatch(pixels=pixels, sizes=((96, 128),)), targets).values())
        totals.append(total.item())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    assert totals[-1] < totals[0]
