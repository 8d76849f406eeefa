"""Weights of classification networks fit, whoever made them."""

import pytest
import small
import torch
from det_core import recipes
from det_core.errors import WeightsError
from det_core.weights import InitialWeights, load_into
from torch.nn import functional as F


def test_absolute_positions_are_resampled_with_class_token_optional():
    large, ours = small.vit(pretrain_size=128), small.vit(pretrain_size=64)
    report = load_into(ours, large.state_dict())
    assert report.upgrades == ("positions of another size",)
    assert torch.equal(ours.pos_embed[:, 0], large.pos_embed[:, 0])
    square = large.pos_embed[:, 1:].unflatten(1, (8, 8)).permute(0, 3, 1, 2)
    expected = F.interpolate(square, size=(4, 4), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(ours.pos_embed[:, 1:], expected)
    without = small.vit(pretrain_size=64, pretrain_class_token=False)
    load_into(without, large.state_dict())
    torch.testing.assert_close(without.pos_embed, expected)


def test_relative_positions_of_another_size_are_resampled():
    large, ours = small.vit(image_size=192), small.vit(image_size=96)
    torch.nn.init.normal_(large.blocks[1].attn.rel_pos_h)
    load_into(ours, large.state_dict())
    middle = large.blocks[1].attn.rel_pos_h[11]
    torch.testing.assert_close(ours.blocks[1].attn.rel_pos_h[5], middle)


def test_weights_that_fit_are_left_alone():
    for make in small.ALL.values():
        network = make()
        assert load_into(network, make().state_dict()).upgrades == ()


def beginning(name, file, network):
    """A detector of a recipe whose network starts from a file, and what loading tells."""
    model = recipes.load(name).build_model()
    skip = {"net": ["*.rel_pos_h", "*.rel_pos_w"], "bottom_up": ["norm*"]}[network]
    return model, InitialWeights(str(file), into=f"backbone.{network}", skip=skip).load(model)


def test_detector_loads_mae_weights_of_another_size(tmp_path):
    # As MAE's: 224 pixels, a class token, a norm at the end, no relative positions; here of patches of 8 pixels.
    options = {
        "channels": 96,
        "depth": 6,
        "heads": 3,
        "patch_size": 8,
        "blocks": [],
        "relative": False,
    }
    pretrained = small.vit(image_size=224, pretrain_size=224, **options).state_dict()
    extra = {"cls_token": torch.zeros(1, 1, 96), "norm.weight": torch.ones(96), "norm.bias": torch.zeros(96)}
    torch.save({"model": {**pretrained, **extra}}, tmp_path / "mae.pth")
    model, report = beginning("tiny_vitdet_blood_cells", tmp_path / "mae.pth", "net")
    assert report.upgrades == ("positions of another size",)
    assert set(report.unused) == set(extra)
    square = pretrained["pos_embed"][:, 1:].unflatten(1, (28, 28)).permute(0, 3, 1, 2)
    expected = F.interpolate(square, size=(32, 32), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(model.backbone.net.pos_embed, expected)
    assert torch.equal(model.backbone.net.blocks[5].mlp.fc2.weight, pretrained["blocks.5.mlp.fc2.weight"])


def test_detector_loads_swin_weights_of_other_window_size(tmp_path):
    # As those of ImageNet-21k: windows of 12 tokens, masks of the windows among the weights, a classifier.
    sizes = {"channels": 32, "depths": (2, 2, 2, 2), "heads": (1, 2, 4, 8), "window_size": 12}
    pretrained = {key: value for key, value in small.swin(**sizes).state_dict().items() if not key.startswith("norm")}
    extra = {"layers.0.blocks.1.attn_mask": torch.zeros(4, 144, 144), "head.weight": torch.zeros(5, 256)}
    torch.save({"model": {**pretrained, **extra}}, tmp_path / "swin.pth")
    model, report = beginning("tiny_swin_blood_cells", tmp_path / "swin.pth", "bottom_up")
    assert report.upgrades == ("positions of another size",)
    assert set(report.unused) == set(extra)
    attention = "layers.3.blocks.0.attn"
    square = pretrained[f"{attention}.relative_position_bias_table"].t().unflatten(1, (23, 23))[None]
    expected = F.interpolate(square, size=(13, 13), mode="bicubic")[0].flatten(1).t()
    found = model.backbone.bottom_up.get_submodule(attention)
    torch.testing.assert_close(found.relative_position_bias_table, expected)
    assert found.relative_position_index.shape == (49, 49)


def timm_vit(**options):
    timm = pytest.importorskip("timm", reason="needs the extra: pip install 'det-vitdet[timm]'")
    sizes = {"img_size": 96, "patch_size": 16, "embed_dim": 32, "depth": 3, "num_heads": 2, "num_classes": 5}
    from timm.models.vision_transformer import VisionTransformer

    assert timm
    return VisionTransformer(**{**sizes, "class_token": False, "global_pool": "avg", **options}).eval()


def ours_of(theirs, **options):
    sizes = {"channels": 32, "depth": 3, "heads": 2, "blocks": [], "relative": False}
    network = small.vit(**{**sizes, "pretrain_size": 96, "pretrain_class_token": False, **options}).eval()
    report = load_into(network, theirs.state_dict(), allow_unused=True)
    return network, report


@pytest.mark.parametrize("init_values", [None, 0.5])
def test_timm_vit_weights_give_timm_outputs(init_values):
    torch.manual_seed(0)
    theirs = timm_vit(init_values=init_values)
    for block in theirs.blocks if init_values else ():
        torch.nn.init.normal_(block.ls1.gamma)
    ours, report = ours_of(theirs)
    pixels = torch.randn(2, 3, 96, 96)
    (expected,) = theirs.forward_intermediates(pixels, indices=[2], norm=False, intermediates_only=True)
    assert (ours(pixels)["last_feat"] - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert report.upgrades == (() if init_values is None else ("layer scales of timm",))
    assert not [key for key in report.unused if key.startswith(("blocks", "patch_embed", "pos_embed"))]


def test_timm_vit_positions_of_another_size_are_resampled():
    torch.manual_seed(0)
    ours, report = ours_of(timm_vit(img_size=128, class_token=True, global_pool="token"))
    assert report.upgrades == ("positions of another size",)
    assert ours.pos_embed.shape == (1, 36, 32)


def test_timm_vit_with_unsupported_parts_is_refused():
    with pytest.raises(WeightsError, match="are of another network than ViT; they have blocks"):
        ours_of(timm_vit(qk_norm=True))


def test_timm_swin_weights_give_timm_outputs():
    pytest.importorskip("timm", reason="needs the extra: pip install 'det-vitdet[timm]'")
    from timm.models.swin_transformer import SwinTransformer

    torch.manual_seed(0)
    sizes = {"img_size": 256, "window_size": 4, "embed_dim": 8, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
    theirs = SwinTransformer(**sizes, num_classes=3).eval()
    ours = small.swin(window_size=4).eval()
    report = load_into(ours, theirs.state_dict(), skip=["norm*"], allow_unused=True)
    assert report.upgrades == ("names of timm",)
    assert [key for key in report.unused if not key.startswith(("head", "norm"))] == []
    pixels = torch.randn(1, 3, 256, 256)
    found = ours(pixels)
    expected = theirs.forward_intermediates(pixels, indices=4, intermediates_only=True)
    for level, theirs_of_level in zip(found, expected, strict=True):
        normed = F.layer_norm(theirs_of_level.permute(0, 2, 3, 1), theirs_of_level.shape[1:2]).permute(0, 3, 1, 2)
        assert (found[level] - normed).abs().max() <= 1e-4
