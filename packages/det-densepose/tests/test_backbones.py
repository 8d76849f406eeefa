"""HRNet and the pyramid over it: sizes. Equality with the published ones: tests/parity."""

import pytest
import torch
from det_core.backbones import ResNet
from det_core.errors import ConfigError
from det_densepose.backbones import HRFPN, HRNet


def small():
    torch.manual_seed(0)
    return HRNet(channels=(4, 8, 12, 16), modules=(1, 1, 1), blocks=1, stem_channels=4)


@pytest.mark.parametrize("size", [(64, 64), (97, 33), (131, 70)])
def test_hrnet_maps_have_sizes_of_its_strides(size):
    found = small()(torch.zeros(1, 3, *size))
    assert list(found) == ["p1", "p2", "p3", "p4"]
    for stride, width, level in zip((4, 8, 16, 32), (4, 8, 12, 16), found.values(), strict=True):
        assert level.shape == (1, width, -(-size[0] // stride), -(-size[1] // stride))


def test_hrnet_has_a_stage_less_than_branches():
    with pytest.raises(ConfigError, match=r"HRNet\.modules"):
        HRNet(modules=(1, 2))


def test_hrfpn_cuts_its_maps_to_multiples_of_the_coarsest():
    model = HRFPN(small(), out_channels=6).eval()
    assert model.exact_sizes is False
    found = model(torch.zeros(2, 3, 256, 320))
    # The coarsest branch is 8 x 10; raised 60 x 76, of which the coarsest level takes 3 x 4 squares of 16.
    sizes = {name: tuple(level.shape[-2:]) for name, level in found.items()}
    assert sizes == {"p1": (48, 64), "p2": (24, 32), "p3": (12, 16), "p4": (6, 8), "p5": (3, 4)}
    assert list(model.strides.values()) == [4, 8, 16, 32, 64]


@pytest.mark.parametrize("size", [(20, 30), (64, 64), (65, 300)])
def test_hrfpn_of_small_image_has_one_coarsest_cell(size):
    found = HRFPN(small(), out_channels=6).eval()(torch.zeros(1, 3, *size))
    assert min(found["p5"].shape[-2:]) == 1


def test_hrfpn_goes_over_another_network_too():
    model = HRFPN(ResNet(depth=18, stride_in_1x1=False, out_features=["res2", "res3"]), out_channels=6, num_levels=2)
    found = model.eval()(torch.zeros(1, 3, 64, 64))
    # Maps of 16 and 8 cells, raised to 19 and 18: the smaller one counts.
    assert [tuple(level.shape[1:]) for level in found.values()] == [(6, 18, 18), (6, 9, 9)]
