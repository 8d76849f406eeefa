"""Rotated boxes."""

import math

import pytest
import torch
from det_core.ops import boxes as box_ops
from det_core.ops import rotated
from hypothesis import given
from hypothesis import strategies as st

SQUARE = torch.tensor([[0.0, 0.0, 2.0, 2.0, 0.0]])
WEIGHTS = (10.0, 10.0, 5.0, 5.0, 1.0)
angle = st.floats(-720, 720, width=32)


def boxes(count=30, seed=0):
    random = torch.Generator().manual_seed(seed)
    scale = torch.tensor([60.0, 60.0, 30.0, 30.0, 360.0])
    return torch.rand(count, 5, generator=random) * scale + torch.tensor([0.0, 0.0, 2.0, 2.0, -180.0])


def test_angles_are_counter_clockwise_in_displayed_image():
    # A long box turned by 30 degrees reaches up (y falls) on its right side.
    right = rotated.corners(torch.tensor([0.0, 0.0, 4.0, 0.0, 30.0]))[1]
    torch.testing.assert_close(right, torch.tensor([2 * math.cos(math.pi / 6), -2 * math.sin(math.pi / 6)]))


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ([0, 0, 2, 2, 0], 1.0),
        ([0, 0, 2, 2, 90], 1.0),
        ([1, 0, 2, 2, 0], 1 / 3),
        ([2, 0, 2, 2, 0], 0.0),  # they only touch
        ([0, 0, 8, 8, 30], 4 / 64),  # within the other
        ([0, 1, 4, 1, 0], 1 / 7),  # one edge in common
        ([0, 0, 2, 2, 45], 1 / math.sqrt(2)),  # a regular octagon
        ([0, 0, 2, 0, 0], 0.0),
        ([9, 9, 2, 2, 45], 0.0),
    ],
)
def test_overlaps_worked_out_by_hand(other, expected):
    other = torch.tensor([other], dtype=torch.float32)
    assert rotated.iou(SQUARE, other).item() == pytest.approx(expected, abs=1e-6)
    assert rotated.iou(other, SQUARE).item() == pytest.approx(expected, abs=1e-6)


@given(angle)
def test_two_boxes_turned_together_overlap_as_before(turn):
    radians = math.radians(turn)
    a = torch.tensor([[0.0, 0.0, 4.0, 2.0, turn]])
    b = torch.tensor([[math.cos(radians), -math.sin(radians), 4.0, 2.0, turn]])  # 1 along w
    assert rotated.iou(a, b).item() == pytest.approx(3 / 5, abs=2e-4)


def test_boxes_without_angle_overlap_as_axis_aligned_ones():
    level = boxes()
    level[:, 4] = 0
    plain = torch.cat((level[:, :2] - level[:, 2:4] / 2, level[:, :2] + level[:, 2:4] / 2), dim=1)
    torch.testing.assert_close(rotated.iou(level, level), box_ops.iou(plain, plain), rtol=1e-4, atol=1e-5)


def test_overlap_does_not_depend_on_order_place_or_chunks(monkeypatch):
    a, b = boxes(), boxes(20, seed=1)
    found = rotated.iou(a, b)
    assert ((found >= 0) & (found <= 1)).all()
    torch.testing.assert_close(found.T, rotated.iou(b, a), rtol=1e-4, atol=1e-6)
    far = torch.tensor([1024.0, 2048.0, 0.0, 0.0, 0.0])
    torch.testing.assert_close(found, rotated.iou(a + far, b + far), rtol=1e-3, atol=1e-4)
    monkeypatch.setattr(rotated, "_CHUNK", 7)
    torch.testing.assert_close(found, rotated.iou(a, b))
    assert rotated.iou(a[:0], b).shape == (0, 20)


def test_nms_keeps_best_overlapping_box_of_each_group():
    three = torch.cat((SQUARE, SQUARE + 0.1, SQUARE + torch.tensor([9.0, 0, 0, 0, 0])))
    scores, groups = torch.tensor([0.5, 0.9, 0.1]), torch.tensor([0, 0, 0])
    assert rotated.nms_by_group(three, scores, groups, 0.5).tolist() == [1, 2]
    assert rotated.nms_by_group(three, scores, torch.tensor([0, 1, 0]), 0.5).tolist() == [1, 0, 2]
    assert rotated.nms_by_group(three[:0], scores[:0], groups[:0], 0.5).tolist() == []


def test_iou_bound_is_at_least_iou():
    a, b = boxes(200), boxes(200, seed=1)
    a[:20, 2:4] = 1e-3
    b[:50, :2], b[:50, 4] = a[:50, :2], a[:50, 4] + 90  # crosses
    assert (rotated._bound(a[:, None], b) >= rotated.iou(a, b) - 1e-3).all()
    assert rotated._bound(SQUARE, SQUARE).item() == pytest.approx(1)
    # 45 degrees: the octagon that they share lies within a square of theirs.
    assert rotated._bound(SQUARE, SQUARE + torch.tensor([0, 0, 0, 0, 45.0])).item() == pytest.approx(1)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7])
def test_nms_equals_brute_force(monkeypatch, threshold):
    many = boxes(120)
    scores = torch.rand(120, generator=torch.Generator().manual_seed(2))
    groups = torch.arange(120) % 2
    overlaps = rotated.iou(many, many)
    kept = []
    for i in scores.argsort(descending=True).tolist():
        if all(overlaps[i, j] <= threshold or groups[i] != groups[j] for j in kept):
            kept.append(i)
    assert rotated.nms_by_group(many, scores, groups, threshold).tolist() == kept
    monkeypatch.setattr(rotated, "_ROWS", 150)  # two rows at once
    assert rotated.nms_by_group(many, scores, groups, threshold).tolist() == kept


def test_nms_dropped_box_suppresses_no_other():
    row = torch.tensor([[0.0, 0, 10, 2, 0], [4.0, 0, 10, 2, 0], [8.0, 0, 10, 2, 0]])  # each meets its neighbour alone
    assert rotated.nms_by_group(row, torch.tensor([0.9, 0.8, 0.7]), torch.zeros(3), 0.3).tolist() == [0, 2]


def test_decode_inverts_encode():
    reference, box = torch.tensor([0.0, 0.0, 10.0, 20.0, 170.0]), torch.tensor([1.0, 2.0, 10.0, 20.0, -170.0])
    offsets = rotated.encode(box, reference, WEIGHTS)
    torch.testing.assert_close(offsets, torch.tensor([1.0, 1.0, 0.0, 0.0, math.radians(20)]))
    torch.testing.assert_close(rotated.decode(offsets, reference, WEIGHTS), box)
    a, b = boxes(), boxes(seed=1)
    torch.testing.assert_close(rotated.decode(rotated.encode(a, b, WEIGHTS), b, WEIGHTS), a, rtol=1e-4, atol=1e-3)


def test_wild_offsets_decode_to_finite_boxes():
    assert rotated.decode(torch.full((1, 5), 1e4), SQUARE, WEIGHTS).isfinite().all()


def test_clip_changes_level_boxes_only():
    given = torch.tensor([[0.0, 5.0, 4.0, 4.0, 0.5], [0.0, 5.0, 4.0, 4.0, 361.0], [0.0, 5.0, 4.0, 4.0, 30.0]])
    found = rotated.clip(given, (10, 20))
    assert found.tolist() == [[1.0, 5.0, 2.0, 4.0, 0.5], [1.0, 5.0, 2.0, 4.0, 1.0], [0.0, 5.0, 4.0, 4.0, 30.0]]
    assert rotated.larger_than(found, 2.0).tolist() == [False, False, True]


def test_angles_come_out_in_one_turn():
    assert rotated.normalize_angle(torch.tensor([180.0, -180.0, 540.0, 30.0, -190.0])).tolist() == [
        -180,
        -180,
        -180,
        30,
        170,
    ]
