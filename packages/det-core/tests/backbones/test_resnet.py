"""ResNet, its options and its published names."""

import pytest
import torch
from det_core.backbones import ResNet
from det_core.contracts import Backbone
from det_core.errors import ConfigError
from det_core.ops.layers import FrozenBatchNorm2d
from torch import nn


def meta(**options):
    with torch.device("meta"):
        return ResNet(**options)


# As published for classification, without the fully connected layer: 25.557 M - 2.049 M and so on.
@pytest.mark.parametrize(
    ("depth", "millions"), [(18, 11.177), (34, 21.285), (50, 23.508), (101, 42.500), (152, 58.144)]
)
def test_each_depth_has_the_published_number_of_parameters(depth, millions):
    network = meta(depth=depth, norm="BN", freeze_at=0)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=1e-3)


def test_feature_maps_have_the_promised_channels_and_strides():
    network = ResNet(18).eval()
    features = network(torch.zeros(2, 3, 64, 96))
    assert isinstance(network, Backbone)
    assert list(features) == list(network.channels) == ["res2", "res3", "res4", "res5"]
    assert network.strides == {"res2": 4, "res3": 8, "res4": 16, "res5": 32}
    for name, level in features.items():
        stride = network.strides[name]
        assert level.shape == (2, network.channels[name], 64 // stride, 96 // stride)


def test_sizes_that_are_no_multiples_are_rounded_up():
    features = ResNet(18)(torch.zeros(1, 3, 33, 65))
    assert [tuple(level.shape[2:]) for level in features.values()] == [(9, 17), (5, 9), (3, 5), (2, 3)]


def test_stages_after_the_last_level_are_not_built():
    network = meta(out_features=["res3", "res4"])
    assert list(network.channels) == ["res3", "res4"]
    assert not any(name.startswith("res5") for name in network.state_dict())


@pytest.mark.parametrize(("in_1x1", "strides"), [(True, [2, 1]), (False, [1, 2])])
def test_either_the_first_or_the_middle_convolution_strides(in_1x1, strides):
    block = meta(stride_in_1x1=in_1x1).res3[0]
    assert [block.conv1.stride[0], block.conv2.stride[0]] == strides


def test_resnext_has_32_groups_of_8_channels_that_double():
    network = meta(depth=101, groups=32, width_per_group=8, stride_in_1x1=False)
    assert network.res2[0].conv2.weight.shape == (256, 8, 3, 3)
    assert network.res5[0].conv2.weight.shape == (2048, 64, 3, 3)


def test_dilated_last_stage_keeps_stride_and_receptive_field():
    network = meta(res5_dilation=2)
    assert network.strides["res5"] == 16
    assert network.res5[2].conv2.dilation == (2, 2)
    assert network(torch.zeros(1, 3, 64, 64, device="meta"))["res5"].shape == (1, 2048, 4, 4)


@pytest.mark.parametrize(("freeze_at", "frozen"), [(0, []), (1, ["stem"]), (2, ["stem", "res2"]), (9, None)])
def test_freeze_at_freezes_given_stages_only(freeze_at, frozen):
    network = meta(depth=18, norm="BN", freeze_at=freeze_at)
    stages = ["stem", "res2", "res3", "res4", "res5"]
    for stage in stages:
        part = network.get_submodule(stage)
        expected = frozen is None or stage in frozen
        assert all(p.requires_grad != expected for p in part.parameters())
        assert any(isinstance(m, FrozenBatchNorm2d) for m in part.modules()) == expected
        assert any(isinstance(m, nn.BatchNorm2d) for m in part.modules()) != expected


def test_published_names_of_a_block_and_its_norms():
    names = set(meta(norm="FrozenBN").state_dict())
    assert "stem.conv1.norm.running_var" in names
    assert "res2.0.shortcut.weight" in names
    assert "res4.5.conv3.norm.bias" in names
    assert not any(name.endswith(("num_batches_tracked", "conv1.bias")) for name in names)


def test_without_a_norm_there_is_no_bias_either():
    assert all(name.endswith("weight") for name in meta(norm="").state_dict())


@pytest.mark.parametrize(
    "options",
    [{"out_features": ["res6"]}, {"out_features": []}, {"depth": 18, "groups": 2}, {"depth": 34, "res5_dilation": 2}],
)
def test_options_that_do_not_go_together_are_refused(options):
    with pytest.raises(ConfigError, match="ResNet"):
        meta(**options)
