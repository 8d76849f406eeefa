"""VocEvaluator: curves and matches worked out by hand."""

from typing import Any

import numpy as np
import pytest
import torch
from det_core.errors import DataError, StructureError
from det_core.structures import Detections, Prediction, Sample, Targets
from det_datasets.evaluators import VocEvaluator
from det_datasets.evaluators.voc import average_precision

SIZE = (100, 100)
LEFT, RIGHT, NOWHERE = (0, 0, 10, 10), (50, 0, 60, 10), (80, 80, 90, 90)
NEAR_LEFT = (0, 0, 10, 6)  # overlap 0.6


def sample(*boxes: Any, image_id: int = 1, difficult: Any = None, labels: Any = None) -> Sample:
    extras = {} if difficult is None else {"voc/difficult": torch.tensor(difficult)}
    targets = Targets(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels or [0] * len(boxes), dtype=torch.int64),
        extras=extras,
    )
    return Sample(image=torch.zeros(3, *SIZE, dtype=torch.uint8), targets=targets, id=image_id)


def says(*rows: Any, label: int = 0) -> Prediction:
    """Each row is a box and its score."""
    detections = Detections(
        boxes=torch.tensor([row[:4] for row in rows], dtype=torch.float32).reshape(-1, 4),
        labels=torch.full((len(rows),), label),
        scores=torch.tensor([row[4] for row in rows], dtype=torch.float32),
        size=SIZE,
    )
    return Prediction(detections=detections)


def judge(prediction: Prediction, truth: Sample, eleven_points: bool = False) -> dict[str, float]:
    evaluator = VocEvaluator(("dog", "cat"), eleven_points)
    evaluator.update(prediction, truth)
    return evaluator.result()


def test_average_precision_by_eleven_points_and_by_area() -> None:
    # Right, wrong, right, of three objects: recall 1/3, 1/3, 2/3 at precision 1, 1/2, 2/3.
    recall, precision = np.array([1, 1, 2]) / 3, np.array([1, 1 / 2, 2 / 3])
    assert average_precision(recall, precision, eleven_points=False) == pytest.approx(1 / 3 + 2 / 3 / 3)
    # Recalls 0 to 0.3 have precision 1, 0.4 to 0.6 have 2/3, and 0.7 to 1 none.
    assert average_precision(recall, precision, eleven_points=True) == pytest.approx((4 + 3 * 2 / 3) / 11)
    assert average_precision(recall[:0], precision[:0], eleven_points=True) == 0
    assert average_precision(recall[:0], precision[:0], eleven_points=False) == 0


def test_match_needs_iou_above_threshold_and_matches_once() -> None:
    figures = judge(says((*NEAR_LEFT, 0.9), (*RIGHT, 0.8), (*LEFT, 0.7)), sample(LEFT, RIGHT))
    # The first overlaps its object by 0.6, in float32 a hair more: right at 0.5 and 0.55, where the third
    # is a second one of the same object. From 0.6 on, the first is wrong and the others are right.
    assert figures["voc/AP50"] == 1
    assert figures["voc/AP75"] == pytest.approx(2 / 3)
    assert figures["voc/AP"] == pytest.approx((2 + 8 * 2 / 3) / 10)
    assert figures["voc/AP50/dog"] == 1
    assert "voc/AP50/cat" not in figures


def test_difficult_objects_neither_count_nor_harm() -> None:
    truth = sample(LEFT, RIGHT, difficult=[True, False])
    assert judge(says((*LEFT, 0.9), (*LEFT, 0.85), (*RIGHT, 0.8)), truth)["voc/AP50"] == 1
    assert judge(says((*NOWHERE, 0.9), (*RIGHT, 0.8)), truth)["voc/AP50"] == pytest.approx(1 / 2)


def test_detections_of_all_images_are_ranked_together() -> None:
    evaluator = VocEvaluator(("dog", "cat"), eleven_points=False)
    evaluator.update(says((*LEFT, 0.3), (*NOWHERE, 0.9)), sample(LEFT))
    evaluator.update(says((*RIGHT, 0.5)), sample(RIGHT, image_id=2))
    evaluator.update(says((*RIGHT, 0.1), label=1), sample(RIGHT, image_id=3, labels=[1]))
    figures = evaluator.result()
    # Wrong, right, right of two dogs; precision 1/2 and 2/3, of which the better holds for both.
    assert figures["voc/AP50/dog"] == pytest.approx(2 / 3)
    assert figures["voc/AP50/cat"] == 1
    assert figures["voc/AP50"] == pytest.approx(5 / 6)


def test_processes_put_their_images_together() -> None:
    evaluators = [VocEvaluator(("dog", "cat")) for _ in range(3)]
    for number in (1, 2):
        for each in (evaluators[0], evaluators[number]):
            each.update(says((*LEFT, 0.9 / number)), sample(LEFT, RIGHT, image_id=number))
    evaluators[1].merge([each.state() for each in evaluators[1:]])
    assert evaluators[1].result() == evaluators[0].result()


def test_invalid_inputs_are_reported() -> None:
    evaluator = VocEvaluator(("dog", "cat"))
    assert evaluator.result() == {}
    assert evaluator.notes["voc/AP"] == "no image was evaluated"
    evaluator.update(says(), sample())
    assert evaluator.result() == {}
    assert evaluator.notes["voc/AP"] == "the ground truth has no object"
    with pytest.raises(DataError, match="was evaluated before"):
        evaluator.update(says(), sample())
    with pytest.raises(StructureError, match="has a label without a class"):
        evaluator.update(says((*LEFT, 0.5), label=2), sample(image_id=2))
    with pytest.raises(StructureError, match="non-finite"):
        evaluator.update(says((*LEFT, float("nan"))), sample(image_id=2))
    with pytest.raises(StructureError, match="has no detections"):
        evaluator.update(Prediction(), sample(image_id=2))
