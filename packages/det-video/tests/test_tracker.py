from collections.abc import Sequence

import films
import numpy as np
import pytest
import torch
from det_core.errors import ConfigError
from det_core.structures import Detections
from det_video.tracking import EMBEDDING, TRACK_ID, Association, ByteTracker, track_ids
from det_video.tracking.assignment import assign, iou_matrix


def detections(
    boxes: Sequence[Sequence[float]], scores: Sequence[float] | float = 0.9, labels: Sequence[int] | int = 0
) -> Detections:
    tensor = torch.tensor(np.array(boxes), dtype=torch.float32).reshape(-1, 4)
    return Detections(
        boxes=tensor,
        scores=torch.full((len(tensor),), scores) if isinstance(scores, float) else torch.tensor(scores),
        labels=torch.full((len(tensor),), labels) if isinstance(labels, int) else torch.tensor(labels),
        size=films.SIZE,
    )


def box(x: float, y: float = 10, side: float = 20) -> list[float]:
    return [x, y, x + side, y + side]


def test_discs_keep_their_numbers_for_a_whole_film():
    tracker = ByteTracker()
    order = np.random.default_rng(0)
    for index in range(200):
        boxes = films.boxes_at(index)
        shuffled = order.permutation(len(boxes))
        tracked = tracker.update(detections(boxes[shuffled]))
        expected = (shuffled + 1).tolist()
        if index == 0:
            number = dict(zip(expected, track_ids(tracked).tolist(), strict=True))
        assert track_ids(tracked).tolist() == [number[each] for each in expected]


def test_lost_object_moves_on_and_gets_its_number_back():
    tracker = ByteTracker()
    for x in range(0, 60, 4):
        tracker.update(detections([box(x)]))
    for _ in range(5):
        assert len(tracker.update(detections([]))) == 0
    # Six steps of 4 pixels later it does not overlap its last box enough, but its predicted one.
    assert track_ids(tracker.update(detections([box(56 + 24)]))).tolist() == [1]


def test_object_lost_for_long_gets_a_new_number():
    tracker = ByteTracker(lost=3)
    tracker.update(detections([box(0)]))
    for _ in range(5):
        tracker.update(detections([]))
    tracker.update(detections([box(0)]))
    assert track_ids(tracker.update(detections([box(0)]))).tolist() == [2]


def test_low_scores_continue_tracks_but_begin_none():
    tracker = ByteTracker()
    tracker.update(detections([box(0)]))
    tracked = tracker.update(detections([box(1), box(100)], [0.2, 0.2]))
    assert track_ids(tracked).tolist() == [1]
    assert len(tracker.update(detections([box(1)], 0.05))) == 0


def test_new_track_is_confirmed_by_its_second_frame():
    tracker = ByteTracker()
    tracker.update(detections([box(0)]))
    assert track_ids(tracker.update(detections([box(0), box(100)]))).tolist() == [1]
    assert track_ids(tracker.update(detections([box(0), box(100)]))).tolist() == [1, 2]


def test_classes_change_only_with_by_class_false():
    for by_class, expected in ((True, []), (False, [1])):
        tracker = ByteTracker(association=Association(by_class=by_class))
        tracker.update(detections([box(0)], labels=0))
        assert track_ids(tracker.update(detections([box(0)], labels=1))).tolist() == expected


def test_embeddings_decide_between_overlapping_objects():
    """Two boxes at one place: overlap cannot decide, appearance does."""

    def frame(boxes: list[list[float]], vectors: list[list[float]]) -> Detections:
        plain = detections(boxes)
        return Detections(**{**plain.__dict__, "extras": {EMBEDDING: torch.tensor(vectors)}})

    tracker = ByteTracker()
    tracker.update(frame([box(0), box(8)], [[1.0, 0.0], [0.0, 1.0]]))
    tracked = tracker.update(frame([box(1), box(7)], [[0.0, 1.0], [1.0, 0.0]]))
    assert track_ids(tracked).tolist() == [2, 1]


def test_other_rows_of_detections_follow():
    tracker = ByteTracker()
    plain = detections([box(0), box(50), box(100)], [0.9, 0.02, 0.8])
    full = Detections(
        **{**plain.__dict__, "keypoints": torch.arange(9.0).reshape(3, 1, 3), "masks": torch.rand(3, 4, 4)}
    )
    tracked = tracker.update(full)
    assert tracked.keypoints.tolist() == full.keypoints[[0, 2]].tolist()
    assert torch.equal(tracked.masks, full.masks[[0, 2]])
    assert tracked.extras[TRACK_ID].dtype == torch.int64


def test_rotated_boxes_are_tracked():
    tracker = ByteTracker()
    for x in range(5):
        boxes = torch.tensor([[40.0 + x, 40.0, 30.0, 10.0, 30.0]])
        tracked = tracker.update(
            Detections(boxes=boxes, labels=torch.tensor([0]), scores=torch.tensor([0.9]), size=(90, 90))
        )
        assert track_ids(tracked).tolist() == [1]
        assert tracked.boxes.shape == (1, 5)


def test_another_image_size_begins_tracks_again():
    tracker = ByteTracker()
    tracker.update(detections([box(0)]))
    larger = Detections(**{**detections([box(0)]).__dict__, "size": (240, 320)})
    assert track_ids(tracker.update(larger)).tolist() == [2]


def test_longer_steps_move_objects_further():
    tracker = ByteTracker()
    for x in range(0, 60, 4):
        tracker.update(detections([box(x)]))
    assert track_ids(tracker.update(detections([box(56 + 24)]), steps=6)).tolist() == [1]


@pytest.mark.parametrize("options", [{"low": 0.7}, {"new": 0.3}, {"high": 1.5}, {"lost": -1}])
def test_wrong_thresholds_are_refused(options: dict):
    with pytest.raises(ConfigError, match="ByteTracker"):
        ByteTracker(**options)


def test_track_ids_of_untracked_objects_are_refused():
    with pytest.raises(ConfigError, match="not tracked"):
        track_ids(detections([box(0)]))


def test_assignment_has_largest_total_and_pairs_above_minimum():
    values = np.array([[0.9, 0.8], [0.8, 0.1]])
    rows, columns = assign(values, 0.2)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 1), (1, 0)]
    rows, columns = assign(values, 0.85)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == [(0, 0)]
    assert assign(np.zeros((0, 3)), 0.1)[0].shape == (0,)


def test_iou_matrix_of_known_boxes():
    first = np.array([[0, 0, 10, 10], [5, 5, 5, 5]], float)
    second = np.array([[5, 0, 15, 10], [0, 0, 10, 10]], float)
    assert iou_matrix(first, second) == pytest.approx(np.array([[1 / 3, 1], [0, 0]]))
