"""`detectron2.structures`."""

import numpy as np
import pytest
import torch
from det_detectron2.layer.structures import (
    BitMasks,
    Boxes,
    BoxMode,
    ImageList,
    Instances,
    Keypoints,
    PolygonMasks,
    ROIMasks,
    RotatedBoxes,
    matched_pairwise_iou,
    pairwise_ioa,
    pairwise_iou,
    pairwise_iou_rotated,
)
from torchvision.ops import box_iou

SQUARE = [2.0, 2.0, 8.0, 2.0, 8.0, 8.0, 2.0, 8.0]


@pytest.mark.parametrize("kind", [list, tuple, np.array, torch.tensor])
def test_box_mode_converts_and_keeps_the_type(kind) -> None:
    box = kind([5.0, 5.0, 10.0, 20.0]) if kind in (list, tuple) else kind([[5.0, 5.0, 10.0, 20.0]])
    corners = BoxMode.convert(box, BoxMode.XYWH_ABS, BoxMode.XYXY_ABS)
    assert type(corners) is type(box)
    assert np.asarray(corners).reshape(-1).tolist() == [5, 5, 15, 25]
    back = BoxMode.convert(corners, BoxMode.XYXY_ABS, BoxMode.XYWH_ABS)
    assert np.asarray(back).reshape(-1).tolist() == [5, 5, 10, 20]
    assert np.asarray(box).reshape(-1).tolist() == [5, 5, 10, 20]


def test_box_mode_rotated_box_becomes_the_box_around_it() -> None:
    assert BoxMode.convert([5, 5, 4, 2, 90.0], BoxMode.XYWHA_ABS, BoxMode.XYXY_ABS) == pytest.approx([4, 3, 6, 7])
    with pytest.raises(AssertionError, match="Relative"):
        BoxMode.convert([0, 0, 1, 1], BoxMode.XYXY_REL, BoxMode.XYXY_ABS)


def test_boxes_clip_scale_and_overlaps() -> None:
    torch.manual_seed(0)
    corners = torch.rand(6, 2) * 50
    boxes = Boxes(torch.cat((corners, corners + 20), dim=1))
    torch.testing.assert_close(pairwise_iou(boxes, boxes), box_iou(boxes.tensor, boxes.tensor))
    torch.testing.assert_close(matched_pairwise_iou(boxes, boxes), torch.ones(6))
    assert pairwise_ioa(boxes, boxes).diagonal().tolist() == pytest.approx([1.0] * 6)
    boxes.clip((30, 40))
    assert boxes.tensor.amax(dim=0).tolist() <= [40, 30, 40, 30]
    assert boxes.nonempty().tolist() == ((boxes.tensor[:, 2:] - boxes.tensor[:, :2]) > 0).all(1).tolist()
    with pytest.raises(AssertionError, match="infinite or NaN"):
        Boxes([[0, 0, float("nan"), 1]]).clip((3, 3))


def test_rotated_boxes_overlap_and_scale() -> None:
    boxes = RotatedBoxes([[10, 10, 8, 4, 0], [10, 10, 4, 8, 90]])
    torch.testing.assert_close(pairwise_iou_rotated(boxes, boxes), torch.ones(2, 2))
    boxes.scale(2, 3)
    assert boxes.tensor[0].tolist() == pytest.approx([20, 30, 16, 12, 0])
    assert boxes.tensor[1, 2:4].tolist() == pytest.approx([12, 16])


def test_instances_index_concatenate_and_refuse_other_lengths() -> None:
    instances = Instances((10, 20), scores=torch.tensor([0.5, 0.25, 0.125]), names=["a", "b", "c"])
    instances.pred_boxes = Boxes(torch.rand(3, 4))
    assert instances[1].names == ["b"]
    assert instances[-1].scores.tolist() == [0.125]
    assert len(Instances.cat([instances, instances[:1]])) == 4
    with pytest.raises(AssertionError, match="length 2"):
        instances.labels = torch.zeros(2)
    with pytest.raises(AttributeError, match="nothing"):
        _ = instances.nothing
    with pytest.raises(NotImplementedError):
        len(Instances((1, 1)))
    with pytest.raises(IndexError):
        instances[3]


def test_masks_of_both_kinds_agree() -> None:
    polygons = PolygonMasks([[SQUARE], [[0.0, 0.0, 10.0, 0.0, 10.0, 10.0]]])
    bitmaps = BitMasks.from_polygon_masks(polygons, 12, 12)
    assert polygons.area().tolist() == [36, 50]
    assert bitmaps.tensor[0].sum() == 36
    assert polygons.get_bounding_boxes().tensor[0].tolist() == bitmaps.get_bounding_boxes().tensor[0].tolist()
    boxes = torch.tensor([[2.0, 2, 8, 8], [0, 0, 10, 10]])
    drawn, sampled = polygons.crop_and_resize(boxes, 14), bitmaps.crop_and_resize(boxes, 14)
    assert (drawn[0] == sampled[0]).all()
    assert polygons[torch.tensor([False, True])].area().tolist() == [50]
    with pytest.raises(ValueError, match="4 coordinates"):
        PolygonMasks([[[0.0, 0, 1, 1]]])


def test_roi_masks_fill_their_boxes() -> None:
    pasted = ROIMasks(torch.ones(1, 28, 28)).to_bitmasks(torch.tensor([[2.0, 3, 8, 9]]), 12, 12)
    assert pasted.get_bounding_boxes().tensor.tolist() == [[2, 3, 8, 9]]


def test_keypoints_and_image_list() -> None:
    points = Keypoints([[[5.0, 5.0, 2.0], [50.0, 5.0, 2.0]]])
    cells, valid = points.to_heatmap(torch.tensor([[0.0, 0, 10, 10]]), 4)
    assert (cells[0, 0].item(), valid.tolist()) == (2 * 4 + 2, [[True, False]])
    images = ImageList.from_tensors([torch.ones(3, 5, 7), torch.ones(3, 6, 4)], 4, pad_value=2)
    assert images.tensor.shape == (2, 3, 8, 8)
    assert images[1].shape == (3, 6, 4)
    assert images.tensor[1, 0, 7, 7] == 2
