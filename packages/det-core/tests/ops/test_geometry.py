"""Upright and rotated boxes under the same names."""

import pytest
import torch
from det_core.errors import ConfigError, StructureError
from det_core.ops.geometry import ROTATED, UPRIGHT, geometry
from hypothesis import given
from hypothesis import strategies as st

corner, side = st.integers(-20, 60), st.integers(1, 40)
A_BOX = st.tuples(corner, corner, side, side)
BOXES = st.lists(A_BOX, min_size=1, max_size=4)


def both(rows):
    """Boxes (x0, y0, w, h) in either form."""
    x, y, w, h = torch.tensor(rows, dtype=torch.float32).T
    return torch.stack((x, y, x + w, y + h), 1), torch.stack((x + w / 2, y + h / 2, w, h, torch.zeros(len(x))), 1)


def upright(boxes):
    """Rotated boxes at no angle as corners."""
    return torch.cat((boxes[..., :2] - boxes[..., 2:4] / 2, boxes[..., :2] + boxes[..., 2:4] / 2), dim=-1)


@given(BOXES, BOXES)
def test_rotated_box_of_angle_zero_equals_upright_box(rows, others):
    (a, turned_a), (b, turned_b) = both(rows), both(others)
    torch.testing.assert_close(ROTATED.area(turned_a), UPRIGHT.area(a))
    torch.testing.assert_close(ROTATED.iou(turned_a, turned_b), UPRIGHT.iou(a, b), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(upright(ROTATED.clip(turned_a, (30, 40))), UPRIGHT.clip(a, (30, 40)))
    for margin in (0.5, 10.5):
        assert torch.equal(ROTATED.within(turned_a, (30, 40), margin), UPRIGHT.within(a, (30, 40), margin))
        assert torch.equal(ROTATED.larger_than(turned_a, margin), UPRIGHT.larger_than(a, margin))
    weights = (10.0, 10.0, 5.0, 5.0)
    offsets = ROTATED.encode(turned_a[:1], turned_b[:1], (*weights, 1.0))
    torch.testing.assert_close(offsets[:, :4], UPRIGHT.encode(a[:1], b[:1], weights))
    assert offsets[0, 4] == 0


def test_rotated_box_extends_beyond_its_sides():
    square = torch.tensor([[5.0, 5.0, 8.0, 8.0, 0.0], [5.0, 5.0, 8.0, 8.0, 45.0], [5.0, 5.0, 8.0, 8.0, 90.0]])
    # Half a diagonal is 5.66 pixels: 0.66 more than there are.
    assert ROTATED.within(square, (10, 10), 0.0).tolist() == [True, False, True]
    assert ROTATED.within(square, (10, 10), 0.7).tolist() == [True, True, True]
    assert ROTATED.area(square).tolist() == [64, 64, 64]


def test_geometry_is_selected_by_box_dimension():
    assert (geometry(4), geometry(5)) == (UPRIGHT, ROTATED)
    with pytest.raises(ConfigError, match=r"RPN\.box_weights: must be 4 numbers, or 5"):
        geometry(3, "RPN.box_weights")


def test_boxes_of_the_other_form_are_refused():
    ROTATED.require(torch.zeros(0, 5), "Targets.boxes")
    with pytest.raises(
        StructureError, match=r"Targets.boxes: must be boxes of shape \(N, 5\).*\(2, 4\).*rotated: true"
    ):
        ROTATED.require(torch.zeros(2, 4), "Targets.boxes")
