"""The parts of DeepLab: dilated stages, pyramid pooling, losses on the hardest pixels, the schedule."""

import math

import pytest
import torch
from det_core.engine import WarmupPoly
from det_core.errors import ConfigError
from det_core.recipes import Factory
from det_panoptic.backbone import DeepLabResNet, Dilations
from det_panoptic.deeplab import DeepLabDecoder, DeepLabV3Head, DeepLabV3PlusHead
from det_panoptic.layers import ASPP, pool_size
from det_panoptic.losses import PixelLoss, pad_stack

SMALL = {"res2_channels": 16, "width_per_group": 4, "stem_channels": 8, "norm": "BN"}


def test_dilated_stages_keep_stride_and_set_last_block_dilations():
    network = DeepLabResNet(50, **SMALL, dilations=Dilations(multi_grid=(1, 2, 4)))
    assert network.strides == {"res2": 4, "res3": 8, "res4": 16, "res5": 16}
    assert [block.conv2.dilation for block in network.res5] == [(2, 2), (4, 4), (8, 8)]
    network = DeepLabResNet(50, **SMALL, dilations=Dilations(res4=2, res5=4))
    assert network.strides["res5"] == 8
    features = network(torch.rand(1, 3, 33, 50))
    assert features["res5"].shape == (1, 128, 5, 7)


def test_dilated_resnet_with_invalid_settings_is_refused():
    with pytest.raises(ConfigError, match=r"dilations\.res5"):
        DeepLabResNet(50, dilations=Dilations(res4=2, res5=2))
    with pytest.raises(ConfigError, match="out_features"):
        DeepLabResNet(50, out_features=["res6"])


def test_image_pooling_uses_training_size_or_whole_smaller_image():
    torch.manual_seed(0)
    aspp = ASPP(4, 8, norm="", pool=(3, 5), dropout=0).eval()
    assert aspp(torch.rand(1, 4, 2, 9)).shape == (1, 8, 2, 9)
    pool = aspp.convs[4][0]
    x = torch.rand(1, 4, 4, 6)
    torch.testing.assert_close(pool(x)[..., 0, 0], x[..., :3, :5].mean((2, 3)))
    torch.testing.assert_close(pool(x[..., :2, :2])[..., 0, 0], x[..., :2, :2].mean((2, 3)))
    assert pool_size("here", (32, 64), 16) == (2, 4)
    with pytest.raises(ConfigError, match="multiples of the stride 16"):
        pool_size("here", (30, 64), 16)


def test_hard_pixel_loss_ignores_easy_and_unlabelled_pixels():
    logits = torch.zeros(1, 2, 1, 5)
    logits[0, 0, 0] = torch.tensor([4.0, 3, 2, 1, 0])
    truth = [torch.tensor([[1, 1, 1, 1, 255]])]
    losses = [math.log(1 + math.exp(x)) for x in (4, 3, 2, 1)]
    assert PixelLoss("hard_pixel_mining", 0.4)(logits, truth).item() == pytest.approx(sum(losses[:2]) / 2)
    assert PixelLoss("hard_pixel_mining", 1)(logits, truth).item() == pytest.approx(sum(losses) / 5)
    assert PixelLoss("cross_entropy")(logits, truth).item() == pytest.approx(sum(losses) / 4)
    weights = [torch.tensor([[1.0, 1, 1, 10, 1]])]
    weighted = PixelLoss("hard_pixel_mining", 0.2)(logits, truth, weights).item()
    assert weighted == pytest.approx(10 * losses[3])
    nothing = PixelLoss("cross_entropy")(logits, [torch.full((1, 5), 255)])
    assert nothing.item() == 0


def test_maps_of_several_sizes_are_filled_right_and_bottom():
    stacked = pad_stack([torch.ones(1, 2), torch.ones(2, 1)], torch.zeros(2, 3, 2, 3), 9)
    assert stacked.tolist() == [[[1, 1, 9], [9, 9, 9]], [[1, 9, 9], [1, 9, 9]]]


@pytest.mark.parametrize("separable", [False, True])
def test_heads_exported_give_eager_outputs(separable):
    torch.manual_seed(0)
    channels, strides = {"res2": 8, "res5": 16}, {"res2": 4, "res5": 16}
    features = {"res2": torch.rand(1, 8, 16, 24), "res5": torch.rand(1, 16, 4, 6)}
    small = {"aspp_channels": 8, "norm": "BN", "separable": separable, "train_size": (64, 96)}
    for head in (
        DeepLabV3Head(channels, strides, 3, **small),
        DeepLabV3PlusHead(
            channels,
            strides,
            3,
            decoder=Factory(DeepLabDecoder, **small, project_channels=(4,), decoder_channels=8),
        ),
    ):
        logits = head.eval()(features)
        assert logits.shape == (1, 3, 64, 96)
        torch.testing.assert_close(torch.export.export(head, (features,)).module()(features), logits)


def test_poly_schedule_decays_remaining_steps_after_warmup():
    schedule = WarmupPoly(steps=100, power=2.0, warmup=10, warmup_start=0.1)
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(5) == pytest.approx(0.55 * 0.95**2)
    assert schedule(50) == pytest.approx(0.25)
    assert schedule(100) == schedule(150) == 0
    assert WarmupPoly(steps=100, power=1.0, warmup=0, end=0.3)(90) == 0.3
    with pytest.raises(ConfigError, match="steps"):
        WarmupPoly(steps=0)
