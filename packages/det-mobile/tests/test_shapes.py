"""Operations of fixed shapes give what torchvision's give."""

import pytest
import torch
import torchvision
from det_core.ops.roi import assign_levels
from det_mobile.device.shapes import level_of_boxes, roi_align_products, suppression_rounds
from hypothesis import given, settings
from hypothesis import strategies as st


def some_boxes(count, side, seed):
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(count, 4, generator=generator) * 1.4 * side - 0.2 * side
    return torch.cat([torch.minimum(corners[:, :2], corners[:, 2:]), torch.maximum(corners[:, :2], corners[:, 2:])], 1)


@pytest.mark.parametrize(("resolution", "ratio", "scale"), [(6, 2, 1 / 16), (7, 1, 1 / 8), (3, 4, 0.25)])
def test_roi_align_of_boxes_within_and_beyond_the_map(resolution, ratio, scale):
    features = torch.randn(5, 11, 14, generator=torch.Generator().manual_seed(0))
    boxes = some_boxes(40, 12 / scale, seed=1)
    boxes = torch.cat([boxes, torch.tensor([[3.0, 3.0, 3.0, 3.0], [-900.0, -900.0, -800.0, -800.0]])])
    rois = torch.cat([torch.zeros(len(boxes), 1), boxes], 1)
    wanted = torchvision.ops.roi_align(features[None], rois, resolution, scale, ratio, aligned=True)
    found = roi_align_products(features, boxes, resolution, scale, ratio)
    assert float((found - wanted).abs().max()) < 2e-5


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 60), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.5, 0.7, 1.0]))
def test_suppression_equals_that_of_torchvision(count, seed, threshold):
    boxes = some_boxes(count, 50, seed).clamp(min=0.0)  # torchvision shifts groups apart by the largest coordinate
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(count, generator=generator)
    groups = torch.randint(0, 3, (count,), generator=generator)
    wanted = torchvision.ops.batched_nms(boxes, scores, groups, threshold)
    found = suppression_rounds(boxes, scores, groups, threshold, 20)
    assert found[found < count].tolist() == wanted[:20].tolist()
    assert (found[len(wanted) :] == count).all()


def test_levels_are_those_of_the_pooler():
    boxes = some_boxes(200, 900, seed=3)
    assert torch.equal(level_of_boxes(boxes, (8, 16, 32)), (assign_levels(boxes, 3, 5) - 3).float())
