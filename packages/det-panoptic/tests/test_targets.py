"""What Panoptic-DeepLab learns of segments, computed by hand."""

import math

import pytest
import torch
from det_core.errors import ConfigError, StructureError
from det_core.structures import Targets
from det_panoptic.segments import segments_of
from det_panoptic.targets import TargetGenerator
from panoptic_files import truth


def made(ids, *segments, **rest):
    return TargetGenerator(**{"sigma": 1, "small_area": 5, **rest})(segments_of(truth(ids, *segments)))


THING = torch.tensor([[0, 0, 0, 2, 2], [1, 1, 1, 2, 2], [1, 1, 1, 2, 2]])


def test_offsets_point_from_thing_pixels_to_centre_without_stuff():
    found = made(THING, (4, 1, 0), (7, 0, 0))
    assert found.points.tolist() == [[1.5, 1.0]]
    assert found.semantic.tolist() == [[255, 255, 255, 7, 7], [4, 4, 4, 7, 7], [4, 4, 4, 7, 7]]
    assert found.offsets[0].tolist() == [[0] * 5, [0.5, 0.5, 0.5, 0, 0], [-0.5, -0.5, -0.5, 0, 0]]
    assert found.offsets[1].tolist() == [[0] * 5, [1, 0, -1, 0, 0], [1, 0, -1, 0, 0]]
    assert found.offset_weights[0].tolist() == [[0] * 5, [1, 1, 1, 0, 0], [1, 1, 1, 0, 0]]
    assert found.center_weights[0].tolist() == [[0, 0, 0, 1, 1], [1] * 5, [1] * 5]


def test_centre_heatmap_is_one_at_centre_and_gaussian_around():
    heat = made(THING, (4, 1, 0), (7, 0, 0)).centers[0]
    assert heat[2, 1] == 1  # 1.5 rounds to the even number
    assert heat[1, 2].item() == pytest.approx(math.exp(-1))
    assert heat[2, 3].item() == pytest.approx(math.exp(-2))


def test_gaussian_truncated_at_three_sigma_and_overlaps_take_maximum():
    ids = torch.zeros(1, 20, dtype=torch.int64)
    ids[0, 3], ids[0, 6] = 1, 2
    heat = made(ids, (0, 1, 0), (0, 1, 0)).centers[0, 0]
    assert heat[3] == heat[6] == 1
    assert heat[4].item() == pytest.approx(math.exp(-0.5))
    assert heat[10] > 0
    assert heat[11] == 0


def test_small_things_weigh_more_and_stuff_does_not():
    weights = made(THING, (4, 1, 0), (7, 0, 0), small_area=7).semantic_weights
    assert weights.tolist() == [[1] * 5, [3, 3, 3, 1, 1], [3, 3, 3, 1, 1]]
    assert (made(THING, (4, 1, 0), (7, 0, 0), small_area=6).semantic_weights == 1).all()


def test_crowds_train_semantic_branch_only_or_are_ignored():
    found = made(THING, (4, 1, 1), (7, 0, 0))
    assert found.offset_weights.sum() == 0
    assert found.center_weights.sum() == 6
    assert int((found.semantic == 4).sum()) == 6
    assert int((made(THING, (4, 1, 1), (7, 0, 0), ignore_crowd_in_semantic=True).semantic == 4).sum()) == 0


def test_offsets_train_on_stuff_when_enabled():
    assert made(THING, (4, 1, 0), (7, 0, 0), ignore_stuff_in_offset=False).offset_weights.sum() == 12


def test_empty_segment_stuff_only_and_empty_images_give_targets():
    assert made(THING, (4, 1, 0), (7, 0, 0), (5, 1, 0)).points.shape == (1, 2)
    assert made(torch.ones(3, 3), (7, 0, 0)).centers.sum() == 0
    empty = made(torch.zeros(3, 3))
    assert (empty.semantic == 255).all()
    assert empty.offsets.abs().sum() == empty.center_weights.sum() == 0


def test_targets_without_segments_and_zero_sigma_are_refused():
    nothing = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64))
    with pytest.raises(StructureError, match="use a panoptic dataset"):
        segments_of(nothing)
    with pytest.raises(ConfigError, match="sigma"):
        TargetGenerator(sigma=0)
