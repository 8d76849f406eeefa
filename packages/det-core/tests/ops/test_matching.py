"""Which object a candidate stands for."""

import pytest
import torch
from det_core.errors import ConfigError
from det_core.ops.matching import Match, Matcher, without_crowd
from det_core.structures import Targets

# Two objects, five candidates.
OVERLAPS = torch.tensor([[0.9, 0.5, 0.1, 0.0, 0.3], [0.2, 0.6, 0.1, 0.0, 0.69]])


def test_each_candidate_gets_the_object_that_it_overlaps_most():
    assert Matcher((0.5,), (0, 1))(OVERLAPS).partner.tolist() == [0, 1, 0, 0, 1]


def test_overlaps_in_a_range_get_its_label_and_the_lower_end_belongs_to_it():
    overlaps = torch.tensor([[0.0, 0.29, 0.3, 0.69, 0.7, 1.0]])
    assert Matcher((0.3, 0.7), (0, -1, 1))(overlaps).labels.tolist() == [0, 0, -1, -1, 1, 1]


def test_an_objects_best_candidates_are_kept_however_poor_and_all_of_them_at_a_tie():
    overlaps = torch.tensor([[0.2, 0.1, 0.2, 0.0], [0.0, 0.9, 0.1, 0.0]])
    assert Matcher((0.3, 0.7), (0, -1, 1))(overlaps).labels.tolist() == [0, 1, 0, 0]
    assert Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps).labels.tolist() == [1, 1, 1, 0]


def test_a_candidate_kept_for_one_object_still_stands_for_the_one_it_overlaps_most():
    overlaps = torch.tensor([[0.4, 0.1], [0.8, 0.9]])  # candidate 0 is the best of object 0, and closer to object 1
    match = Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps)
    assert match.labels.tolist() == [1, 1]
    assert match.partner.tolist() == [1, 1]


def test_an_object_that_nothing_touches_ties_with_all_candidates_which_become_foreground_as_published():
    overlaps = torch.tensor([[0.0, 0.4, 0.1], [0.0, 0.0, 0.0]])
    match = Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps)
    assert match.labels.tolist() == [1, 1, 1]
    assert match.partner.tolist()[1:] == [0, 0]
    assert Matcher((0.3, 0.7), (0, -1, 1))(overlaps).labels.tolist() == [0, -1, 0]


def test_an_object_that_only_some_candidates_miss_leaves_those_alone():
    overlaps = torch.tensor([[0.0, 0.2, 0.0]])
    assert Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps).labels.tolist() == [0, 1, 0]


def test_without_objects_everything_is_in_the_lowest_range():
    match = Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(torch.zeros(0, 4))
    assert match.labels.tolist() == [0, 0, 0, 0]
    assert match.partner.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("objects", [0, 3])
def test_without_candidates_there_is_nothing_to_label(objects):
    match = Matcher((0.5,), (0, 1), keep_best=True)(torch.zeros(objects, 0))
    assert match.labels.shape == match.partner.shape == (0,)


@pytest.mark.parametrize(
    ("thresholds", "labels", "named"),
    [((0.5,), (0, -1, 1), "iou_labels"), ((0.7, 0.3), (0, -1, 1), "iou_thresholds"), ((0.5,), (0, 2), "iou_labels")],
)
def test_ranges_that_make_no_sense_are_refused(thresholds, labels, named):
    with pytest.raises(ConfigError, match=named):
        Matcher(thresholds, labels)


def test_candidates_for_crowd_objects_are_left_out_and_all_others_stay_as_they_are():
    match = Match(torch.tensor([0, 1, 1, 0]), torch.tensor([1, 1, 0, -1], dtype=torch.int8))
    two = Targets(boxes=torch.rand(2, 4), labels=torch.zeros(2, dtype=torch.int64))
    assert without_crowd(match, two).tolist() == [1, 1, 0, -1]
    crowded = Targets(boxes=two.boxes, labels=two.labels, crowd=torch.tensor([False, True]))
    assert without_crowd(match, crowded).tolist() == [1, -1, 0, -1]
    assert without_crowd(match, crowded[:0]).tolist() == [1, 1, 0, -1]
