"""What all the transformers here have in common, and what each has of its own."""

import pytest
import small
import torch
from det_core.errors import ConfigError
from det_core.ops.layers import LayerNorm2d
from det_vitdet import presets
from det_vitdet.mvit import PooledWindows
from det_vitdet.swin import _apart, _distances
from det_vitdet.vit import ResidualConvolutions
from torch import nn


@pytest.fixture(params=small.ALL)
def make(request):
    torch.manual_seed(0)
    return small.ALL[request.param]


def stirred(network):
    """The same network with nothing left at zero, so that every path counts."""
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("size", [(64, 64), (32, 160), (128, 96), (77, 133)])
def test_every_size_gives_maps_of_the_declared_shapes(make, size):
    network = make().eval()
    size = [-(-side // network.size_divisibility) * network.size_divisibility for side in size]
    features = network(torch.randn(2, 3, *size))
    assert {level: tuple(found.shape) for level, found in features.items()} == {
        level: (2, network.channels[level], -(-size[0] // stride), -(-size[1] // stride))
        for level, stride in network.strides.items()
    }


def test_forward_accepts_tiny_image(make):
    network = make().eval()
    side = network.size_divisibility
    assert all(found.isfinite().all() for found in network(torch.randn(1, 3, side, side)).values())


def test_forward_of_image_alone_equals_batch(make):
    network = stirred(make()).eval()
    pixels = torch.randn(3, 3, 96, 64)
    together = network(pixels)
    for i in range(3):
        for level, found in network(pixels[i : i + 1]).items():
            torch.testing.assert_close(found[0], together[level][i], rtol=1e-4, atol=1e-4)


def test_computing_blocks_again_changes_no_gradient(make):
    network = stirred(make())
    pixels, gradients = torch.randn(1, 3, 64, 64), []
    for checkpointed in (False, True):
        for part in network.modules():
            if hasattr(part, "activation_checkpointing"):
                part.activation_checkpointing = checkpointed
        network.train().zero_grad()
        torch.stack([found.square().mean() for found in network(pixels).values()]).sum().backward()
        gradients.append([parameter.grad.clone() for parameter in network.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


def test_it_runs_in_half_precision(make):
    network = stirred(make())
    with torch.autocast("cpu", torch.bfloat16):
        half = network(torch.ones(1, 3, 64, 64))
    for level, found in network(torch.ones(1, 3, 64, 64)).items():
        assert (half[level].float() - found).abs().max() <= 0.1 * found.abs().max()


def test_pad_to_equals_explicit_padding(make):
    torch.manual_seed(1)
    padding, plain = stirred(make(pad_to=96)), make()
    plain.load_state_dict(padding.state_dict())
    pixels = torch.randn(1, 3, 64, 32)
    by_hand = nn.functional.pad(pixels, (0, 64, 0, 32))
    for level, found in plain.eval()(by_hand).items():
        torch.testing.assert_close(padding.eval()(pixels)[level], found)
    assert padding(torch.randn(1, 3, 128, 64)) is not None  # larger than that is as it is


def test_stochastic_depth_drops_whole_images_and_rescales_others():
    torch.manual_seed(0)
    block = small.vit(drop_path_rate=0.5, depth=2).blocks[1].drop_path.train()
    found = block(torch.ones(4000, 2, 2, 1)).flatten(1)
    assert set(found.unique().tolist()) == {0.0, 2.0}
    assert (found == found[:, :1]).all()
    assert found.mean().item() == pytest.approx(1.0, abs=0.06)


def test_tokens_of_one_window_do_not_see_another():
    network = stirred(small.vit(depth=1, blocks=[0], image_size=96)).eval()
    pixels = torch.randn(1, 3, 96, 96)
    changed = pixels.clone()
    changed[..., 48:] += 1  # the right one of two windows of three tokens
    before, after = (network(each)["last_feat"] for each in (pixels, changed))
    assert torch.equal(before[..., :3], after[..., :3])
    assert not torch.equal(before[..., 3:], after[..., 3:])


def test_residual_convolutions_start_as_identity_with_norm_over_channels():
    block = ResidualConvolutions(8)
    x = torch.randn(1, 8, 5, 5)
    assert torch.equal(block(x), x)
    assert isinstance(block.norm1, LayerNorm2d)
    assert "blocks.1.residual.conv2.weight" in small.vit(residual_blocks=[1]).state_dict()


def test_shift_mask_separates_tokens_across_border_only():
    apart = _apart((2, 2), window=2, shift=1, like=torch.zeros(1))
    assert apart.shape == (4, 4, 4)
    assert (apart[0] == 0).all()  # the window in the upper left holds neighbours only
    assert (apart[1] != 0).int().tolist() == [[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]]
    assert apart[3, 0].tolist() == [0, -100, -100, -100]


def test_relative_index_orders_rows_then_columns():
    assert _distances(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("vit", {"blocks": [0, 2]}, r"ViT.windows.blocks: must be numbers from 0 to 1; got \[2\]"),
        ("vit", {"heads": 3}, "ViT.heads: must divide the channels; got 3 for 16"),
        ("vit", {"size": 0}, "ViT.windows.size: must be at least 1; got 0"),
        ("vit", {"image_size": 8}, "ViT.positions.image_size: must be at least 16; got 8"),
        ("vit", {"drop_path_rate": 1.0}, "drop_path_rate: must be at least 0 and below 1; got 1.0"),
        ("mvit", {"depth": 6}, "MViT.last_blocks: must be four, rise, and end with the last block"),
        ("mvit", {"last_blocks": (0, 1, 4)}, r"must be four, rise, and end with the last block; got \[0, 1, 4\]"),
        ("mvit", {"heads": 3}, "MViT.heads: must divide the channels; got 3 for 8"),
        (
            "mvit",
            {"pooling": PooledWindows(window_size=9)},
            "MViT.pooling.window_size: must be a multiple of the strides within it; got windows of 9",
        ),
        ("swin", {"out_features": ["p4"]}, "Swin.out_features: must name some of p0, p1, p2, p3"),
        ("swin", {"heads": (3, 2, 4, 8)}, "Swin.heads: must divide the channels of their stage"),
        ("swin", {"depths": (2, 0, 2, 2)}, r"Swin.depths: must be at least 1; got \(2, 0, 2, 2\)"),
    ],
)
def test_invalid_arguments_are_refused_with_valid_range(name, options, told):
    with pytest.raises(ConfigError, match=told):
        small.ALL[name](**options)


def test_pyramid_with_scales_other_than_halves_is_refused():
    with pytest.raises(ConfigError, match="must halve by level"):
        small.SimpleFeaturePyramid(small.vit(), scales=[2.0, 0.5])


@pytest.mark.parametrize("name", presets.__all__)
def test_presets_have_published_sizes(name):
    with torch.device("meta"):
        network = getattr(presets, name)()
    assert network.size_divisibility in (1, 32)
    assert all(parameter.is_meta for parameter in network.parameters())
