"""RegNets."""

import pytest
import torch
from det_core.backbones import FPN, RegNet
from det_core.backbones.regnet import SqueezeExcitation, stages_of
from det_core.contracts import Backbone
from det_core.errors import ConfigError
from torch import nn

SMALL = {"depth": 6, "width": 8, "slope": 8.0, "multiplier": 2.0, "group_width": 8}


def test_stages_equal_published_ones():
    # "Designing network design spaces", tables of RegNetX-4GF and RegNetY-4GF.
    assert stages_of(23, 96, 38.65, 2.43, 40) == [(2, 80), (5, 240), (14, 560), (2, 1360)]
    assert stages_of(22, 96, 31.41, 2.24, 64) == [(2, 128), (6, 192), (12, 512), (2, 1088)]


def test_widths_are_worked_out_block_by_block():
    # 8, 16, 24, 32, 40, 48 channels, in powers of two: 8, 16, 32, 32, 32, 64 (24 is nearer to 32 by its logarithm).
    assert stages_of(6, 8, 8.0, 2.0, 8) == [(1, 8), (1, 16), (3, 32), (1, 64)]
    # A group that does not divide the widths: 48 and more in place of 32, no group wider than its stage.
    assert stages_of(6, 8, 8.0, 2.0, 24) == [(1, 8), (1, 16), (3, 24), (1, 72)]


def test_every_stage_halves_the_map():
    net = RegNet(**SMALL)
    features = net(torch.zeros(2, 3, 40, 64))
    assert isinstance(net, Backbone)
    assert {name: tuple(x.shape[1:]) for name, x in features.items()} == {
        "s1": (8, 10, 16),
        "s2": (16, 5, 8),
        "s3": (32, 3, 4),
        "s4": (64, 2, 2),
    }
    assert net.strides == {"s1": 4, "s2": 8, "s3": 16, "s4": 32}
    assert list(FPN(net).channels) == ["p2", "p3", "p4", "p5", "p6"]


def test_unrequested_stages_are_not_built():
    net = RegNet(**SMALL, out_features=["s2"])
    assert not hasattr(net, "s3")
    assert list(net(torch.zeros(1, 3, 32, 32))) == ["s2"]


def test_squeeze_and_excitation_weighs_channels_by_their_means():
    se = SqueezeExcitation(2, 1)
    with torch.no_grad():
        for parameter in se.parameters():
            parameter.zero_()
        se.f_ex[0].weight[0, 0] = 1.0  # the mean of the first channel
        se.f_ex[2].weight[1, 0] = 1.0  # weighs the second
    x = torch.tensor([[[[1.0, 3.0]], [[10.0, 20.0]]]])
    weight = torch.sigmoid(torch.tensor(2.0))
    torch.testing.assert_close(se(x), torch.cat((x[:, :1] * 0.5, x[:, 1:] * weight), dim=1))


def test_squeezed_channels_are_fraction_of_block_input():
    names = RegNet(**SMALL, se_ratio=0.25).state_dict()
    assert names["s1.b1.f.se.f_ex.0.weight"].shape == (8, 8, 1, 1)  # a quarter of the stem's 32
    assert names["s3.b2.f.se.f_ex.2.weight"].shape == (32, 8, 1, 1)


def test_parameters_have_published_names():
    names = set(RegNet(**SMALL, norm="BN", freeze_at=0).state_dict())
    assert {"stem.conv.weight", "stem.bn.bias", "s1.b1.proj.weight", "s1.b1.bn.running_mean"} <= names
    assert {"s3.b2.f.a.weight", "s3.b2.f.b_bn.weight", "s3.b2.f.c.weight"} <= names
    assert "s3.b2.proj.weight" not in names


def test_frozen_stages_have_no_gradient_and_blocks_start_identical():
    net = RegNet(**SMALL, norm="BN", freeze_at=2)
    trained = {name.split(".")[0] for name, parameter in net.named_parameters() if parameter.requires_grad}
    assert trained == {"s2", "s3", "s4"}
    assert isinstance(net.s2.b1.f.c_bn, nn.BatchNorm2d)
    assert not net.s2.b1.f.c_bn.weight.any()
    with torch.device("meta"):
        RegNet()


@pytest.mark.parametrize("change", [{"width": 12}, {"multiplier": 1.0}, {"slope": -1.0}, {"out_features": ["s9"]}])
def test_invalid_arguments_are_refused(change):
    with pytest.raises(ConfigError, match="RegNet"):
        RegNet(**{**SMALL, **change})
