"""Networks of timm as backbones."""

import sys

import pytest
import torch
from det_core.errors import ConfigError, MissingExtraError
from det_vitdet.timm_backbone import TimmBackbone

NETWORKS = {
    "resnet10t": ["c1", "c2", "c3", "c4", "c5"],
    "convnext_atto": ["c2", "c3", "c4", "c5"],
    "swin_tiny_patch4_window7_224": ["c2", "c3", "c4", "c5"],
    "vit_tiny_patch16_224": ["c4"],
}


@pytest.fixture
def timm():
    return pytest.importorskip("timm", reason="needs the extra: pip install 'det-vitdet[timm]'")


@pytest.mark.parametrize("name", NETWORKS)
def test_timm_maps_have_declared_shapes_at_other_sizes(timm, name):
    network = TimmBackbone(name).eval()
    assert list(network.channels) == NETWORKS[name]
    with torch.no_grad():
        features = network(torch.randn(1, 3, 96, 160))
    assert {level: tuple(found.shape) for level, found in features.items()} == {
        level: (1, network.channels[level], 96 // stride, 160 // stride) for level, stride in network.strides.items()
    }


def test_timm_backbone_equals_timm_features(timm):
    network = TimmBackbone("convnext_atto", strides=[8, 32]).eval()
    pixels = torch.randn(1, 3, 64, 64)
    maps = network.network(pixels)
    found = network(pixels)
    assert list(found) == ["c3", "c5"]
    assert torch.equal(found["c3"], maps[1])
    assert torch.equal(found["c5"], maps[3])


def test_batch_norms_can_be_made_constants(timm):
    network = TimmBackbone("resnet10t", norm="FrozenBN")
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in network.modules())


def test_it_is_built_without_memory_too(timm):
    with torch.device("meta"):
        network = TimmBackbone("resnet10t")
    assert all(parameter.is_meta for parameter in network.parameters())


def test_unknown_timm_network_is_refused(timm):
    with pytest.raises(ConfigError, match="timm has no network 'resnet10x'; there is resnet"):
        TimmBackbone("resnet10x")
    with pytest.raises(ConfigError, match=r"has feature maps of stride 4, 8, 16, 32, not \[2\]"):
        TimmBackbone("convnext_atto", strides=[2])
    with pytest.raises(ConfigError, match="norm: must be FrozenBN or null"):
        TimmBackbone("convnext_atto", norm="BN")


def test_without_timm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'det-vitdet\[timm\]'"):
        TimmBackbone("resnet18")
