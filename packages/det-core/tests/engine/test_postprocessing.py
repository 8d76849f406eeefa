import math

import pytest
import torch
from det_core.engine.postprocessing import rescale
from det_core.structures import Detections, MaskGrids, PanopticMap, Prediction, Proposals, SemanticMap


def detections(boxes, size, **fields):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    n = len(boxes)
    return Detections(boxes=boxes, labels=torch.zeros(n, dtype=torch.int64), scores=torch.ones(n), size=size, **fields)


def test_rescale_from_half_size_doubles_boxes():
    seen = Prediction(detections=detections([[1, 2, 3, 4]], (10, 20)))
    stored = rescale(seen, (10, 20), (20, 40)).detections
    assert stored.boxes.tolist() == [[2, 4, 6, 8]]
    assert stored.size == (20, 40)


def test_height_and_width_have_their_own_factor():
    stored = rescale(Prediction(detections=detections([[1, 2, 3, 4]], (10, 20))), (10, 20), (30, 20))
    assert stored.detections.boxes.tolist() == [[1, 6, 3, 12]]


def test_box_is_clipped_to_the_stored_image():
    stored = rescale(Prediction(detections=detections([[-2, 0, 20, 10]], (10, 20))), (10, 20), (20, 40))
    assert stored.detections.boxes.tolist() == [[0, 0, 40, 20]]


def test_rescale_empty_detections_stay_empty_in_stored_size():
    stored = rescale(Prediction(detections=detections([], (10, 20))), (10, 20), (20, 40)).detections
    assert (len(stored), stored.size) == (0, (20, 40))


def test_masks_and_keypoints_follow():
    masks = torch.tensor([[[True, False], [False, False]]])
    keypoints = torch.tensor([[[1.0, 1.5, 0.7]]])
    seen = Prediction(detections=detections([[0, 0, 1, 1]], (2, 2), masks=masks, keypoints=keypoints))
    stored = rescale(seen, (2, 2), (4, 4)).detections
    assert stored.masks[0].int().tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    assert stored.keypoints.tolist() == [[pytest.approx([2.0, 3.0, 0.7])]]


def test_rescale_mask_grid_windows_are_scaled_without_clipping():
    masks = MaskGrids(grids=(torch.ones(3, 3),), windows=torch.tensor([[-2.0, 0.0, 6.0, 8.0]]))
    stored = rescale(Prediction(detections=detections([[0, 0, 1, 1]], (8, 8), masks=masks)), (8, 8), (16, 4)).detections
    assert stored.masks.windows.tolist() == [[-1, 0, 3, 16]]
    assert stored.masks.grids is masks.grids


def test_proposals_and_maps_follow():
    seen = Prediction(
        proposals=Proposals(boxes=torch.tensor([[0.0, 0.0, 1.0, 2.0]]), logits=torch.tensor([0.3])),
        semantic=SemanticMap(logits=torch.rand(5, 2, 2)),
        panoptic=PanopticMap(ids=torch.tensor([[1, 2], [3, 4]], dtype=torch.int32), segments=()),
    )
    stored = rescale(seen, (2, 2), (4, 4))
    assert stored.proposals.boxes.tolist() == [[0, 0, 2, 4]]
    assert stored.semantic.logits.shape == (5, 4, 4)
    assert stored.panoptic.ids.tolist() == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    assert stored.panoptic.ids.dtype == torch.int32


def test_rescale_same_size_keeps_prediction():
    seen = Prediction(detections=detections([[1, 2, 3, 4]], (10, 20)))
    assert rescale(seen, (10, 20), (10, 20)) is seen


@pytest.mark.parametrize("stored", [(10, 20), (20, 40), (5, 10)])
def test_rescale_boxes_without_area_are_dropped_with_their_masks(stored):
    boxes = [[20, 1, 20, 5], [1, 2, 3, 4], [3, 10, 9, 10], [5, 5, 4, 9]]
    masks = torch.arange(4.0)[:, None, None].expand(4, 2, 2)
    seen = Prediction(
        detections=detections(boxes, (10, 20), masks=masks),
        proposals=Proposals(boxes=torch.tensor(boxes, dtype=torch.float32), logits=torch.arange(4.0)),
    )
    carried = rescale(seen, (10, 20), stored)
    assert carried.detections.masks[:, 0, 0].tolist() == [1.0]
    assert carried.proposals.logits.tolist() == [1.0]


def test_rescale_rotated_box_without_a_side_is_dropped():
    boxes = torch.tensor([[5.0, 5.0, 0.0, 2.0, 30.0], [5.0, 5.0, 1.0, 2.0, 30.0]])
    found = Detections(boxes=boxes, labels=torch.tensor([0, 1]), scores=torch.ones(2), size=(10, 20))
    assert rescale(Prediction(detections=found), (10, 20), (10, 20)).detections.labels.tolist() == [1]


def test_there_and_back_is_where_it_was():
    boxes = [[10.0, 20.0, 33.0, 47.0], [0.0, 0.0, 640.0, 480.0]]
    there = rescale(Prediction(detections=detections(boxes, (480, 640))), (480, 640), (320, 427))
    back = rescale(there, (320, 427), (480, 640)).detections
    torch.testing.assert_close(back.boxes, torch.tensor(boxes))


def turned(*boxes):
    count = len(boxes)
    found = Detections(
        boxes=torch.tensor(boxes).reshape(-1, 5),
        labels=torch.zeros(count, dtype=torch.int64),
        scores=torch.ones(count),
        size=(10, 20),
    )
    return Prediction(detections=found, proposals=Proposals(boxes=found.boxes, logits=found.scores))


def test_rotated_boxes_keep_their_angle_where_scale_is_one():
    seen = turned([5.0, 4.0, 6.0, 2.0, 30.0], [1.0, 5.0, 4.0, 4.0, 0.0])
    stored = rescale(seen, (10, 20), (20, 40))
    # The second stands level, and is clipped.
    expected = torch.tensor([[10.0, 8.0, 12.0, 4.0, 30.0], [3.0, 10.0, 6.0, 8.0, 0.0]])
    torch.testing.assert_close(stored.detections.boxes, expected)
    torch.testing.assert_close(stored.proposals.boxes, expected)
    assert len(rescale(turned(), (10, 20), (20, 40)).detections) == 0


def test_rotated_box_that_is_stretched_follows_its_height():
    [box] = rescale(turned([5.0, 4.0, 6.0, 2.0, 45.0]), (10, 20), (20, 20)).detections.boxes
    # Its sides ran along (1, -1) and (1, 1) and now run along (1, -2) and (1, 2), which are sqrt(5 / 2) longer.
    longer, angle = math.sqrt(2.5), math.degrees(math.atan2(1, 2))
    torch.testing.assert_close(box, torch.tensor([5.0, 8.0, 6 * longer, 2 * longer, angle]))
