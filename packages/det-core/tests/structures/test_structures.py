"""Structures hold what belongs together, row for row, and follow the conventions of docs/structures.md."""

import math
from dataclasses import replace

import pytest
import torch
from det_core.errors import StructureError
from det_core.structures import Detections, ImageBatch, MaskGrids, Polygons, Proposals, Sample, Targets
from torchvision.ops import box_convert


def targets(count: int = 3) -> Targets:
    return Targets(
        boxes=torch.arange(4.0 * count).reshape(count, 4),
        labels=torch.arange(count),
        crowd=torch.arange(count) == 1,
        keypoints=torch.zeros(count, 2, 3),
        extras={"acme/points": torch.arange(2.0 * count).reshape(count, 2)},
        semantic=torch.zeros(5, 7, dtype=torch.int64),
        image_extras={"acme/heat": torch.ones(4)},
    )


def test_indexing_selects_per_object_fields_and_keeps_the_rest():
    chosen = targets()[torch.tensor([2, 0])]
    assert len(chosen) == 2
    assert chosen.labels.tolist() == [2, 0]
    assert chosen.boxes[0].tolist() == [8.0, 9.0, 10.0, 11.0]
    assert chosen.extras["acme/points"].tolist() == [[4.0, 5.0], [0.0, 1.0]]
    assert chosen.keypoints.shape == (2, 2, 3)
    assert chosen.semantic.shape == (5, 7)
    assert chosen.image_extras["acme/heat"].shape == (4,)


class Marked(torch.Tensor):
    """A tensor subclass with metadata, as extras with geometry are."""


def test_extra_of_tensor_subclass_keeps_class_and_metadata():
    points = torch.zeros(3, 2).as_subclass(Marked)
    points.canvas_size = (4, 6)
    whole = Targets(boxes=torch.zeros(3, 4), labels=torch.zeros(3, dtype=torch.int64), extras={"acme/points": points})
    for kept in (whole[1:].extras["acme/points"], whole.to("meta").extras["acme/points"]):
        assert type(kept) is Marked
        assert kept.canvas_size == (4, 6)
    assert len(whole[1:].extras["acme/points"]) == 2


def test_indexing_by_mask_slice_and_empty_agree():
    whole = targets()
    assert whole[torch.tensor([True, False, True])].labels.tolist() == whole[0:3:2].labels.tolist() == [0, 2]
    assert len(whole[torch.zeros(0, dtype=torch.int64)]) == 0


def test_crowds_are_left_out_of_training_targets():
    assert targets().without_crowd().labels.tolist() == [0, 2]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"labels": torch.zeros(2, dtype=torch.int64)}, "Targets.labels"),
        ({"extras": {"acme/points": torch.zeros(4, 2)}}, "Targets.extras\\['acme/points'\\]"),
        ({"boxes": torch.zeros(3, 6)}, "Targets.boxes"),
        ({"boxes": torch.zeros(4)}, "Targets.boxes"),
    ],
)
def test_fields_of_different_length_are_refused_by_name(wrong, named):
    arguments = {"boxes": torch.zeros(3, 4), "labels": torch.zeros(3, dtype=torch.int64)} | wrong
    with pytest.raises(StructureError, match=named):
        Targets(**arguments)


def test_moving_to_a_device_moves_extras_too():
    moved = targets().to("meta")
    assert moved.boxes.is_meta
    assert moved.extras["acme/points"].is_meta
    assert moved.image_extras["acme/heat"].is_meta


def test_detections_keep_the_size_of_their_image_when_indexed():
    found = Detections(
        boxes=torch.zeros(2, 4), labels=torch.zeros(2, dtype=torch.int64), scores=torch.ones(2), size=(4, 6)
    )
    assert found[:1].size == (4, 6)
    assert len(Proposals(boxes=torch.zeros(0, 4), logits=torch.zeros(0))) == 0


def test_images_are_padded_right_and_bottom():
    batch = ImageBatch.stack([torch.full((3, 2, 5), 7, dtype=torch.uint8), torch.full((3, 4, 3), 9, dtype=torch.uint8)])
    assert batch.pixels.shape == (2, 3, 4, 5)
    assert batch.sizes == ((2, 5), (4, 3))
    assert (batch.pixels[0, :, :2, :5] == 7).all()
    assert (batch.pixels[0, :, 2:] == 0).all()
    assert (batch.pixels[1, :, :, 3:] == 0).all()


def test_sample_is_uint8_rgb_with_size():
    assert Sample(image=torch.zeros(3, 4, 6, dtype=torch.uint8)).size == (4, 6)
    with pytest.raises(StructureError, match="uint8 RGB"):
        Sample(image=torch.zeros(3, 4, 6))
    with pytest.raises(StructureError, match="uint8 RGB"):
        Sample(image=torch.zeros(4, 6, dtype=torch.uint8))


@pytest.mark.parametrize("angle", [30.0, -30.0])
def test_rotated_boxes_are_counter_clockwise_like_torchvision(angle):
    corners = box_convert(torch.tensor([[50.0, 50.0, 40.0, 10.0, angle]]), "cxcywhr", "xyxyxyxy").reshape(4, 2)
    right_end = corners[[1, 2]].mean(0)  # torchvision lists top left, top right, bottom right, bottom left
    radians = math.radians(angle)
    assert right_end.tolist() == pytest.approx([50 + 20 * math.cos(radians), 50 - 20 * math.sin(radians)], abs=1e-4)


OUTLINES = [[[0, 0, 4, 0, 4, 4]], [[1, 1, 2, 1, 2, 2], [5, 5, 9, 5, 9, 9, 5, 9]], []]


def flat(polygons: Polygons) -> list[list[list[float]]]:
    return [[ring.ravel().tolist() for ring in rings] for rings in polygons]


def test_polygons_hold_several_rings_of_several_objects_and_none():
    polygons = Polygons.of(OUTLINES)
    assert len(polygons) == 3
    assert flat(polygons) == OUTLINES
    assert flat(Polygons.of([])) == []
    assert flat(Polygons.of([[], []])) == [[], []]


@pytest.mark.parametrize(
    ("index", "chosen"),
    [
        (torch.tensor([1, 1, 2, 0]), [1, 1, 2, 0]),
        (torch.tensor([False, True, True]), [1, 2]),
        (slice(1, None), [1, 2]),
        (torch.zeros(0, dtype=torch.int64), []),
    ],
)
def test_polygons_are_chosen_like_any_rows(index, chosen):
    assert flat(Polygons.of(OUTLINES)[index]) == [OUTLINES[i] for i in chosen]
    whole = Targets(boxes=torch.zeros(3, 4), labels=torch.zeros(3, dtype=torch.int64), masks=Polygons.of(OUTLINES))
    assert flat(whole[index].masks) == [OUTLINES[i] for i in chosen]


def test_polygons_keep_count_when_moved_between_devices():
    fields = {"boxes": torch.zeros(3, 4), "labels": torch.zeros(3, dtype=torch.int64)}
    assert flat(Targets(**fields, masks=Polygons.of(OUTLINES)).to("meta").masks) == OUTLINES
    with pytest.raises(StructureError, match="masks: must have one row per box"):
        Targets(**fields, masks=Polygons.of(OUTLINES[:2]))
    with pytest.raises(StructureError, match="assign each point"):
        Polygons(points=torch.zeros(3, 2), corners=torch.tensor([2]), rings=torch.tensor([1]))


def test_mask_grids_are_indexed_and_moved_with_windows():
    windows = torch.tensor([[0.0, 0.0, 8.0, 8.0], [-4.0, 0.0, 12.0, 16.0], [1.0, 1.0, 3.0, 3.0]])
    masks = MaskGrids(grids=(torch.zeros(2, 2), torch.ones(4, 4), torch.ones(1, 1)), windows=windows)
    whole = Detections(
        boxes=windows, labels=torch.zeros(3, dtype=torch.int64), scores=torch.ones(3), size=(20, 20), masks=masks
    )
    for index in (torch.tensor([2, 0]), torch.tensor([True, False, True]), slice(0, 3, 2)):
        chosen = whole[index]
        assert len(chosen.masks) == 2
        assert sorted(len(grid) for grid in chosen.masks.grids) == [1, 2]
        assert torch.equal(chosen.masks.windows, chosen.boxes)
    moved = whole.to("meta").masks
    assert moved.windows.is_meta
    assert all(grid.is_meta for grid in moved.grids)
    with pytest.raises(StructureError, match=r"MaskGrids.windows: must have shape \(N, 4\)"):
        MaskGrids(grids=(torch.zeros(2, 2),), windows=windows)
    with pytest.raises(StructureError, match="masks: must have one row per box"):
        replace(whole, masks=masks[:2])
