"""Features of regions."""

import pytest
import torch
from det_core.errors import ConfigError
from det_core.models.cpu_acceleration import accelerate
from det_core.ops.roi import ROIPooler, assign_levels


def square(side, x=0.0, y=0.0):
    return [x, y, x + side, y + side]


def test_assign_levels_by_box_size():
    boxes = torch.tensor([square(s) for s in (10, 111, 112, 223, 224, 447, 448, 896, 5000)])
    assert assign_levels(boxes, 2, 5).tolist() == [2, 2, 3, 3, 4, 4, 5, 5, 5]


def test_assign_levels_uses_area_of_long_boxes():
    assert assign_levels(torch.tensor([[0.0, 0.0, 448.0, 112.0]]), 2, 5).tolist() == [4]


def test_assign_levels_of_empty_box_is_finest():
    assert assign_levels(torch.tensor([[5.0, 5.0, 5.0, 9.0]]), 2, 5).tolist() == [2]


def test_pooling_of_ramp_reads_bin_centres():
    ramp = (torch.arange(16.0) + 0.5).expand(1, 1, 16, 16)  # the value is x / 4, in pixels of the image, at stride 4
    pooled = ROIPooler([4], 2)([ramp], [torch.tensor([[8.0, 8.0, 40.0, 40.0]])])
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor([4.0, 8.0]))


def test_first_roi_align_is_half_a_pixel_off():
    ramp = (torch.arange(16.0) + 0.5).expand(1, 1, 16, 16)
    pooled = ROIPooler([4], 2, "ROIAlign")([ramp], [torch.tensor([[8.0, 8.0, 40.0, 40.0]])])
    torch.testing.assert_close(pooled[0, 0, 0], torch.tensor([4.5, 8.5]))


def test_regions_are_pooled_from_their_level_and_image():
    # Every level of every image holds one constant: 10 * image + level.
    features = [
        torch.stack([torch.full((1, s, s), 10.0 * image + level) for image in (0, 1)])
        for level, s in ((2, 256), (3, 128), (4, 64), (5, 32))
    ]
    boxes = [
        torch.tensor([square(500), square(50, 100), square(300), square(130)]),
        torch.tensor([square(60), square(600)]),
    ]
    pooled = ROIPooler([4, 8, 16, 32], 3)(features, boxes)
    assert pooled.shape == (6, 1, 3, 3)
    torch.testing.assert_close(pooled.amax((1, 2, 3)), torch.tensor([5.0, 2.0, 4.0, 3.0, 12.0, 15.0]))


@pytest.mark.parametrize("strides", [[8], [4, 8]])
def test_no_regions_give_no_features_and_gradients_of_zero(strides):
    features = [torch.ones(2, 3, 64 // s, 64 // s, requires_grad=True) for s in strides]
    pooled = ROIPooler(strides, 7)(features, [torch.zeros(0, 4), torch.zeros(0, 4)])
    assert pooled.shape == (0, 3, 7, 7)
    pooled.sum().backward()
    assert all(level.grad is not None and not level.grad.any() for level in features)


def test_boxes_keep_their_precision_when_features_are_in_half():
    ramp = (torch.arange(512) % 8.0).expand(1, 1, 4, 512)
    boxes = [torch.tensor([[1001.5, 0.0, 1009.5, 8.0]])]  # in bfloat16 it would start at 1000
    exact, half = (ROIPooler([4], 2)([ramp.to(dtype)], boxes) for dtype in (torch.float32, torch.bfloat16))
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), exact, atol=0.02, rtol=0)


def test_pooled_features_on_cpu_are_channels_last():
    features = [torch.rand(1, 3, 64 // s, 64 // s) for s in (4, 8, 16)]
    pooled = accelerate(ROIPooler([4, 8, 16], 7))(
        features, [torch.tensor([square(5), square(50), square(2)]).repeat(9, 1)]
    )
    assert pooled.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("strides", [[], [4, 16], [8, 4], [6, 12]])
def test_strides_that_do_not_double_are_refused(strides):
    with pytest.raises(ConfigError, match="powers of two"):
        ROIPooler(strides, 7)
