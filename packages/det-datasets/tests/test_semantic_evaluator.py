"""MeanIoU, by hand."""

from typing import Any

import pytest
import torch
from det_core.errors import DataError, StructureError
from det_core.structures import Prediction, Sample, SemanticMap, Targets
from det_datasets.evaluators import MeanIoU

CLASSES = ("road", "sky", "sea")


def sample(truth: Any, image_id: int = 1) -> Sample:
    semantic = torch.tensor(truth)
    targets = Targets(boxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.int64), semantic=semantic)
    return Sample(image=torch.zeros(3, *semantic.shape, dtype=torch.uint8), targets=targets, id=image_id)


def says(classes: Any) -> Prediction:
    logits = torch.nn.functional.one_hot(torch.tensor(classes), 3).permute(2, 0, 1).float()
    return Prediction(semantic=SemanticMap(logits=logits))


def test_overlaps_are_counted_over_all_images_without_unknown_pixels() -> None:
    judge = MeanIoU(CLASSES)
    judge.update(says([[0, 0, 1, 1]]), sample([[0, 1, 1, 255]]))
    judge.update(says([[1, 1, 2, 0]]), sample([[1, 1, 1, 0]], 2))
    # road: 2 right of 2 true and 3 called; sky: 3 right of 5 true and 3 called.
    figures = judge.result()
    assert figures["semantic/IoU/road"] == pytest.approx(2 / 3)
    assert figures["semantic/IoU/sky"] == pytest.approx(3 / 5)
    assert figures["semantic/mIoU"] == pytest.approx((2 / 3 + 3 / 5) / 2)
    assert figures["semantic/fwIoU"] == pytest.approx((2 / 3 * 2 + 3 / 5 * 5) / 7)
    assert figures["semantic/mACC"] == pytest.approx((1 + 3 / 5) / 2)
    assert figures["semantic/pACC"] == pytest.approx(5 / 7)
    assert judge.notes == {"semantic/IoU/sea": "the ground truth has no pixel of class 'sea'"}


def test_processes_put_their_images_together() -> None:
    alone, first, second = MeanIoU(CLASSES), MeanIoU(CLASSES), MeanIoU(CLASSES)
    for number, judge in enumerate((first, second), 1):
        for each in (alone, judge):
            each.update(says([[0, number]]), sample([[0, 1]], number))
    second.merge([first.state(), second.state(), first.state()])
    assert second.result() == alone.result()


def test_invalid_inputs_are_reported() -> None:
    judge = MeanIoU(CLASSES)
    assert judge.result() == {}
    judge.update(says([[0]]), sample([[0]]))
    with pytest.raises(DataError, match="image 1: was evaluated before"):
        judge.update(says([[0]]), sample([[0]]))
    with pytest.raises(StructureError, match=r"image 2: its semantic map has another shape; \(3, 1, 1\) instead of"):
        judge.update(says([[0]]), sample([[0, 1]], 2))
    with pytest.raises(StructureError, match="has no semantic map"):
        judge.update(Prediction(), sample([[0, 1]], 2))
    with pytest.raises(DataError, match="has no semantic map"):
        judge.update(says([[0]]), Sample(image=torch.zeros(3, 1, 1, dtype=torch.uint8), id=3))
