"""A ResNet with branches."""

import pytest
import torch
from det_core.backbones import ResNet
from det_core.contracts import Backbone
from det_core.errors import ConfigError
from det_tridentnet.backbone import Branches, TridentResNet

SMALL = {"stem_channels": 8, "res2_channels": 16, "width_per_group": 4}
PIXELS = torch.rand(2, 3, 64, 80, generator=torch.Generator().manual_seed(0))


def network(**options):
    torch.manual_seed(0)
    return TridentResNet(50, **{**SMALL, **options}).eval()


def plain(**options):
    torch.manual_seed(0)
    return ResNet(50, **{**SMALL, "out_features": ["res4"], **options}).eval()


def test_trident_resnet_keys_and_first_branch_equal_resnet():
    assert isinstance(network(), Backbone)
    assert network().state_dict().keys() == plain().state_dict().keys()
    with torch.no_grad():
        first = network()(PIXELS, branches=[0])["res4"]
        torch.testing.assert_close(first, plain()(PIXELS)["res4"])


@torch.no_grad()
def test_branch_equals_stage_with_dilated_convolutions():
    other = plain()
    for block in other.res4:
        block.conv2.dilation = block.conv2.padding = (3, 3)
    torch.testing.assert_close(network()(PIXELS, branches=[2])["res4"], other(PIXELS)["res4"])


@torch.no_grad()
def test_branches_are_concatenated_along_batch():
    model = network()
    together = model(PIXELS, branches=[0, 2, 1])["res4"]
    assert together.shape == (6, 64, 4, 5)
    assert torch.equal(together, torch.cat([model(PIXELS, branches=[i])["res4"] for i in (0, 2, 1)]))


@torch.no_grad()
def test_forward_without_branches_runs_default_branch():
    for branch in (0, 1, 2):
        model = network(branches=Branches(branch=branch))
        assert torch.equal(model(PIXELS)["res4"], model(PIXELS, branches=[branch])["res4"])


@torch.no_grad()
def test_later_stages_go_on_with_all_branches():
    model = network(out_features=["res4", "res5"], res5_dilation=2)
    found = model(PIXELS, branches=[0, 1])
    assert [tuple(found[name].shape) for name in ("res4", "res5")] == [(4, 64, 4, 5), (4, 128, 4, 5)]
    assert model.channels == {"res4": 64, "res5": 128}


def test_gradient_reaches_shared_weights_from_every_branch():
    model = network().train()
    for branch in (0, 1, 2):
        model.zero_grad()
        model(PIXELS, branches=[branch])["res4"].sum().backward()
        assert model.res4[0].conv2.weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("options", "where"),
    [
        ({"branches": Branches(dilations=[])}, "branches.dilations"),
        ({"branches": Branches(dilations=[1, 0])}, "branches.dilations"),
        ({"branches": Branches(branch=3)}, "branches.branch"),
        ({"branches": Branches(branch=-1)}, "branches.branch"),
        ({"branches": Branches(stage="res5")}, "branches.stage"),
        ({"out_features": ["res3", "res4"]}, "out_features"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, where):
    with pytest.raises(ConfigError, match=f"TridentResNet.{where}"):
        network(**options)
