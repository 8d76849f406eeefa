"""Features of rotated regions."""

import pytest
import torch
from det_core.ops.roi_rotated import roi_align_rotated
from torchvision.ops import roi_align


def features(seed=0):
    return torch.randn(2, 3, 12, 16, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("ratio", [0, 2])
def test_roi_align_rotated_of_angle_zero_equals_axis_aligned(ratio):
    maps = features()
    flat = torch.tensor([[0.0, 3, 2, 40, 30], [1, -9, -9, 20, 20], [0, 50, 30, 90, 60]])
    turned = torch.cat(
        (flat[:, :1], (flat[:, 1:3] + flat[:, 3:]) / 2, flat[:, 3:] - flat[:, 1:3], torch.zeros(3, 1)), 1
    )
    expected = roi_align(maps, flat, (4, 5), 0.25, ratio, aligned=True)
    torch.testing.assert_close(roi_align_rotated(maps, turned, (4, 5), 0.25, ratio), expected, rtol=1e-4, atol=1e-5)


def test_roi_align_rotated_by_90_degrees_rotates_output():
    maps = features()[:1]
    upright = roi_align_rotated(maps, torch.tensor([[0.0, 8, 6, 8, 4, 0]]), (2, 4), 1.0, 1)
    turned = roi_align_rotated(maps, torch.tensor([[0.0, 8, 6, 4, 8, 90]]), (4, 2), 1.0, 1)
    # Its w runs up the image, so that the first column of the turned region is its last row.
    torch.testing.assert_close(turned, upright.rot90(-1, dims=(2, 3)), rtol=1e-4, atol=1e-5)


def test_no_region_and_an_empty_region():
    maps = features()
    assert roi_align_rotated(maps, torch.zeros(0, 6), (2, 2), 1.0).shape == (0, 3, 2, 2)
    assert not roi_align_rotated(maps, torch.tensor([[0.0, 5, 5, 0, 0, 30]]), (2, 2), 1.0).any()


def test_gradients_reach_the_features():
    maps = features().double().requires_grad_()
    rois = torch.tensor([[0.0, 8, 6, 8, 4, 30], [1, 3, 3, 4, 4, -60]])
    roi_align_rotated(maps, rois, (2, 2), 1.0).sum().backward()
    assert maps.grad.sum().item() == pytest.approx(2 * 3 * 4, rel=1e-4)  # every bin is a mean of what it sees


def test_roi_align_rotated_float64_is_computed_in_float64():
    maps = features().double()
    flat = torch.tensor([[0.0, 3, 2, 40.3, 30.7], [1, 9, 9, 20, 20]], dtype=torch.float64)
    turned = torch.cat(
        (flat[:, :1], (flat[:, 1:3] + flat[:, 3:]) / 2, flat[:, 3:] - flat[:, 1:3], torch.zeros(2, 1)), 1
    )
    found, expected = roi_align_rotated(maps, turned, (4, 5), 0.25), roi_align(maps, flat, (4, 5), 0.25, aligned=True)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-13)
    mixed = roi_align_rotated(maps.float(), turned, (4, 5), 0.25)
    assert mixed.dtype == torch.float32


def test_roi_align_rotated_gradients_are_those_of_finite_differences():
    maps = features()[:1, :, :5, :6].double().requires_grad_()
    rois = torch.tensor([[0.0, 3, 2.5, 4, 3, 30]], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: roi_align_rotated(x, rois, (2, 2), 1.0), (maps,))
