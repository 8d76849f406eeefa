"""Residual blocks with deformable convolutions."""

import pytest
import torch
from det_core.backbones import Deformation, ResNet
from det_core.errors import ConfigError
from det_core.ops.deform_conv import deform_conv
from det_core.ops.resnet_blocks import BottleneckBlock
from torch.nn import functional as F

OPTIONS = {"bottleneck": 4, "norm": "", "groups": 1, "stride_in_1x1": False}


def block(deformable, **options):
    torch.manual_seed(0)
    return BottleneckBlock(8, 8, **{**OPTIONS, "stride": 1, "deformable": deformable, **options})


def picture():
    return torch.randn(2, 8, 7, 9, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("options", [{}, {"stride": 2}, {"dilation": 2}, {"groups": 2}])
def test_deformable_without_offsets_equals_plain_convolution(options):
    plain, deformed, modulated = block(None, **options), block("v1", **options), block("v2", **options)
    if options.get("stride") == 2:  # no shortcut between equal channels: the outputs alone would not fit
        for each in (plain, deformed, modulated):
            each.shortcut = torch.nn.AvgPool2d(1, 2)
    for each in (deformed, modulated):
        each.load_state_dict(plain.state_dict(), strict=False)
        torch.nn.init.zeros_(each.conv2_offset.weight)
        torch.nn.init.zeros_(each.conv2_offset.bias)
    torch.testing.assert_close(deformed(picture()), plain(picture()))
    # A weight of sigmoid(0) halves every sample.
    plain.conv2.weight.data /= 2
    torch.testing.assert_close(modulated(picture()), plain(picture()))


def test_deformable_offset_of_one_pixel_shifts_sampling():
    each = block("v1")
    torch.nn.init.zeros_(each.conv2_offset.weight)
    each.conv2_offset.bias.data = torch.tensor([1.0, 0.0] * 9)  # down and across, for each of the 9 samples
    x = picture()
    middle = each.conv1(x)
    expected = F.conv2d(F.pad(middle, (1, 1, 1, 2)), each.conv2.weight)[:, :, 1:]
    found = deform_conv(middle, each.conv2_offset(middle), each.conv2, each.modulated)
    torch.testing.assert_close(found, expected.relu())


@pytest.mark.parametrize("deformable", ["v1", "v2"])
def test_gradients_reach_offsets_and_weights(deformable):
    each = block(deformable, deformable_groups=2)
    numbers = 2 * 9 * (3 if deformable == "v2" else 2)
    assert each.conv2_offset.weight.shape == (numbers, 4, 3, 3)
    each(picture()).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in each.parameters())
    assert each.conv2_offset.bias.grad.any()


def test_resnet_stages_are_deformable_as_configured_and_start_undeformed():
    network = ResNet(
        50, deformation=Deformation(stages=["res4", "res5"], kind="v2"), res2_channels=16, width_per_group=4
    )
    names = [name for name in network.state_dict() if name.endswith("conv2_offset.weight")]
    assert {name.split(".")[0] for name in names} == {"res4", "res5"}
    assert len(names) == 6 + 3
    assert not network.res4[0].conv2_offset.weight.any()
    assert network.res4[0].conv2.weight.any()


def test_invalid_deformable_stages_are_refused():
    with pytest.raises(ConfigError, match="need bottleneck blocks"):
        ResNet(18, deformation=Deformation(stages=["res5"]))
    with pytest.raises(ConfigError, match="must name some of"):
        ResNet(50, deformation=Deformation(stages=["res9"]))
