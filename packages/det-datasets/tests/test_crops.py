"""Random crops that contain an object."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from det_core.data import compose
from det_core.errors import ConfigError
from det_core.structures import Sample, Targets
from det_datasets.crops import ObjectCrop

HEIGHT, WIDTH = 20, 40
BOXES = torch.tensor([[2.0, 4, 12, 10], [30, 2, 38, 18]])


def make(**fields: Any) -> Sample:
    image = torch.arange(3 * HEIGHT * WIDTH).reshape(3, HEIGHT, WIDTH).to(torch.uint8)
    return Sample(image=image, targets=Targets(boxes=BOXES.clone(), labels=torch.tensor([5, 6]), **fields))


def apply(sample: Sample, *transforms: Any) -> tuple[Sample, Targets]:
    result = compose(transforms)(sample)
    assert result.targets is not None
    return result, result.targets


def test_object_crop_size_of_zero_refused() -> None:
    with pytest.raises(ConfigError, match=r"RandomCrop\.size"):
        ObjectCrop((0, 8))


def test_object_crop_large_window_contains_whole_object() -> None:
    torch.manual_seed(0)
    seen = set()
    for _ in range(60):
        result, targets = apply(make(masks=None), ObjectCrop([17, 12]))
        assert result.size == (17, 12)
        whole = targets.boxes[:, 2:] - targets.boxes[:, :2] == torch.tensor([[10, 6], [8, 16]])[targets.labels - 5]
        assert whole.all(1).any()
        seen.add((tuple(targets.labels.tolist()), *targets.boxes[0].tolist()))
    assert 12 < len(seen) <= 4 * 3 + 2 * 3  # all windows around the one object and around the other


def test_object_crop_small_window_lies_within_object() -> None:
    torch.manual_seed(0)
    for _ in range(30):
        _, targets = apply(make(crowd=torch.tensor([False, True])), ObjectCrop([4, 6]))
        assert targets.labels.tolist() == [5]
        assert targets.boxes.tolist() == [[0, 0, 6, 4]]


def test_object_crop_fractional_box_loses_less_than_pixel() -> None:
    sample = make()
    assert sample.targets is not None
    boxes = torch.tensor([[2.5, 4.25, 12.5, 10.25]])
    sample = replace(sample, targets=replace(sample.targets[:1], boxes=boxes))
    _, targets = apply(sample, ObjectCrop([6, 10]))
    assert targets.boxes.tolist() == [[0.5, 0.25, 10, 6]]


def test_object_crop_rotated_box_and_no_boxes() -> None:
    torch.manual_seed(0)
    turned = torch.tensor([[10.0, 10, 12, 2, 90], [100, 100, 2, 2, 0]])
    sample = make()
    assert sample.targets is not None
    for _ in range(20):
        one = replace(sample, targets=Targets(boxes=turned[:1], labels=torch.tensor([5])))
        _, targets = apply(one, ObjectCrop([14, 6]))
        x, y = targets.boxes[0, :2].tolist()
        assert 1 <= x <= 5
        assert 6 <= y <= 8
    tops = {
        int(apply(replace(sample, targets=sample.targets[:0]), ObjectCrop([4, 4]))[0].image[0, 0, 0]) for _ in range(30)
    }
    assert len(tops) > 10
    assert compose([ObjectCrop([0.5, 0.5], "relative")])(Sample(image=sample.image)).size == (10, 20)
