"""Cityscapes' rules: figures worked out by hand, and those of the official script where it is installed."""

import sys
import types
from typing import Any

import numpy as np
import pytest
import torch
from det_core.contracts import Evaluator
from det_core.errors import DataError
from det_core.structures import Detections, Prediction, Sample, Targets
from det_datasets.evaluators import CityscapesEvaluator

SIZE = (80, 120)
NAMES = ("car", "person", "bus")
A, B = (0, 0, 20, 20), (40, 0, 60, 20)
Box = tuple[int, int, int, int]


def rectangle(box: Box) -> torch.Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def stack(masks: list[torch.Tensor]) -> torch.Tensor:
    return torch.stack(masks) if masks else torch.zeros((0, *SIZE), dtype=torch.bool)


def sample(masks: list[torch.Tensor], labels: list[int], crowd: list[bool], void: torch.Tensor, id: int = 1) -> Sample:
    targets = Targets(
        boxes=torch.zeros(len(masks), 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        crowd=torch.tensor(crowd, dtype=torch.bool),
        masks=stack(masks),
        image_extras={"cityscapes/void": void},
    )
    return Sample(image=torch.zeros((3, *SIZE), dtype=torch.uint8), targets=targets, id=id)


def prediction(masks: list[torch.Tensor], labels: list[int], scores: list[float]) -> Prediction:
    detections = Detections(
        boxes=torch.zeros(len(masks), 4),
        labels=torch.tensor(labels, dtype=torch.int64),
        scores=torch.tensor(scores, dtype=torch.float64),
        size=SIZE,
        masks=stack(masks),
    )
    return Prediction(detections=detections)


def judged(
    truth: list[Box], found: list[tuple[Box, float]], crowds: list[Box] | None = None, void: Box = (0, 0, 0, 0)
) -> dict[str, float]:
    evaluator = CityscapesEvaluator(NAMES)
    every = [*truth, *(crowds or [])]
    crowd = [False] * len(truth) + [True] * len(crowds or [])
    seen = sample([rectangle(box) for box in every], [0] * len(every), crowd, rectangle(void))
    masks, scores = [rectangle(box) for box, _ in found], [score for _, score in found]
    evaluator.update(prediction(masks, [0] * len(found), scores), seen)
    return evaluator.result()


def test_it_is_an_evaluator() -> None:
    assert isinstance(CityscapesEvaluator(NAMES), Evaluator)


def test_perfect_masks_score_one() -> None:
    assert judged([A, B], [(A, 0.9), (B, 0.8)]) == {"segm/AP": 1.0, "segm/AP50": 1.0, "segm/AP/car": 1.0}


def test_ap_integrates_half_a_step_to_either_side() -> None:
    # A false alarm below both hits: (recall, precision) are (1, 2/3), (1, 1), (1/2, 1), (0, 1), so that the first
    # stands for nothing, the second for 1/4, the third for 1/2 and the last for 1/4.
    assert judged([A, B], [(A, 0.9), (B, 0.8), ((80, 40, 100, 60), 0.5)])["segm/AP50"] == pytest.approx(1.0)
    # Above both: (1, 2/3), (1/2, 1/2), (0, 0), (0, 1): 1/4, 1/2, 1/4 and 0.
    figures = judged([A, B], [(A, 0.8), (B, 0.7), ((80, 40, 100, 60), 0.9)])
    assert figures["segm/AP50"] == pytest.approx(2 / 3 / 4 + 1 / 4)


def test_iou_must_exceed_threshold() -> None:
    # Half of the object: an overlap of 0.5 exactly, and none of its own pixels is forgiven.
    assert judged([A], [((0, 0, 20, 10), 0.9)])["segm/AP50"] == 0.0
    assert judged([A], [((0, 0, 20, 11), 0.9)])["segm/AP50"] == 1.0
    assert judged([A], [((0, 0, 20, 11), 0.9)])["segm/AP"] == pytest.approx(0.1)


@pytest.mark.parametrize("where", ["crowd", "void", "small"])
def test_detection_on_crowd_void_or_tiny_object_is_ignored(where: str) -> None:
    place = (80, 40, 89, 50)  # 90 pixels
    more: dict[str, Any] = {"crowd": {"crowds": [place]}, "void": {"void": place}, "small": {}}[where]
    truth = [A, place] if where == "small" else [A]
    assert judged(truth, [(A, 0.8), (place, 0.9)], **more)["segm/AP"] == 1.0
    assert judged([A], [(A, 0.8), (place, 0.9)])["segm/AP"] < 1.0


def test_classes_without_objects_are_left_out_with_a_note() -> None:
    evaluator = CityscapesEvaluator(NAMES)
    assert evaluator.result() == {}
    assert evaluator.notes["segm/AP"] == "no image was evaluated"
    evaluator.update(prediction([], [], []), sample([rectangle(A)], [2], [False], rectangle((0, 0, 0, 0))))
    assert evaluator.result() == {"segm/AP": 0.0, "segm/AP50": 0.0, "segm/AP/bus": 0.0}
    assert evaluator.notes["segm/AP/car"] == "the ground truth has no object of class 'car'"


def test_masks_are_needed() -> None:
    bare = Targets(boxes=torch.zeros(1, 4), labels=torch.zeros(1, dtype=torch.int64))
    seen = Sample(image=torch.zeros((3, *SIZE), dtype=torch.uint8), targets=bare)
    with pytest.raises(DataError, match="its ground truth has no masks to compare"):
        CityscapesEvaluator(NAMES).update(prediction([], [], []), seen)


def scene(seed: int, number: int) -> tuple[Prediction, Sample]:
    """Objects that hide each other, crowds, void, tiny ones; detections that are moved, doubled, of nothing."""
    rng = np.random.default_rng((seed, number))

    def anywhere() -> torch.Tensor:
        x, y, w, h = (int(rng.integers(*limits)) for limits in ((0, 90), (0, 60), (4, 40), (4, 30)))
        return rectangle((x, y, x + w, y + h))

    drawn = torch.zeros(SIZE, dtype=torch.int64)
    for place in range(int(rng.integers(0, 7))):
        drawn[anywhere()] = place + 1
    masks = [drawn == value for value in drawn.unique().tolist() if value]
    labels = [int(rng.integers(0, 3)) for _ in masks]
    crowd = [bool(rng.random() < 0.2) for _ in masks]
    found = [(mask.roll(int(rng.integers(-3, 4)), 1), label) for mask, label in zip(masks, labels, strict=True)]
    found = [each for each in found for _ in range(int(rng.integers(0, 3)))] + [(anywhere(), int(rng.integers(0, 3)))]
    scores = [int(rng.integers(1, 10)) / 10 for _ in found]
    guess = prediction([mask for mask, _ in found], [label for _, label in found], scores)
    return guess, sample(masks, labels, crowd, anywhere() & (drawn == 0), number)


def matches(guess: Prediction, seen: Sample) -> dict[str, Any]:
    """The same as the official script would find it in its files."""
    assert seen.targets is not None
    assert guess.detections is not None
    truth: dict[str, list[Any]] = {name: [] for name in NAMES}
    found: dict[str, list[Any]] = {name: [] for name in NAMES}
    for place, (label, crowd) in enumerate(zip(seen.targets.labels.tolist(), seen.targets.crowd.tolist(), strict=True)):
        mask = seen.targets.masks[place]
        own = {"instID": 26 if crowd else 26000 + place, "pixelCount": int(mask.sum()), "medDist": -1, "distConf": 0.0}
        truth[NAMES[label]].append({**own, "matchedPred": [], "mask": mask})
    void = seen.targets.image_extras["cityscapes/void"]
    detections = guess.detections
    for mask, label, score in zip(
        detections.masks, detections.labels.tolist(), detections.scores.tolist(), strict=True
    ):
        own = {"pixelCount": int(mask.sum()), "confidence": score, "voidIntersection": int((mask & void).sum())}
        own["matchedGt"] = []
        for each in truth[NAMES[label]]:
            if shared := int((each["mask"] & mask).sum()):
                each["matchedPred"].append({**own, "intersection": shared})
                own["matchedGt"].append({**each, "intersection": shared})
        if own["pixelCount"]:
            found[NAMES[label]].append(own)
    return {"groundTruth": truth, "prediction": found}


@pytest.mark.parametrize("seed", range(6))
def test_figures_are_those_of_the_official_script(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # The script imports what only its 3D boxes need.
    monkeypatch.setitem(sys.modules, "pyquaternion", types.SimpleNamespace(Quaternion=object))
    script = pytest.importorskip(
        "cityscapesscripts.evaluation.evalInstanceLevelSemanticLabeling", reason="cityscapesScripts is not installed"
    )
    evaluator = CityscapesEvaluator(NAMES)
    scenes = [scene(seed, number) for number in range(6)]
    for guess, seen in scenes:
        evaluator.update(guess, seen)
    arguments = types.SimpleNamespace(
        overlaps=np.arange(0.5, 1.0, 0.05),
        minRegionSizes=np.array([100]),
        distanceThs=np.array([np.inf]),
        distanceConfs=np.array([-np.inf]),
        distanceAvailable=False,
        instLabels=NAMES,
    )
    theirs = script.evaluateMatches({number: matches(*each) for number, each in enumerate(scenes)}, arguments)[0]
    ours = evaluator.result()
    assert ours["segm/AP"] == pytest.approx(np.nanmean(theirs), abs=1e-12)
    assert ours["segm/AP50"] == pytest.approx(np.nanmean(theirs[:, 0]), abs=1e-12)


def test_merge_of_two_processes_equals_one() -> None:
    whole, joined = CityscapesEvaluator(NAMES), CityscapesEvaluator(NAMES)
    halves = [CityscapesEvaluator(NAMES) for _ in range(2)]
    for number in range(6):
        for evaluator in (whole, halves[number % 2]):
            evaluator.update(*scene(0, number))
    joined.merge([half.state() for half in halves])
    assert joined.result() == whole.result()
