"""Which object each window is for."""

import torch
from det_tensormask.assignment import assign


def windows(*middles, side=44.0):
    return torch.tensor([[x - side / 2, y - side / 2, x + side / 2, y + side / 2] for x, y in middles])


def assigned(boxes, anchors, unit=4.0):
    return assign(torch.tensor(boxes).reshape(-1, 4), anchors, torch.full((len(anchors),), unit), 40.0).tolist()


def test_window_matches_object_with_centre_within_one_unit():
    anchors = windows((50, 50), (54, 50), (55, 50), (53, 53))
    assert assigned([[40.0, 40.0, 60.0, 60.0]], anchors) == [0, 0, -1, -1]  # 4, 5 and 4.2 pixels away


def test_window_must_contain_whole_box():
    assert assigned([[28.0, 28.0, 72.0, 72.0]], windows((50, 50), (51, 50))) == [0, -1]


def test_window_is_at_most_twice_box_length_except_smallest():
    large, small = windows((50, 50), side=60), windows((50, 50))
    assert assigned([[36.0, 36.0, 64.0, 64.0]], large) == [0]  # 28 pixels: at most 56, and the window counts as 56
    assert assigned([[36.5, 36.5, 63.5, 63.5]], large) == [-1]
    assert assigned([[49.0, 49.0, 51.0, 51.0]], small) == [0]
    assert assigned([[49.0, 49.0, 51.0, 51.0]], large) == [-1]


def test_window_of_two_objects_matches_none():
    box = [40.0, 40.0, 60.0, 60.0]
    assert assigned([box, [41.0, 40.0, 61.0, 60.0]], windows((50, 50), (46, 50))) == [-1, 0]


def test_assign_without_objects_or_windows_is_empty():
    assert assigned([], windows((50, 50))) == [-1]
    assert assigned([[40.0, 40.0, 60.0, 60.0]], torch.zeros(0, 4)) == []


def test_assign_is_independent_of_object_order():
    boxes, anchors = [[40.0, 40.0, 60.0, 60.0], [80.0, 80.0, 110.0, 100.0]], windows((50, 50), (95, 90), (0, 0))
    assert assigned(boxes, anchors) == [0, 1, -1]
    assert assigned(boxes[::-1], anchors) == [1, 0, -1]
