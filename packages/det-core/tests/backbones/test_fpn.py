"""Feature pyramids."""

import pytest
import torch
from det_core.backbones import FPN, ResNet
from det_core.contracts import Backbone
from det_core.errors import ConfigError
from torch import nn


class Constant(nn.Module):
    """Levels of constant value, so that the pyramid's sums can be worked out by hand."""

    channels = {"a": 1, "b": 1}
    strides = {"a": 8, "b": 16}
    size_divisibility = 1

    def forward(self, pixels):
        batch, _, height, width = pixels.shape
        shapes = {"a": (height // 8, width // 8), "b": (height // 16, width // 16)}
        return {name: torch.full((batch, 1, *shape), 3.0 if name == "a" else 5.0) for name, shape in shapes.items()}


def identity_fpn(**options):
    """An FPN whose convolutions pass their input on."""
    fpn = FPN(Constant(), out_channels=1, **options)
    for name, conv in fpn.named_children():
        if name.startswith("fpn"):
            nn.init.dirac_(conv.weight)
    return fpn


def test_level_is_lateral_plus_upsampled_coarser_level():
    out = identity_fpn()(torch.zeros(1, 3, 32, 64))
    assert {name: (tuple(level.shape[2:]), level.unique().tolist()) for name, level in out.items()} == {
        "p3": ((4, 8), [8.0]),
        "p4": ((2, 4), [5.0]),
        "p5": ((1, 2), [5.0]),
    }


def test_averaging_halves_the_sum():
    assert identity_fpn(fuse="avg")(torch.zeros(1, 3, 32, 64))["p3"].unique().tolist() == [4.0]


def test_without_a_top_the_coarsest_level_is_the_last():
    fpn = identity_fpn(top=None)
    assert list(fpn(torch.zeros(1, 3, 32, 64))) == list(fpn.channels) == ["p3", "p4"]


def test_levels_of_resnet_are_p2_to_p6_finest_first():
    fpn = FPN(ResNet(18))
    features = fpn(torch.zeros(2, 3, 64, 96))
    assert isinstance(fpn, Backbone)
    assert list(features) == list(fpn.strides) == ["p2", "p3", "p4", "p5", "p6"]
    assert fpn.size_divisibility == 32
    assert features["p6"].shape == (2, 256, 1, 2)
    assert [tuple(level.shape[1:]) for level in features.values()][:2] == [(256, 16, 24), (256, 8, 12)]


def test_odd_coarse_map_keeps_all_levels():
    out = identity_fpn()(torch.zeros(1, 3, 40, 48))  # 5 x 6 over 2 x 3
    assert out["p3"].shape == (1, 1, 5, 6)


def test_norm_replaces_bias():
    names = set(FPN(Constant(), out_channels=32, norm="GN").state_dict())
    assert {"fpn_lateral3.norm.weight", "fpn_output4.norm.bias"} <= names
    assert "fpn_lateral3.bias" not in names


@pytest.mark.parametrize("levels", [["res2", "res4"], ["res3", "res2"], ["res7"], []])
def test_levels_not_doubling_or_missing_are_refused(levels):
    with torch.device("meta"), pytest.raises(ConfigError, match=r"FPN\.in_features"):
        FPN(ResNet(18), in_features=levels)


def test_convolutions_make_two_more_levels_on_top():
    fpn = FPN(ResNet(18, out_features=["res3", "res4", "res5"]), out_channels=16, top="convolutions")
    features = fpn(torch.zeros(1, 3, 64, 96))
    assert list(features) == list(fpn.strides) == ["p3", "p4", "p5", "p6", "p7"]
    assert [tuple(level.shape[2:]) for level in features.values()] == [(8, 12), (4, 6), (2, 3), (1, 2), (1, 1)]
    assert fpn.top_block.p6.in_channels == 512
    assert fpn.size_divisibility == 32


def test_top_convolutions_take_pyramid_level_with_top_input_pyramid():
    fpn = identity_fpn(top="convolutions", top_input="pyramid")
    assert fpn.top_block.p5.in_channels == 1
    nn.init.ones_(fpn.top_block.p5.weight)
    nn.init.constant_(fpn.top_block.p6.weight, 2.0)
    out = fpn(torch.zeros(1, 3, 32, 64))  # p4 is 2 x 4 pixels of 5
    assert out["p5"].tolist() == [[[[20.0, 30.0]]]]
    assert out["p6"].item() == 100.0
    nn.init.constant_(fpn.top_block.p5.weight, -1.0)
    out = fpn(torch.zeros(1, 3, 32, 64))
    assert out["p5"].tolist() == [[[[-20.0, -30.0]]]]
    assert out["p6"].item() == 0.0  # only what is above 0 goes on
