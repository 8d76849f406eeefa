"""CocoEvaluator: figures worked out by hand, then equality with pycocotools on files."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from det_core.contracts import Evaluator
from det_core.errors import ConfigError, DataError, StructureError
from det_core.evaluation import CocoEvaluator, to_coco
from det_core.structures import Detections, Polygons, Prediction, Sample, Targets
from det_devkit.coco_files import from_coco
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

SIZE = (120, 160)


def sample(boxes: list[list[float]], labels: list[int] | None = None, id: int | str = 1, **fields: Any) -> Sample:
    targets = Targets(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        labels=torch.tensor(labels or [0] * len(boxes), dtype=torch.int64),
        **fields,
    )
    return Sample(image=torch.zeros((3, *SIZE), dtype=torch.uint8), targets=targets, id=id)


def prediction(
    boxes: list[list[float]],
    scores: list[float] | None = None,
    labels: list[int] | None = None,
    masks: torch.Tensor | None = None,
    size: tuple[int, int] = SIZE,
) -> Prediction:
    detections = Detections(
        boxes=torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor(scores or [0.9] * len(boxes), dtype=torch.float32),
        labels=torch.tensor(labels or [0] * len(boxes), dtype=torch.int64),
        size=size,
        masks=masks,
    )
    return Prediction(detections=detections)


def judged(*pairs: tuple[Prediction, Sample], classes: tuple[str, ...] = ("cell",), **options: Any) -> dict[str, float]:
    evaluator = CocoEvaluator(classes=classes, **options)
    for guess, truth in pairs:
        evaluator.update(guess, truth)
    return evaluator.result()


BOX = [10.0, 10.0, 50.0, 50.0]  # 1600 square pixels: medium
OTHER = [80.0, 20.0, 140.0, 100.0]  # 4800: medium
TINY = [100.0, 5.0, 110.0, 15.0]  # 100: small


def test_it_is_an_evaluator() -> None:
    assert isinstance(CocoEvaluator(classes=["a"]), Evaluator)


def test_perfect_detections_score_one() -> None:
    figures = judged((prediction([BOX, TINY]), sample([BOX, TINY])))
    for name in ("AP", "AP50", "AP75", "APs", "APm", "AR100", "AP/cell"):
        assert figures[f"bbox/{name}"] == pytest.approx(1.0)


def test_no_detection_scores_zero() -> None:
    figures = judged((prediction([]), sample([BOX])))
    assert figures["bbox/AP"] == figures["bbox/AR100"] == 0.0


def test_false_positive_above_only_match_halves_precision() -> None:
    figures = judged((prediction([OTHER, BOX], [0.9, 0.8]), sample([BOX])))
    assert figures["bbox/AP"] == pytest.approx(0.5)
    assert figures["bbox/AR100"] == pytest.approx(1.0)


def test_false_positive_below_only_match_leaves_ap_unchanged() -> None:
    assert judged((prediction([BOX, OTHER], [0.9, 0.8]), sample([BOX])))["bbox/AP"] == pytest.approx(1.0)


def test_one_of_two_objects_gives_51_of_101_recalls() -> None:
    figures = judged((prediction([BOX]), sample([BOX, OTHER])))
    assert figures["bbox/AP"] == pytest.approx(51 / 101)
    assert figures["bbox/AR100"] == pytest.approx(0.5)


def test_box_shifted_by_tenth_matches_up_to_its_iou() -> None:
    # 40 x 40 moved by 4: intersection 36 * 40, union 44 * 40, overlap 0.818: right at 0.5 to 0.8, 7 of 10 thresholds.
    figures = judged((prediction([[14, 10, 54, 50]]), sample([BOX])))
    assert figures["bbox/AP"] == pytest.approx(0.7)
    assert figures["bbox/AP75"] == pytest.approx(1.0)


def test_box_shifted_by_fifth_matches_at_50_only() -> None:
    # Moved by 8: 32 / 48 = 0.667: right at 0.5, 0.55, 0.6, 0.65.
    figures = judged((prediction([[18, 10, 58, 50]]), sample([BOX])))
    assert figures["bbox/AP50"] == pytest.approx(1.0)
    assert figures["bbox/AP75"] == pytest.approx(0.0)
    assert figures["bbox/AP"] == pytest.approx(0.4)


def test_duplicate_detection_of_object_is_false_positive() -> None:
    figures = judged((prediction([BOX, BOX], [0.9, 0.8]), sample([BOX, OTHER])), (prediction([]), sample([], id=2)))
    assert figures["bbox/AP"] == pytest.approx(51 / 101)


def test_detection_inside_crowd_is_ignored() -> None:
    crowd = torch.tensor([False, True])
    truth = sample([BOX, OTHER], crowd=crowd)
    inside = [90.0, 30.0, 110.0, 60.0]
    assert judged((prediction([inside, BOX], [0.9, 0.8]), truth))["bbox/AP"] == pytest.approx(1.0)


def test_ap_is_averaged_over_classes() -> None:
    truth = sample([BOX, OTHER], [0, 1])
    figures = judged((prediction([BOX, OTHER], labels=[0, 0]), truth), classes=("cell", "platelet"))
    assert figures["bbox/AP/cell"] == pytest.approx(1.0)
    assert figures["bbox/AP/platelet"] == 0.0
    assert figures["bbox/AP"] == pytest.approx(0.5)


def test_class_without_objects_is_left_out_with_note() -> None:
    evaluator = CocoEvaluator(classes=("cell", "platelet"))
    evaluator.update(prediction([BOX]), sample([BOX]))
    figures = evaluator.result()
    assert "bbox/AP/platelet" not in figures
    assert "bbox/APl" not in figures
    assert evaluator.notes["bbox/AP/platelet"] == "the ground truth has no object of class 'platelet'"
    assert evaluator.notes["bbox/APl"] == "the ground truth has no object of more than 96 x 96 pixels"
    assert not any(np.isnan(value) for value in figures.values())


def test_result_without_images_is_empty_with_note() -> None:
    evaluator = CocoEvaluator(classes=("cell",))
    assert evaluator.result() == {}
    assert evaluator.notes["bbox/AP"] == "no image was evaluated"


def test_images_without_ground_truth_or_prediction_are_fine() -> None:
    evaluator = CocoEvaluator(classes=("cell",))
    evaluator.update(prediction([]), sample([]))
    assert evaluator.result() == {}
    assert evaluator.notes["bbox/AP"] == "the ground truth has no object"


def test_areas_are_taken_from_annotations() -> None:
    # The box is of medium size, but the object in it is said to cover 900 square pixels.
    figures = judged((prediction([BOX]), sample([BOX], areas=torch.tensor([900.0]))))
    assert figures["bbox/APs"] == pytest.approx(1.0)
    assert "bbox/APm" not in figures


def test_only_the_best_detections_count() -> None:
    guess = prediction([OTHER, BOX], [0.9, 0.8])
    figures = judged((guess, sample([BOX])), max_detections=1)
    assert figures["bbox/AR1"] == 0.0


def rectangle(box: list[float]) -> torch.Tensor:
    mask = torch.zeros(SIZE, dtype=torch.bool)
    x0, y0, x1, y1 = (int(value) for value in box)
    mask[y0:y1, x0:x1] = True
    return mask


def test_masks_are_compared_by_their_pixels() -> None:
    # The same box, but the mask covers the upper half of it: overlap 0.5, right at the first threshold only.
    truth = sample([BOX], masks=rectangle(BOX)[None])
    guess = prediction([BOX], masks=rectangle([10, 10, 50, 30])[None])
    figures = judged((guess, truth), iou_types=("bbox", "segm"))
    assert figures["bbox/AP"] == pytest.approx(1.0)
    assert figures["segm/AP"] == pytest.approx(0.1)
    assert figures["segm/APm"] == pytest.approx(0.1)


def test_three_hundred_masks_in_one_image_are_compared() -> None:
    boxes = [[float(x), float(y), x + 4.0, y + 4.0] for y in range(0, 75, 5) for x in range(0, 100, 5)]
    masks = torch.stack([rectangle(box) for box in boxes])
    figures = judged((prediction(boxes, masks=masks), sample(boxes, masks=masks)), iou_types=("segm",))
    assert figures["segm/AR100"] == pytest.approx(1 / 3)


def test_polygons_and_box_masks_evaluate_like_bitmaps() -> None:
    x0, y0, x1, y1 = BOX
    outline = Polygons.of([[[x0, y0, x1, y0, x1, y1, x0, y1]]])
    small = torch.zeros(1, 28, 28)
    small[:, :14] = 1.0  # the upper half of the box, as above
    figures = judged((prediction([BOX], masks=small), sample([BOX], masks=outline)), iou_types=("segm",))
    assert figures["segm/AP"] == pytest.approx(0.1)
    with pytest.raises(DataError, match="its ground truth has an object without polygon; set masks to 'bitmaps'"):
        judged((prediction([BOX]), sample([BOX], masks=Polygons.of([[]]))), iou_types=("segm",))


def test_masks_are_needed_to_compare_masks() -> None:
    evaluator = CocoEvaluator(classes=("cell",), iou_types=("segm",))
    with pytest.raises(
        DataError, match="image 1: its ground truth has no masks to compare; load the dataset with masks"
    ):
        evaluator.update(prediction([BOX]), sample([BOX]))
    with pytest.raises(DataError, match="its prediction has no masks"):
        evaluator.update(prediction([BOX]), sample([BOX], masks=rectangle(BOX)[None]))
    evaluator.update(prediction([]), sample([BOX], masks=rectangle(BOX)[None]))
    assert evaluator.result()["segm/AP"] == 0.0


def test_invalid_inputs_are_refused() -> None:
    evaluator = CocoEvaluator(classes=("cell",))
    with pytest.raises(StructureError, match="its prediction has no detections"):
        evaluator.update(Prediction(), sample([BOX]))
    with pytest.raises(DataError, match="has no annotations to evaluate on"):
        evaluator.update(prediction([]), Sample(image=torch.zeros((3, *SIZE), dtype=torch.uint8)))
    with pytest.raises(StructureError, match="has a label without a class; labels from 1 to 1 and 1 classes"):
        evaluator.update(prediction([BOX], labels=[1]), sample([BOX]))
    with pytest.raises(StructureError, match="its prediction has non-finite values"):
        evaluator.update(prediction([BOX], [float("nan")]), sample([BOX]))
    with pytest.raises(StructureError, match=r"another size; \(60, 80\) instead of \(120, 160\)"):
        evaluator.update(prediction([BOX], size=(60, 80)), sample([BOX]))
    with pytest.raises(ConfigError, match="iou_types"):
        CocoEvaluator(classes=("cell",), iou_types=("points",))  # type: ignore[arg-type]


def test_duplicate_image_is_refused() -> None:
    evaluator = CocoEvaluator(classes=("cell",))
    evaluator.update(prediction([BOX]), sample([BOX], id="a"))
    with pytest.raises(DataError, match="image a: was evaluated before"):
        evaluator.update(prediction([BOX]), sample([BOX], id="a"))


def test_merged_states_equal_whole_and_duplicates_count_once() -> None:
    pairs = [
        (prediction([BOX, OTHER], [0.9, 0.3]), sample([BOX], id=1)),
        (prediction([TINY]), sample([TINY, OTHER], id=2)),
        (prediction([OTHER]), sample([BOX], id=3)),
    ]
    first, second = CocoEvaluator(classes=("cell",)), CocoEvaluator(classes=("cell",))
    for guess, truth in pairs[:2]:
        first.update(guess, truth)
    for guess, truth in pairs[1:]:
        second.update(guess, truth)
    merged = CocoEvaluator(classes=("cell",))
    merged.merge([second.state(), first.state()])
    assert merged.result() == judged(*pairs)


def test_evaluation_prints_no_output(capfd: pytest.CaptureFixture[str]) -> None:
    judged((prediction([BOX]), sample([BOX])))
    assert capfd.readouterr().out == ""


def random_file(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A COCO file of 20 images with crowds, and results with ties. Quarter pixels, so that float32 is exact."""
    rng = np.random.default_rng(seed)

    def box() -> list[float]:
        x, y = rng.integers(0, 240, 2) / 4
        w, h = rng.integers(8, 480, 2) / 4
        return [float(x), float(y), float(w), float(h)]

    images = [{"id": 10 * i, "width": 200, "height": 200, "file_name": f"{i}.jpg"} for i in range(20, 0, -1)]
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in images:
        for _ in range(rng.integers(0, 9)):
            x, y, w, h = own = box()
            label = int(rng.integers(0, 3))
            number = len(annotations) + 1
            crowd = int(rng.random() < 0.15)
            area = float(rng.integers(1, 5)) / 4 * w * h
            annotations.append(
                {"id": number, "image_id": image["id"], "category_id": 5 - label, "bbox": own, "area": area}
                | {"iscrowd": crowd}
            )
            for _ in range(rng.integers(0, 3)):
                moved = [x + float(rng.integers(-8, 9)) / 2, y, w * float(rng.integers(3, 6)) / 4, h]
                results.append({"category_id": 5 - int(rng.integers(0, 3) * (rng.random() < 0.3) or label)})
                results[-1] |= {"image_id": image["id"], "bbox": moved, "score": float(rng.integers(1, 17)) / 16}
    categories = [{"id": 3, "name": "c"}, {"id": 4, "name": "b"}, {"id": 5, "name": "a"}, {"id": 9, "name": "none"}]
    return {"images": images, "annotations": annotations, "categories": categories}, results


def by_pycocotools(content: dict[str, Any], results: list[dict[str, Any]], path: Path) -> list[float]:
    path.write_text(json.dumps(content))
    with redirect_stdout(io.StringIO()):
        truth = COCO(str(path))
        judge = COCOeval(truth, truth.loadRes([dict(result) for result in results]), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return [float(value) for value in judge.stats]


@pytest.mark.parametrize("seed", range(5))
def test_figures_equal_those_of_pycocotools_on_the_file(tmp_path: Path, seed: int) -> None:
    content, results = random_file(seed)
    category_ids = [3, 4, 5, 9]
    evaluator = CocoEvaluator(classes=["c", "b", "a", "none"])
    for image in content["images"]:
        own = [entry for entry in content["annotations"] if entry["image_id"] == image["id"]]
        boxes = torch.tensor([entry["bbox"] for entry in own]).reshape(-1, 4)
        targets = Targets(
            boxes=torch.cat((boxes[:, :2], boxes[:, :2] + boxes[:, 2:]), 1),
            labels=torch.tensor([category_ids.index(entry["category_id"]) for entry in own], dtype=torch.int64),
            crowd=torch.tensor([entry["iscrowd"] for entry in own], dtype=torch.bool),
            areas=torch.tensor([entry["area"] for entry in own]),
        )
        stored = Sample(image=torch.zeros((3, 200, 200), dtype=torch.uint8), targets=targets, id=image["id"])
        said = [result for result in results if result["image_id"] == image["id"]]
        evaluator.update(Prediction(detections=from_coco(said, (200, 200), category_ids)), stored)
    figures = evaluator.result()
    expected = by_pycocotools(content, results, tmp_path / "truth.json")
    keys = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    assert [figures.get(f"bbox/{key}", -1.0) for key in keys] == expected[:6]
    assert figures["bbox/AR100"] == expected[8]
    assert 0.05 < figures["bbox/AP"] < 0.95


def test_results_go_to_the_coco_format_and_back() -> None:
    masks = torch.stack([rectangle(BOX), rectangle(OTHER)])
    detections = prediction([BOX, OTHER], [0.75, 0.5], [1, 0], masks=masks).detections
    assert detections is not None
    written = json.loads(json.dumps(to_coco(detections, image_id=7, category_ids=[3, 8])))
    assert written[0] | {"segmentation": None} == {
        "image_id": 7,
        "category_id": 8,
        "bbox": [10.0, 10.0, 40.0, 40.0],
        "score": 0.75,
        "segmentation": None,
    }
    read = from_coco(written, SIZE, [3, 8])
    assert torch.equal(read.boxes, detections.boxes)
    assert torch.equal(read.labels, detections.labels)
    assert torch.equal(read.scores, detections.scores)
    assert read.masks is not None
    assert torch.equal(read.masks, masks)


def test_keypoints_are_written_as_pixels() -> None:
    detections = Detections(
        boxes=torch.tensor([BOX]),
        scores=torch.tensor([1.0]),
        labels=torch.tensor([0]),
        size=SIZE,
        keypoints=torch.tensor([[[12.5, 20.5, 0.75]]]),
    )
    assert to_coco(detections, 1, [1])[0]["keypoints"] == [12.0, 20.0, 0.75]


def test_no_results_are_no_detections() -> None:
    assert len(from_coco([], SIZE, [1])) == 0
    detections = prediction([]).detections
    assert detections is not None
    assert to_coco(detections, 1, [1]) == []


def test_result_without_box_or_of_unknown_category_is_refused() -> None:
    with pytest.raises(DataError, match="KeyError: 'bbox'; each result needs"):
        from_coco([{"image_id": 1, "category_id": 1, "score": 1.0}], SIZE, [1])
    with pytest.raises(DataError, match="KeyError: 2"):
        from_coco([{"image_id": 1, "category_id": 2, "score": 1.0, "bbox": [0, 0, 1, 1]}], SIZE, [1])


def test_threshold_is_that_of_the_best_f1() -> None:
    # Two objects found at 0.9 and 0.6, and something else at 0.3: F1 is 1 from 0.31 to 0.6, 0.8 below, 2 / 3 above.
    evaluator = CocoEvaluator(classes=("cell", "none"))
    assert evaluator.threshold is None
    evaluator.update(prediction([BOX, OTHER, TINY], [0.9, 0.6, 0.3]), sample([BOX, OTHER]))
    evaluator.result()
    assert evaluator.threshold is not None
    assert 0.3 < evaluator.threshold <= 0.6


def test_threshold_is_none_where_all_detections_are_wrong() -> None:
    evaluator = CocoEvaluator(classes=("cell",))
    evaluator.update(prediction([TINY], [0.9]), sample([BOX]))
    evaluator.result()
    assert evaluator.threshold is None
    empty = CocoEvaluator(classes=("cell",))
    empty.update(prediction([]), sample([]))
    empty.result()
    assert empty.threshold is None
