"""Classification networks of torchvision as backbones."""

import copy

import pytest
import torch
import torchvision
from det_core.backbones import FPN, TorchvisionBackbone
from det_core.contracts import Backbone
from det_core.errors import ConfigError
from det_core.ops.layers import FrozenBatchNorm2d
from torch import nn

CHANNELS = {
    "mobilenet_v2": [24, 32, 96, 1280],
    "mobilenet_v3_small": [16, 24, 48, 576],
    "resnet18": [64, 128, 256, 512],
    "efficientnet_b0": [24, 40, 112, 1280],
    "regnet_y_400mf": [48, 104, 208, 440],
    "shufflenet_v2_x1_0": [24, 116, 232, 1024],
}


@pytest.mark.parametrize("name", CHANNELS)
def test_last_map_of_each_stride_is_used(name):
    backbone = TorchvisionBackbone(name)
    features = backbone(torch.zeros(1, 3, 64, 96))
    assert isinstance(backbone, Backbone)
    assert backbone.strides == {"c2": 4, "c3": 8, "c4": 16, "c5": 32}
    assert backbone.size_divisibility == 32
    assert list(backbone.channels.values()) == CHANNELS[name]
    for level, stride in backbone.strides.items():
        assert features[level].shape == (1, backbone.channels[level], 64 // stride, 96 // stride)


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18"])
def test_names_and_features_are_those_of_torchvision_itself(name):
    network = torchvision.models.get_model(name).eval()
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.normal_(std=0.1)
    backbone = TorchvisionBackbone(name, strides=[32])
    own = {key: value for key, value in network.state_dict().items() if key in backbone.state_dict()}
    assert own.keys() == backbone.state_dict().keys()
    backbone.load_state_dict(own)
    x = torch.randn(1, 3, 64, 64)
    features = backbone(x)["c5"]
    head = network.classifier if name == "mobilenet_v2" else network.fc
    torch.testing.assert_close(head(features.mean((2, 3))), network(x))


def test_frozen_norms_keep_the_epsilon_of_the_network():
    backbone = TorchvisionBackbone("mobilenet_v3_small")
    epsilons = {m.eps for m in backbone.modules() if isinstance(m, FrozenBatchNorm2d)}
    assert epsilons == {1e-3}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in backbone.modules())


def test_live_norms_follow_training_and_evaluation():
    backbone = TorchvisionBackbone("mobilenet_v2", norm="BN", strides=[8])
    x = torch.randn(2, 3, 32, 32)
    before = backbone.state_dict()["features.0.1.running_mean"].clone()
    backbone.eval()(x)
    assert torch.equal(backbone.state_dict()["features.0.1.running_mean"], before)
    backbone.train()(x)
    assert not torch.equal(backbone.state_dict()["features.0.1.running_mean"], before)


def test_freezing_reaches_up_to_the_stride():
    backbone = TorchvisionBackbone("resnet18", norm="BN", freeze_at=2)
    trained = {name.partition(".")[0] for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"layer2", "layer3", "layer4"}
    assert isinstance(backbone.get_submodule("bn1"), FrozenBatchNorm2d)
    assert isinstance(backbone.get_submodule("layer2.0.bn1"), nn.BatchNorm2d)


def test_layers_after_coarsest_level_are_dropped():
    names = TorchvisionBackbone("resnet18", strides=[4, 8]).state_dict()
    assert not any(name.startswith(("layer3", "layer4", "fc")) for name in names)


def test_deepcopy_keeps_channels():
    backbone = TorchvisionBackbone("mobilenet_v2", strides=[8, 16])
    copied = copy.deepcopy(backbone)
    assert copied.channels == {"c3": 32, "c4": 96}
    assert copied.strides == {"c3": 8, "c4": 16}
    x = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(copied(x)["c4"], backbone(x)["c4"])


def test_it_carries_a_pyramid_and_is_built_without_values():
    with torch.device("meta"):
        fpn = FPN(TorchvisionBackbone("efficientnet_b0", strides=[8, 16, 32]))
    assert list(fpn.channels) == ["p3", "p4", "p5", "p6"]
    assert all(parameter.is_meta for parameter in fpn.parameters())


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"name": "resnet1000"}, "no classification network"),
        ({"name": "fasterrcnn_resnet50_fpn"}, "no classification network"),
        ({"name": "vit_b_16"}, "any size"),
        ({"name": "resnet18", "strides": [64]}, "2, 4, 8, 16, 32"),
        ({"name": "swin_t", "strides": [4, 8, 16, 32]}, "stride"),
        ({"name": "resnet18", "strides": []}, "stride"),
    ],
)
def test_networks_and_strides_that_are_not_there_are_named(options, named):
    with pytest.raises(ConfigError, match=named):
        TorchvisionBackbone(**options)
