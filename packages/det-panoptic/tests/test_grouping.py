"""Pixels join the centre that they point to, and every segment has one class."""

import pytest
import torch
from det_core.errors import ConfigError
from det_panoptic.grouping import Grouping, as_detections, as_panoptic

SIZE = (8, 12)


def scene(batch=1):
    """Two things of class 1 on stuff 0, their centers at (4, 2) and (4, 9); all pixels of things point to theirs."""
    semantic = torch.zeros(SIZE, dtype=torch.int64)
    semantic[2:7, 1:4] = 1
    semantic[2:7, 8:11] = 1
    logits = torch.nn.functional.one_hot(semantic, 3).permute(2, 0, 1).float() * 10
    centers = torch.zeros(1, *SIZE)
    centers[0, 4, 2], centers[0, 4, 9] = 0.9, 0.8
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(12.0), indexing="ij")
    across = torch.where(x < 6, 2 - x, 9 - x)
    offsets = torch.stack((4 - y, across))
    return tuple(each[None].repeat(batch, 1, 1, 1) for each in (logits, centers, offsets))


def grouping(**rest):
    return Grouping(3, (1, 2), **{"nms_kernel": 3, "stuff_area": 10, "top_k": 5, **rest})


def test_group_two_things_and_stuff_gives_expected_segments():
    found = grouping()(*scene())
    panoptic = as_panoptic(found, 0, [False, True, True])
    assert [(each["label"], each["is_thing"]) for each in panoptic.segments] == [(1, True), (1, True), (0, False)]
    assert torch.bincount(panoptic.ids.flatten()).tolist() == [0, 15, 15, 66]
    assert panoptic.ids[4, 2] != panoptic.ids[4, 9]
    detections = as_detections(found, 0, SIZE)
    assert detections.boxes.tolist() == [[1, 2, 4, 7], [8, 2, 11, 7]]
    probability = torch.tensor([0.0, 10.0, 0.0]).softmax(0)[1]
    torch.testing.assert_close(detections.scores, torch.tensor([0.9, 0.8]) * probability)
    assert detections.masks.sum((1, 2)).tolist() == [15, 15]


def test_thing_class_is_majority_vote_of_pixels():
    logits, centers, offsets = scene()
    logits[0, 2, 2:4, 1:3] = 20  # 4 of 15 pixels say class 2
    found = grouping()(logits, centers, offsets)
    assert as_detections(found, 0, SIZE).labels.tolist() == [1, 1]
    assert as_detections(found, 0, SIZE).masks.sum((1, 2)).tolist() == [15, 15]


def test_stuff_of_few_pixels_becomes_void():
    found = grouping(stuff_area=67)(*scene())
    panoptic = as_panoptic(found, 0, [False, True, True])
    assert [each["label"] for each in panoptic.segments] == [1, 1]
    assert int((panoptic.ids == 0).sum()) == 66


def test_without_a_centre_the_pixels_of_things_are_void():
    logits, centers, offsets = scene()
    found = grouping()(logits, centers * 0, offsets)
    assert as_panoptic(found, 0, [False, True, True]).segments == [{"id": 1, "label": 0, "is_thing": False}]
    assert len(as_detections(found, 0, SIZE)) == 0


def test_peak_beside_higher_peak_is_no_centre():
    centers = scene()[1]
    centers[0, 0, 4, 3] = 0.85
    points, found = grouping().find_centers(centers)
    assert points[0][found[0]].tolist() == [[4, 2], [4, 9]]
    points, found = grouping(nms_kernel=1).find_centers(centers)
    assert found.sum() == 3


def test_top_k_centres_drop_ties_with_last():
    _, centers, _ = scene()
    _, found = grouping(top_k=2).find_centers(centers)
    assert found.tolist() == [[True, False]]  # as published


def test_group_batch_equals_single_images():
    logits, centers, offsets = scene(batch=2)
    centers[1] = 0
    together = grouping()(logits, centers, offsets)
    for image in range(2):
        alone = grouping()(*(each[image : image + 1] for each in (logits, centers, offsets)))
        for one, other in zip(alone, together, strict=True):
            torch.testing.assert_close(one[0], other[image])


def test_nearest_centre_of_many_equals_brute_force():
    torch.manual_seed(0)
    points, offsets = torch.randint(0, 40, (2, 9, 2)), torch.randn(2, 2, 40, 40) * 20
    found = torch.ones(2, 9, dtype=torch.bool)
    found[1, 3:] = False
    nearest = grouping().nearest(points, found, offsets)
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    aimed = (torch.stack((y, x)) + offsets).flatten(2).transpose(1, 2)
    distance = torch.cdist(aimed, points.float()).masked_fill(~found[:, None], float("inf"))
    assert (nearest.flatten(1) == distance.argmin(2)).all()


def test_group_exported_gives_eager_output_at_other_sizes():
    module = grouping()
    height, width = torch.export.Dim("height", min=4, max=512), torch.export.Dim("width", min=4, max=512)
    shapes = tuple({2: height, 3: width} for _ in range(3))
    program = torch.export.export(module, scene(), dynamic_shapes=shapes).module()
    larger = tuple(torch.nn.functional.pad(each, (0, 7, 0, 5)) for each in scene())
    for given in (scene(), larger):
        for one, other in zip(program(*given), module(*given), strict=True):
            torch.testing.assert_close(one, other)


@pytest.mark.parametrize("wrong", [{"nms_kernel": 4}, {"top_k": 0}])
def test_arguments_that_cannot_be_are_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        grouping(**wrong)


def test_thing_label_without_class_is_refused():
    with pytest.raises(ConfigError, match="labels below 3"):
        Grouping(3, (1, 3))
