"""LvisEvaluator: which detections count where, worked out by hand."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from det_core.errors import ConfigError, DataError
from det_core.evaluation import CocoEvaluator
from det_core.structures import Detections, Prediction, Sample, Targets
from det_datasets.evaluators import LvisEvaluator

SIZE = (100, 100)
CLASSES = ("ant", "cup", "yak")  # frequent, common, rare
LEFT, RIGHT, NOWHERE = (0, 0, 40, 40), (50, 0, 90, 40), (50, 50, 90, 90)


def sample(*objects: Any, negative: Any = (), not_exhaustive: Any = (), image_id: int = 1) -> Sample:
    """Each object is a label and a box."""
    extras = {"lvis/negative": negative, "lvis/not_exhaustive": not_exhaustive, "lvis/frequency": (2, 1, 0)}
    targets = Targets(
        boxes=torch.tensor([box for _, box in objects], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([label for label, _ in objects], dtype=torch.int64),
        image_extras={key: torch.tensor(labels, dtype=torch.int64) for key, labels in extras.items()},
    )
    return Sample(image=torch.zeros(3, *SIZE, dtype=torch.uint8), targets=targets, id=image_id)


def says(*rows: Any) -> Prediction:
    """Each row is a label, a box and its score."""
    detections = Detections(
        boxes=torch.tensor([box for _, box, _ in rows], dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor([label for label, _, _ in rows], dtype=torch.int64),
        scores=torch.tensor([score for *_, score in rows]),
        size=SIZE,
    )
    return Prediction(detections=detections)


def judge(prediction: Prediction, truth: Sample, **options: Any) -> dict[str, float]:
    evaluator = LvisEvaluator(CLASSES, **options)
    evaluator.update(prediction, truth)
    return evaluator.result()


def test_classes_are_grouped_by_their_frequency() -> None:
    truth = sample((0, LEFT), (1, LEFT), (2, LEFT))
    figures = judge(says((0, LEFT, 0.9), (1, NOWHERE, 0.8), (2, NOWHERE, 0.7), (2, LEFT, 0.6)), truth)
    # The rare one is found after a wrong one.
    assert figures["bbox/APf"] == pytest.approx(1)
    assert figures["bbox/APc"] == 0
    assert figures["bbox/APr"] == pytest.approx(0.5)
    assert figures["bbox/AP"] == pytest.approx(0.5)
    assert figures["bbox/AR300"] == pytest.approx(2 / 3)
    assert figures["bbox/APm"] == pytest.approx(0.5)
    assert "bbox/APs" not in figures


def test_class_is_evaluated_where_present_or_verified_absent() -> None:
    evaluator = LvisEvaluator(CLASSES)
    wrong = says((0, LEFT, 0.9))
    evaluator.update(wrong, sample((1, RIGHT)))  # nobody looked for ants
    evaluator.update(says((0, LEFT, 0.5)), sample((0, LEFT), image_id=2))
    assert evaluator.result()["bbox/APf"] == pytest.approx(1)
    evaluator.update(wrong, sample((1, RIGHT), negative=[0], image_id=3))
    assert evaluator.result()["bbox/APf"] == pytest.approx(0.5)


def test_unmatched_detections_are_ignored_where_not_exhaustive() -> None:
    guess = says((0, NOWHERE, 0.9), (0, LEFT, 0.5))
    assert judge(guess, sample((0, LEFT)))["bbox/AP"] == pytest.approx(0.5)
    assert judge(guess, sample((0, LEFT), not_exhaustive=[0]))["bbox/AP"] == pytest.approx(1)


def test_max_detections_are_kept_over_all_classes() -> None:
    guess = says((1, NOWHERE, 0.9), (2, NOWHERE, 0.8), (0, LEFT, 0.5))
    assert judge(guess, sample((0, LEFT)), max_detections=3)["bbox/AP"] == pytest.approx(1)
    figures = judge(guess, sample((0, LEFT)), max_detections=2)
    assert figures["bbox/AP"] == 0
    assert "bbox/AR2" in figures


def test_exhaustive_annotations_give_coco_metrics() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = LvisEvaluator(CLASSES), CocoEvaluator(CLASSES)
    for image_id in range(12):
        places = torch.randint(0, 60, (4, 2), generator=generator)
        boxes = [(x, y, x + 20 + 5 * n, y + 30) for n, (x, y) in enumerate(places.tolist())]
        truth = sample(*((n % 3, box) for n, box in enumerate(boxes)), negative=[0, 1, 2], image_id=image_id)
        noise = (torch.randn(8, 4, generator=generator) * 3).tolist()
        scores = torch.rand(8, generator=generator).tolist()
        rows = [(n % 3, tuple(a + b for a, b in zip(boxes[n % 4], noise[n], strict=True)), scores[n]) for n in range(8)]
        for evaluator in (ours, theirs):
            evaluator.update(says(*rows), truth)
    mine, reference = ours.result(), theirs.result()
    assert 0.02 < mine["bbox/AP"] < 0.9
    for name in ("AP", "AP50", "AP75", "APm"):
        assert mine[f"bbox/{name}"] == pytest.approx(reference[f"bbox/{name}"])


def test_processes_put_their_images_together() -> None:
    evaluators = [LvisEvaluator(CLASSES) for _ in range(3)]
    for number in (1, 2):
        for each in (evaluators[0], evaluators[number]):
            each.update(says((0, LEFT, 0.9 / number)), sample((0, LEFT), (0, RIGHT), image_id=number))
    evaluators[1].merge([each.state() for each in evaluators[1:]])
    assert evaluators[1].result() == evaluators[0].result()


def test_invalid_inputs_are_reported() -> None:
    evaluator = LvisEvaluator(CLASSES)
    assert evaluator.result() == {}
    assert evaluator.notes["bbox/AP"] == "no image was evaluated"
    truth = sample((0, LEFT))
    assert truth.targets is not None
    bare = replace(truth, targets=replace(truth.targets, image_extras={}))
    with pytest.raises(DataError, match="lacks the extra 'lvis/negative' of LVIS datasets; evaluate on a dataset"):
        evaluator.update(says(), bare)
    with pytest.raises(ConfigError, match="must be some of 'bbox' and 'segm'"):
        LvisEvaluator(CLASSES, ("keypoints",))
