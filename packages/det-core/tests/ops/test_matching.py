"""Which object a candidate stands for."""

import pytest
import torch
from det_core.errors import ConfigError
from det_core.ops.matching import Match, Matcher, without_crowd
from det_core.structures import Targets

# Two objects, five candidates.
OVERLAPS = torch.tensor([[0.9, 0.5, 0.1, 0.0, 0.3], [0.2, 0.6, 0.1, 0.0, 0.69]])


def test_each_candidate_gets_the_object_that_it_overlaps_most():
    assert Matcher((0.5,), (0, 1))(OVERLAPS).matched_idxs.tolist() == [0, 1, 0, 0, 1]


def test_matcher_labels_ranges_including_lower_end():
    overlaps = torch.tensor([[0.0, 0.29, 0.3, 0.69, 0.7, 1.0]])
    assert Matcher((0.3, 0.7), (0, -1, 1))(overlaps).labels.tolist() == [0, 0, -1, -1, 1, 1]


def test_keep_best_makes_all_tied_best_candidates_foreground():
    overlaps = torch.tensor([[0.2, 0.1, 0.2, 0.0], [0.0, 0.9, 0.1, 0.0]])
    assert Matcher((0.3, 0.7), (0, -1, 1))(overlaps).labels.tolist() == [0, 1, 0, 0]
    assert Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps).labels.tolist() == [1, 1, 1, 0]


def test_keep_best_candidate_keeps_its_matched_index():
    overlaps = torch.tensor([[0.4, 0.1], [0.8, 0.9]])  # candidate 0 is the best of object 0, and closer to object 1
    match = Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps)
    assert match.labels.tolist() == [1, 1]
    assert match.matched_idxs.tolist() == [1, 1]


def test_keep_best_object_without_overlap_matches_all_as_published():
    overlaps = torch.tensor([[0.0, 0.4, 0.1], [0.0, 0.0, 0.0]])
    match = Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps)
    assert match.labels.tolist() == [1, 1, 1]
    assert match.matched_idxs.tolist()[1:] == [0, 0]
    assert Matcher((0.3, 0.7), (0, -1, 1))(overlaps).labels.tolist() == [0, -1, 0]


def test_keep_best_object_with_some_overlap_keeps_others_background():
    overlaps = torch.tensor([[0.0, 0.2, 0.0]])
    assert Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(overlaps).labels.tolist() == [0, 1, 0]


def test_matcher_without_objects_gives_lowest_label():
    match = Matcher((0.3, 0.7), (0, -1, 1), keep_best=True)(torch.zeros(0, 4))
    assert match.labels.tolist() == [0, 0, 0, 0]
    assert match.matched_idxs.tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("objects", [0, 3])
def test_matcher_without_candidates_is_empty(objects):
    match = Matcher((0.5,), (0, 1), keep_best=True)(torch.zeros(objects, 0))
    assert match.labels.shape == match.matched_idxs.shape == (0,)


@pytest.mark.parametrize(
    ("thresholds", "labels", "named"),
    [((0.5,), (0, -1, 1), "iou_labels"), ((0.7, 0.3), (0, -1, 1), "iou_thresholds"), ((0.5,), (0, 2), "iou_labels")],
)
def test_ranges_that_make_no_sense_are_refused(thresholds, labels, named):
    with pytest.raises(ConfigError, match=named):
        Matcher(thresholds, labels)


def test_without_crowd_ignores_candidates_of_crowds_only():
    match = Match(torch.tensor([0, 1, 1, 0]), torch.tensor([1, 1, 0, -1], dtype=torch.int8))
    two = Targets(boxes=torch.rand(2, 4), labels=torch.zeros(2, dtype=torch.int64))
    assert without_crowd(match, two).tolist() == [1, 1, 0, -1]
    crowded = Targets(boxes=two.boxes, labels=two.labels, crowd=torch.tensor([False, True]))
    assert without_crowd(match, crowded).tolist() == [1, -1, 0, -1]
    assert without_crowd(match, crowded[:0]).tolist() == [1, 1, 0, -1]
