"""Keypoints by object keypoint similarity: worked out by hand, and equal to pycocotools called directly."""

import io
import json
import math
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.data import CocoDataset
from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation import CocoEvaluator, to_coco
from det_core.structures import Detections, Prediction, Sample, Targets
from det_devkit import coco_files
from det_devkit.coco_files import from_coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = (30, 40)
NAMES = [f"point {number}" for number in range(17)]


def judged(distance: float, **options: Any) -> dict[str, float]:
    """One object of 50 x 50 pixels with two keypoints, one of them labelled and found at a distance."""
    box = torch.tensor([[0.0, 0, 50, 50]])
    truth = Targets(boxes=box, labels=torch.tensor([0]), keypoints=torch.tensor([[[20.0, 20, 2], [0, 0, 0]]]))
    points = torch.tensor([[[20.0 + distance, 20, 0.9], [3, 3, 0.9]]])
    guess = Detections(boxes=box, labels=torch.tensor([0]), scores=torch.tensor([0.8]), size=(60, 60), keypoints=points)
    judge = CocoEvaluator(("person",), ("keypoints",), sigmas=(0.1, 0.1), **options)
    judge.update(Prediction(detections=guess), Sample(image=torch.zeros(3, 60, 60, dtype=torch.uint8), targets=truth))
    return judge.result()


def test_oks_decreases_with_distance_in_multiples_of_sigma() -> None:
    # OKS = exp(-d^2 / (2 area (2 sigma)^2)), here exp(-d^2 / 200).
    assert judged(0.0)["keypoints/AP"] == pytest.approx(1)
    figures = judged(math.sqrt(-200 * math.log(0.71)))  # reaches 0.5, 0.55, 0.6, 0.65 and 0.7 of the ten thresholds
    assert figures["keypoints/AP"] == pytest.approx(0.5)
    assert figures["keypoints/AP50"] == pytest.approx(1)
    assert figures["keypoints/AP75"] == 0
    assert figures["keypoints/APm"] == pytest.approx(0.5)
    assert not {"keypoints/APs", "keypoints/APl"} & set(figures)
    assert judged(math.sqrt(-200 * math.log(0.49)))["keypoints/AP"] == 0
    assert "keypoints/AR7" in judged(0.0, max_keypoint_detections=7)


def generated(folder: Path) -> tuple[CocoDataset, Path, list[dict[str, Any]]]:
    """Images with crowds, objects without keypoints, points that are not labelled, and noisy detections of them."""
    random = np.random.default_rng(0)
    data = coco_files.content(8)
    data["categories"] = [{"id": 7, "name": "person", "keypoints": NAMES}]
    results = []
    for number, annotation in enumerate(data["annotations"]):
        x, y, w, h = annotation["bbox"] = [*random.integers(0, 12, 2).tolist(), *random.integers(8, 18, 2).tolist()]
        annotation |= {"category_id": 7, "area": float(w * h) * random.choice([0.6, 9.0, 90.0])}
        points = np.stack((random.integers(x, x + w, 17), random.integers(y, y + h, 17), random.integers(0, 3, 17)), 1)
        points[points[:, 2] == 0] = 0
        points = points * (number % 7 > 0)
        annotation |= {"keypoints": points.ravel().tolist(), "num_keypoints": int((points[:, 2] > 0).sum())}
        noisy = points + random.normal(0, random.choice([0.3, 1.5, 4.0]), points.shape)
        box = [float(x), float(y), float(w), float(h)]
        results.append({"image_id": annotation["image_id"], "category_id": 7, "bbox": box})
        results[-1] |= {"score": float(np.float32(random.random())), "keypoints": noisy.astype("f4").ravel().tolist()}
        results.append(results[-1] | {"score": float(np.float32(random.random() / 2))})
    images, annotations = coco_files.write(folder, data)
    return CocoDataset(images, annotations, keypoints=True), annotations, results


def test_figures_are_those_of_pycocotools(tmp_path: Path) -> None:
    dataset, annotations, results = generated(tmp_path)
    judge = CocoEvaluator(dataset.classes, ("bbox", "keypoints"))
    for index in range(len(dataset)):
        sample = dataset[index]
        own = [result for result in results if result["image_id"] == sample.id]
        judge.update(Prediction(detections=from_coco(own, SIZE, dataset.category_ids)), sample)
    (tmp_path / "results.json").write_text(json.dumps(results))
    figures = judge.result()
    with redirect_stdout(io.StringIO()):
        truth = COCO(annotations)
        direct = COCOeval(truth, truth.loadRes(str(tmp_path / "results.json")), "keypoints")
        direct.evaluate()
        direct.accumulate()
        direct.summarize()
    ours = [figures[f"keypoints/{name}"] for name in ("AP", "AP50", "AP75", "APm", "APl", "AR20")]
    np.testing.assert_allclose(ours, direct.stats[:6], atol=1e-6)
    assert 0.05 < direct.stats[0] < 0.95
    assert "bbox/APs" in figures


def test_results_keep_their_keypoints(tmp_path: Path) -> None:
    _, _, results = generated(tmp_path)
    own = sorted((r for r in results if r["image_id"] == 14), key=lambda result: -result["score"])
    again = to_coco(from_coco(own, SIZE, (7,)), 14, (7,))
    for before, after in zip(own, again, strict=True):
        np.testing.assert_allclose(after["keypoints"], before["keypoints"], atol=1e-5)


def test_invalid_keypoints_are_reported() -> None:
    box, label = torch.tensor([[0.0, 0, 5, 5]]), torch.tensor([0])
    image = torch.zeros(3, *SIZE, dtype=torch.uint8)
    bare = Sample(image=image, targets=Targets(boxes=box, labels=label))
    pointed = Sample(image=image, targets=Targets(boxes=box, labels=label, keypoints=torch.ones(1, 17, 3)))
    guess = Detections(boxes=box, labels=label, scores=torch.ones(1), size=SIZE)
    judge = CocoEvaluator(("person",), ("keypoints",))
    with pytest.raises(
        DataError, match="its ground truth has no keypoints to compare; load the dataset with keypoints"
    ):
        judge.update(Prediction(detections=guess), bare)
    with pytest.raises(DataError, match="its prediction has no keypoints"):
        judge.update(Prediction(detections=guess), pointed)
    with pytest.raises(StructureError, match="17 keypoints, but 1 sigmas; give the evaluator one sigma per keypoint"):
        CocoEvaluator(("person",), ("keypoints",), sigmas=(0.1,)).update(Prediction(detections=guess), pointed)
    with pytest.raises(ConfigError, match="sigmas: must be positive"):
        CocoEvaluator(("person",), ("keypoints",), sigmas=(0.1, 0.0))
    with pytest.raises(ConfigError, match="must be some of 'bbox', 'segm', 'keypoints'"):
        CocoEvaluator(("person",), ("points",))  # type: ignore[arg-type]
