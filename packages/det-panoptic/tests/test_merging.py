"""Detections are laid on each other, best first, and stuff fills what is left."""

import torch
from det_core.structures import Detections
from det_panoptic.merging import Merging, stack_masks

SIZE = (10, 10)


def mask(top, left, bottom, right):
    drawn = torch.zeros(SIZE, dtype=torch.bool)
    drawn[top:bottom, left:right] = True
    return drawn


def detections(masks, scores):
    count = len(masks)
    return Detections(
        boxes=torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(count, 1),
        labels=torch.arange(count),
        scores=torch.tensor(scores),
        size=SIZE,
        masks=torch.stack(masks) if masks else torch.zeros((0, *SIZE), dtype=torch.bool),
    )


def test_mask_covered_by_more_than_half_is_dropped():
    masks = torch.stack([mask(0, 0, 4, 4), mask(0, 1, 4, 4), mask(0, 2, 4, 6), mask(9, 9, 9, 9)])
    owner, kept = stack_masks(masks, SIZE, 0.5)
    assert kept.tolist() == [True, False, True, False]  # all of the second, half of the third, none of the fourth
    assert torch.bincount(owner.flatten()).tolist() == [76, 16, 0, 8]


def test_things_come_by_falling_score_and_stuff_after_them():
    logits = torch.zeros(3, *SIZE)
    logits[1, :5], logits[2, 5:] = 1, 1
    found = detections([mask(0, 0, 2, 2), mask(4, 4, 8, 8)], [0.6, 0.9])
    panoptic = Merging(stuff_area=0)(found, logits, num_things=5)
    assert [(each["label"], each["is_thing"]) for each in panoptic.segments] == [
        *((1, True), (0, True)),
        *((5, False), (6, False)),
    ]
    assert torch.bincount(panoptic.ids.flatten()).tolist() == [0, 16, 4, 50 - 8, 50 - 12]
    assert [round(each["score"], 3) for each in panoptic.segments[:2]] == [0.9, 0.6]


def test_low_scores_small_stuff_and_thing_pixels_become_void():
    logits = torch.zeros(3, *SIZE)
    logits[0] = 1
    logits[1, 0] = 2
    panoptic = Merging(stuff_area=11)(detections([mask(4, 4, 8, 8)], [0.4]), logits, num_things=5)
    assert panoptic.segments == []
    assert int(panoptic.ids.max()) == 0
    panoptic = Merging(stuff_area=10)(detections([], []), logits, num_things=5)
    assert panoptic.segments == [{"id": 1, "label": 5, "is_thing": False}]


def test_image_without_stuff_gives_things_only():
    panoptic = Merging()(detections([mask(0, 0, 10, 10)], [0.9]), torch.zeros(3, *SIZE), num_things=5)
    assert [each["is_thing"] for each in panoptic.segments] == [True]
    assert int((panoptic.ids == 1).sum()) == 100
