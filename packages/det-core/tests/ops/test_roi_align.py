"""ROIAlign as sums of pixels: the same as torchvision's loop."""

import pytest
import torch
import torchvision
from det_core.ops.cpu import roi_align as module
from det_core.ops.cpu.roi_align import roi_align

INF = float("inf")


def maps(batch=2, channels=5, height=12, width=17):
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(0))


def regions(count=150):
    """Rows of image, x1, y1, x2, y2 at stride 4: of all sizes, some beyond the maps of 48 x 68 pixels, in no order."""
    random = torch.Generator().manual_seed(1)
    corner = torch.rand(count, 2, generator=random) * torch.tensor([80.0, 60.0]) - 8
    size = torch.exp(torch.rand(count, 2, generator=random) * 5)
    return torch.cat((torch.randint(2, (count, 1), generator=random), corner, corner + size), dim=1)


ODD = torch.tensor([
    [0, 10.0, 10, 10, 10],  # no extent
    [1, 30, 20, 10, 10],  # turned inside out
    [0, 900, 900, 950, 950],  # outside
    [1, -60, -60, 120, 110],  # larger than the image
    [1, 66, 46, 68, 48],  # the last pixel
    [0, -4, -4, 0, 0],  # as far out as is still read
])  # fmt: skip


@pytest.fixture
def summed(monkeypatch):
    """Torchvision's loop is not there."""
    monkeypatch.setattr(torchvision.ops, "roi_align", None)


@pytest.fixture
def looped(monkeypatch):
    """There are no sums of pixels."""
    monkeypatch.setattr(module._Bins, "sums", None)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("resolution", [1, 7, 14])
def test_roi_align_equals_torchvision(resolution, ratio, aligned, layout, monkeypatch):
    rois, features = torch.cat((regions(), *[ODD] * 20)), maps().to(memory_format=layout)
    expected = torchvision.ops.roi_align(features, rois, resolution, 0.25, ratio, aligned)
    monkeypatch.setattr(torchvision.ops, "roi_align", None)  # were it called now, the test would fail
    found = roi_align(features, rois, resolution, 0.25, ratio, aligned)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("ratio", [0, 2])
def test_and_so_are_their_gradients(ratio):
    features, rois = maps().double(), regions().double()
    given = torch.randn(150, 5, 7, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    gradients = []
    for pool in (roi_align, torchvision.ops.roi_align):
        leaf = features.clone().requires_grad_()
        (pool(leaf, rois, 7, 0.25, ratio, True) * given).sum().backward()
        gradients.append(leaf.grad)
    torch.testing.assert_close(*gradients)


def test_many_regions_are_read_in_several_goes(monkeypatch):
    features, rois = maps(), regions()
    at_once = roi_align(features, rois, 7, 0.25)
    monkeypatch.setattr(module, "_READ", 5000)
    assert torch.equal(roi_align(features, rois, 7, 0.25), at_once)


@pytest.mark.usefixtures("looped")
def test_roi_align_of_few_regions_uses_torchvision():
    features, rois = maps(1, 3, 200, 200), torch.tensor([[0, 8.0, 8, 40, 40]])
    expected = torchvision.ops.roi_align(features, rois, 7, 0.25, 0, True)
    assert torch.equal(roi_align(features, rois, 7, 0.25), expected)


@pytest.mark.usefixtures("looped")
def test_roi_align_of_huge_region_uses_torchvision():
    features, rois = maps(), torch.cat((regions(), torch.tensor([[0.0, 0, 0, 1e4, 10]])))
    expected = torchvision.ops.roi_align(features, rois, 7, 0.25, 0, True)
    assert torch.equal(roi_align(features, rois, 7, 0.25), expected)


@pytest.mark.usefixtures("summed")
def test_roi_align_regions_are_independent():
    features, rois = maps(), regions()
    order = torch.randperm(len(rois), generator=torch.Generator().manual_seed(3))
    together = roi_align(features, rois, 7, 0.25)
    assert torch.equal(roi_align(features, rois[order], 7, 0.25), together[order])


@pytest.mark.usefixtures("summed")
@pytest.mark.parametrize("bad", [float("nan"), INF, -INF])
def test_roi_align_of_nan_region_leaves_others_unchanged(bad):
    features, rois = maps(), regions()
    good = roi_align(features, rois, 7, 0.25, 2)
    rois[3, 2] = bad
    found = roi_align(features, rois, 7, 0.25, 2)
    assert torch.equal(torch.cat((found[:3], found[4:])), torch.cat((good[:3], good[4:])))
