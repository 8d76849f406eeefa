"""Boxes in continuous pixels."""

import torch
from det_core.ops import boxes as box_ops
from hypothesis import given
from hypothesis import strategies as st

coordinate = st.floats(-50, 50, width=32).map(lambda value: round(value, 2))
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda b: (min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3]))
)
some_boxes = st.lists(box, max_size=5).map(lambda rows: torch.tensor(rows).reshape(-1, 4))


def test_area_of_unit_box_is_one_pixel():
    assert box_ops.area(torch.tensor([[0.0, 0.0, 1.0, 1.0], [2.0, 3.0, 5.0, 7.0]])).tolist() == [1.0, 12.0]


def test_iou_of_squares_sharing_a_quarter_is_one_seventh():
    a, b = torch.tensor([[0.0, 0.0, 2.0, 2.0]]), torch.tensor([[1.0, 1.0, 3.0, 3.0], [0.0, 0.0, 2.0, 1.0]])
    torch.testing.assert_close(box_ops.iou(a, b), torch.tensor([[1 / 7, 0.5]]))


def test_iou_of_touching_or_empty_boxes_is_zero():
    a = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    b = torch.tensor([[1.0, 0.0, 2.0, 1.0], [0.5, 0.5, 0.5, 0.5]])
    assert box_ops.iou(a, b).tolist() == [[0.0, 0.0], [0.0, 0.0]]


@given(some_boxes, some_boxes)
def test_overlap_is_symmetric_and_within_0_and_1(a, b):
    overlap = box_ops.iou(a, b)
    assert overlap.shape == (len(a), len(b))
    torch.testing.assert_close(overlap, box_ops.iou(b, a).T)
    assert ((overlap >= 0) & (overlap <= 1 + 1e-6)).all()


def test_clip_moves_outside_box_onto_border():
    boxes = torch.tensor([[-5.0, -5.0, 30.0, 30.0], [12.0, 9.0, 20.0, 9.5]])
    assert box_ops.clip(boxes, (8, 10)).tolist() == [[0.0, 0.0, 10.0, 8.0], [10.0, 8.0, 10.0, 8.0]]


@given(some_boxes)
def test_clip_is_idempotent(boxes):
    once = box_ops.clip(boxes, (20, 30))
    assert torch.equal(box_ops.clip(once, (20, 30)), once)


def test_both_sides_must_be_longer_than_the_limit_itself():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.5, 1.5], [0.0, 0.0, 9.0, 1.0]])
    assert box_ops.larger_than(boxes, 1.0).tolist() == [False, True, False]


def test_within_accepts_boxes_up_to_margin():
    boxes = torch.tensor([[0.0, 0.0, 9.9, 7.9], [-2.0, 0.0, 5.0, 5.0], [0.0, 0.0, 12.0, 5.0]])
    assert box_ops.within(boxes, (8, 10), 0).tolist() == [True, False, False]
    assert box_ops.within(boxes, (8, 10), 2).tolist() == [True, True, False]
    assert box_ops.within(boxes, (8, 10), 3).tolist() == [True, True, True]


def test_finite_rejects_rows_with_nan_or_infinity():
    boxes = torch.zeros(4, 2, 4)
    boxes[1, 1, 3] = float("nan")
    scores = torch.tensor([0.0, 0.0, float("inf"), 0.0])
    assert box_ops.finite(boxes, scores).tolist() == [True, False, False, True]
