"""Segments in NumPy alone are those of the models."""

import numpy as np
import torch
from det_core.structures import Detections
from det_panoptic.arrays import group_pixels, join_things
from det_panoptic.grouping import Grouping
from det_panoptic.merging import Merging


def test_join_things_as_merging():
    random = torch.Generator().manual_seed(0)
    size, count = (60, 80), 12
    masks = torch.zeros(count, *size, dtype=torch.bool)
    for mask in masks:
        y, x = (int(torch.randint(0, side - 20, (), generator=random)) for side in size)
        mask[y : y + 20, x : x + 20] = True
    scores = torch.rand(count, generator=random).sort(descending=True).values
    labels = torch.arange(count) % 3
    logits = torch.nn.functional.interpolate(torch.randn(1, 4, 4, 5, generator=random), size=size, mode="bilinear")[0]
    detections = Detections(boxes=torch.zeros(count, 4), labels=labels, scores=scores, size=size, masks=masks)
    expected = Merging(stuff_area=100)(detections, logits, 3)
    ids, segments = join_things(
        masks.numpy(), labels.tolist(), scores.tolist(), logits.numpy(), num_things=3, stuff_area=100
    )
    np.testing.assert_array_equal(ids, expected.ids.numpy())
    assert segments == list(expected.segments)
    assert 3 < len(segments) < count + 3


def test_join_things_without_annotations_gives_stuff_or_void():
    logits = np.zeros((2, 4, 4), np.float32)
    logits[1, :2] = 1
    ids, segments = join_things([], [], [], logits, num_things=5, stuff_area=8)
    assert segments == [{"id": 1, "label": 5, "is_thing": False}]
    assert ids.tolist() == [[1] * 4] * 2 + [[0] * 4] * 2
    assert join_things([], [], [], logits, num_things=5, stuff_area=9)[1] == []


def test_group_pixels_as_grouping():
    random = torch.Generator().manual_seed(1)
    size = (64, 96)
    semantic, centers, offsets = (
        torch.nn.functional.interpolate(torch.randn(1, c, 8, 12, generator=random), size=size, mode="bilinear")
        for c in (4, 1, 2)
    )
    centers = centers + 0.01 * torch.rand(centers.shape, generator=random)
    offsets = offsets * 10
    (expected,) = Grouping(4, [2, 3], stuff_area=200).predictions(semantic, centers, offsets, instances=False)
    ids, segments = group_pixels(
        semantic[0].numpy(), centers[0].numpy(), offsets[0].numpy(), things=[2, 3], stuff_area=200
    )
    classes = {each["id"]: each["label"] for each in segments} | {0: -1}
    wanted = {each["id"]: each["label"] for each in expected.panoptic.segments} | {0: -1}
    found = np.vectorize(classes.get)(ids)
    np.testing.assert_array_equal(found, np.vectorize(wanted.get)(expected.panoptic.ids.numpy()))
    assert sorted(classes.values()) == sorted(wanted.values())
    scores = [sorted(e["score"] for e in each if e["is_thing"]) for each in (segments, expected.panoptic.segments)]
    np.testing.assert_allclose(*scores, rtol=1e-4, atol=1e-6)
    assert len(scores[0]) > 3


def test_group_pixels_without_centers_leaves_things_void():
    semantic = np.stack([np.zeros((4, 4)), np.ones((4, 4))]).astype(np.float32)
    ids, segments = group_pixels(semantic, np.zeros((1, 4, 4)), np.zeros((2, 4, 4)), things=[1], stuff_area=0)
    assert not ids.any()
    assert segments == []
