"""CocoEvaluator on rotated boxes."""

import json
import math
from typing import Any

import pytest
import torch
from det_core.errors import StructureError
from det_core.evaluation import CocoEvaluator, to_coco
from det_core.structures import Detections, Prediction, Sample, Targets
from det_devkit.coco_files import from_coco
from hypothesis import given, settings
from hypothesis import strategies as st

SIZE = (120, 160)
BOX = [60.0, 50.0, 60.0, 30.0, 30.0]
FAR = [120.0, 90.0, 40.0, 20.0, -70.0]


def sample(*boxes: list[float], id: int = 1, **fields: Any) -> Sample:
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    targets = Targets(boxes=torch.tensor(boxes).reshape(-1, 5), labels=labels, **fields)
    return Sample(image=torch.zeros((3, *SIZE), dtype=torch.uint8), targets=targets, id=id)


def found(*boxes: list[float], scores: list[float] | None = None) -> Prediction:
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    given = torch.tensor(scores or [0.9] * len(boxes))
    boxes_ = torch.tensor(boxes).reshape(-1, 5)
    return Prediction(detections=Detections(boxes=boxes_, labels=labels, scores=given, size=SIZE))


def judged(*pairs: tuple[Prediction, Sample]) -> dict[str, float]:
    evaluator = CocoEvaluator(classes=["ship"])
    for guess, truth in pairs:
        evaluator.update(guess, truth)
    return evaluator.result()


def test_iou_is_that_of_rotated_rectangles() -> None:
    # Moved by a fifth of w along w: 0.8 of it is shared, 0.8 / 1.2 = 2 / 3, which passes the thresholds 0.5 to 0.65.
    along = [12 * math.cos(math.radians(30)), -12 * math.sin(math.radians(30))]
    figures = judged((found([60 + along[0], 50 + along[1], 60.0, 30.0, 30.0]), sample(BOX)))
    assert figures["bbox/AP"] == pytest.approx(0.4)
    assert (figures["bbox/AP50"], figures["bbox/AP75"]) == (pytest.approx(1.0), 0.0)


def test_box_rotated_by_90_degrees_is_another_box() -> None:
    # 60 x 30 across itself shares 30 x 30 of 1800 + 1800 - 900: one third.
    assert judged((found([60.0, 50.0, 60.0, 30.0, 120.0]), sample(BOX)))["bbox/AP50"] == 0.0
    swapped = [60.0, 50.0, 30.0, 60.0, 120.0]  # the same rectangle under another name
    assert judged((found(swapped), sample(BOX)))["bbox/AP"] == pytest.approx(1.0)


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([-720.0, -360.0, -180.0, 180.0, 360.0, 540.0]))
def test_box_rotated_by_180_degrees_is_same_box(turn: float) -> None:
    assert judged((found([*BOX[:4], BOX[4] + turn]), sample(BOX)))["bbox/AP"] == pytest.approx(1.0)


def test_ap_is_independent_of_box_and_image_order() -> None:
    near = [62.0, 51.0, 55.0, 30.0, 36.0]
    pairs = [(found(near, FAR, scores=[0.4, 0.8]), sample(BOX, FAR)), (found(BOX), sample(FAR, id=2))]
    turned = [(pairs[1][0], pairs[1][1]), (found(FAR, near, scores=[0.8, 0.4]), sample(FAR, BOX))]
    figures = judged(*pairs)
    assert 0 < figures["bbox/AP"] < 1
    assert judged(*turned) == figures


def test_sizes_go_by_the_product_of_the_sides() -> None:
    thin = [80.0, 60.0, 150.0, 6.0, 35.0]  # 900 square pixels, although its upright box covers many more
    figures = judged((found(thin), sample(thin)))
    assert figures["bbox/APs"] == pytest.approx(1.0)
    assert "bbox/APm" not in figures


def test_images_without_detections_or_objects_are_accepted() -> None:
    assert judged((found(), sample(BOX)))["bbox/AP"] == 0.0
    false = found(BOX, scores=[0.95]), sample(id=2)
    assert judged((found(BOX), sample(BOX)), false)["bbox/AP"] == pytest.approx(0.5)
    assert "bbox/AP" not in judged((found(BOX), sample()))


def test_detections_within_a_crowd_are_forgiven() -> None:
    crowd = torch.tensor([False, True])
    region = [120.0, 90.0, 60.0, 40.0, 20.0]
    inside = [118.0, 91.0, 10.0, 5.0, 77.0]
    truth = sample(BOX, region, crowd=crowd)
    figures = judged((found(inside, BOX, scores=[0.95, 0.9]), truth))
    assert figures["bbox/AP"] == pytest.approx(1.0)
    outside = [20.0, 100.0, 10.0, 5.0, 77.0]
    assert judged((found(outside, BOX, scores=[0.95, 0.9]), truth))["bbox/AP"] == pytest.approx(0.5, abs=0.01)


def test_boxes_of_two_forms_are_refused() -> None:
    upright = Detections(
        boxes=torch.tensor([[0.0, 0.0, 9.0, 9.0]]), labels=torch.tensor([0]), scores=torch.tensor([0.5]), size=SIZE
    )
    with pytest.raises(StructureError, match=r"image 1: its prediction: must be boxes of shape \(N, 5\)"):
        judged((Prediction(detections=upright), sample(BOX)))
    level = Targets(boxes=upright.boxes, labels=upright.labels)
    other = Sample(image=torch.zeros((3, *SIZE), dtype=torch.uint8), targets=level, id=2)
    with pytest.raises(StructureError, match="image 2: its ground truth"):
        judged((found(BOX), sample(BOX)), (Prediction(detections=upright), other))


def test_masks_with_rotated_boxes_are_refused() -> None:
    masks = torch.ones(1, *SIZE, dtype=torch.bool)
    evaluator = CocoEvaluator(classes=["ship"], iou_types=["bbox", "segm"])
    prediction = found(BOX).detections
    assert prediction is not None
    guess = Detections(
        boxes=prediction.boxes, labels=prediction.labels, scores=prediction.scores, size=SIZE, masks=masks
    )
    with pytest.raises(StructureError, match="rotated"):
        evaluator.update(Prediction(detections=guess), sample(BOX, masks=masks))


def test_results_are_written_with_five_numbers_and_read_again() -> None:
    detections = found(BOX, FAR, scores=[0.75, 0.5]).detections
    assert detections is not None
    written = json.loads(json.dumps(to_coco(detections, image_id=7, category_ids=[3])))
    assert written[0] == {"image_id": 7, "category_id": 3, "bbox": BOX, "score": 0.75}
    read = from_coco(written, SIZE, [3])
    assert torch.equal(read.boxes, detections.boxes)
    assert torch.equal(read.scores, detections.scores)
