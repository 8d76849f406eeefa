"""Kinds of errors and what they cost: worked out by hand, then AP50 as COCO's, then hotcoco's balance."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_core.evaluation.curves import curves
from det_core.evaluation.figures import LIMITS, averages
from det_devkit.conformance.perturbed import perturbed
from det_inspect.analysis.error_kinds import KINDS, classify_errors, error_costs, pairs
from det_inspect.analysis.error_overlaps import costs_by
from det_inspect.analysis.image_records import ImageRecord, Objects, image_records, overlaps
from det_inspect.results.coco_files import read_files

Box = tuple[float, float, float, float]
A: Box = (0, 0, 10, 10)
B: Box = (100, 100, 110, 110)


def objects(*entries: tuple[Box, int, float], crowd: bool = False) -> Objects:
    return Objects(
        boxes=np.array([box for box, _, _ in entries], np.float64).reshape(-1, 4),
        labels=np.array([label for _, label, _ in entries], np.int64),
        scores=np.array([score for _, _, score in entries], np.float64),
        crowd=np.full(len(entries), crowd),
    )


def seen(truth: Objects, found: Objects) -> ImageRecord:
    return ImageRecord(1, (200, 200), truth, found)


def balance(truth: Objects, found: Objects, classes: int = 2) -> Any:
    images = [seen(truth, found)]
    return error_costs(images, [classify_errors(image) for image in images], classes)


def test_overlaps_are_iou_and_for_crowds_iof() -> None:
    found = objects(((0, 0, 10, 5), 0, 1))
    assert overlaps(found, objects((A, 0, 1))).tolist() == [[0.5]]
    assert overlaps(found, objects(((0, 0, 10, 100), 0, 1), crowd=True)).tolist() == [[1.0]]
    assert overlaps(objects(((3, 3, 3, 3), 0, 1)), objects(((3, 3, 3, 3), 0, 1))).tolist() == [[0.0]]


@pytest.mark.parametrize(
    ("box", "label", "kind"),
    [
        (A, 1, "classification"),
        ((0, 0, 10, 4), 0, "localisation"),  # overlap 0.4
        ((0, 0, 10, 4), 1, "both"),
        ((50, 50, 60, 60), 0, "background"),
        ((0, 0, 10, 0.9), 0, "background"),  # 0.09
    ],
)
def test_error_kind_depends_on_overlapped_object(box: Box, label: int, kind: str) -> None:
    own = classify_errors(seen(objects((A, 0, 1)), objects((box, label, 0.9))))
    assert own.kinds.tolist() == [kind]
    assert own.missed.tolist() == [True]
    # An object that is in the wrong class or place is not missed as well.
    assert own.lost.tolist() == [kind not in ("classification", "localisation")]


def test_error_kind_of_lower_scored_match_is_duplicate() -> None:
    own = classify_errors(seen(objects((A, 0, 1)), objects((A, 0, 0.3), (A, 0, 0.8))))
    assert own.rows.tolist() == [1, 0]
    assert own.kinds.tolist() == ["right", "duplicate"]
    assert own.target_rows.tolist() == [0, 0]


def test_error_kind_inside_crowd_is_ignored() -> None:
    own = classify_errors(seen(objects(((0, 0, 100, 100), 0, 1), crowd=True), objects((A, 0, 0.9))))
    assert own.kinds.tolist() == ["ignored"]
    assert not own.missed.any()


def test_error_cost_of_classification_counts_fn_and_fp() -> None:
    # Class 0: its only object is called class 1, AP50 = 0. Class 1: a false alarm above the only hit, AP50 = 0.5.
    costs = balance(objects((A, 0, 1), (B, 1, 1)), objects((A, 1, 0.9), (B, 1, 0.8)))
    assert costs.ap50 == pytest.approx(0.25)
    assert costs.costs["classification"] == pytest.approx(0.75)
    assert costs.costs["missed"] == 0.0
    assert costs.counts == {**dict.fromkeys(KINDS, 0), "classification": 1}


def test_error_cost_is_ap50_gain_when_removed() -> None:
    truth = objects((A, 0, 1))
    for box, kind in (((50.0, 50.0, 60.0, 60.0), "background"), ((0.0, 0.0, 10.0, 4.0), "localisation")):
        costs = balance(truth, objects((box, 0, 0.9), (A, 0, 0.8)), 1)
        assert costs.ap50 == pytest.approx(0.5)
        assert costs.costs == pytest.approx({**dict.fromkeys(KINDS, 0.0), kind: 0.5})
    two = objects((A, 0, 1), (B, 0, 1))
    # The duplicate stands between the two hits: precision 1, 1/2, 2/3 at recalls 1/2, 1/2, 1.
    costs = balance(two, objects((A, 0, 0.9), (A, 0, 0.8), (B, 0, 0.7)), 1)
    assert costs.costs["duplicate"] == pytest.approx(50 / 101 / 3)
    costs = balance(two, objects((A, 0, 0.9)), 1)
    assert costs.ap50 == pytest.approx(51 / 101)
    assert costs.costs["missed"] == pytest.approx(50 / 101)


def test_error_costs_without_detections_or_objects() -> None:
    none = objects()
    assert balance(objects((A, 0, 1)), none).costs["missed"] == 1.0
    assert balance(none, none).ap50 is None
    assert balance(none, objects((A, 0, 0.5))).counts["background"] == 1
    assert error_costs([], [], 2).costs == {}


def test_pairs_match_true_and_predicted_classes() -> None:
    images = [seen(objects((A, 0, 1), (B, 1, 1)), objects((A, 1, 0.9), ((50, 50, 60, 60), 0, 0.8)))]
    assert sorted(pairs(images, [classify_errors(images[0])])) == [(-1, 0), (0, 1), (1, -1)]


def made(seed: int, folder: Path, crowds: float, masks: bool = False, keypoints: bool = False) -> Any:
    rng = np.random.default_rng(seed)
    truth: dict[str, Any] = {"categories": [{"id": n, "name": str(n)} for n in (1, 2, 3)], "annotations": []}
    truth["images"] = [{"id": n, "height": 300, "width": 300} for n in range(30)]
    for image in truth["images"][1:]:
        for _ in range(int(rng.integers(0, 8))):
            x, y, w, h = (rng.random(4) * (150, 150, 140, 140) + (0, 0, 5, 5)).tolist()
            points = rng.random((17, 2)) * (w, h) + (x, y)
            seen = rng.integers(0, 3, 17) * (rng.random() < 0.8)
            own = {
                "image_id": image["id"],
                "category_id": int(rng.integers(1, 4)),
                "iscrowd": int(rng.random() < crowds),
            }
            if masks:
                own["segmentation"] = [[x + w / 2, y, x + w, y + h / 2, x + w / 2, y + h, x, y + h / 2]]
            if keypoints:
                own["keypoints"] = np.concatenate((points, seen[:, None]), 1).ravel().tolist()
            truth["annotations"].append(
                {"id": len(truth["annotations"]) + 1, **own, "bbox": [x, y, w, h], "area": w * h}
            )
    (folder / "t.json").write_text(json.dumps(truth))
    (folder / "f.json").write_text(json.dumps(perturbed(truth, seed, levels=10**6)))
    return read_files(folder / "t.json", folder / "f.json")


@pytest.mark.parametrize("seed", range(3))
def test_ap50_is_that_of_coco(seed: int, tmp_path: Path) -> None:
    files = made(seed, tmp_path, crowds=0.1)
    images = image_records(files)
    own = error_costs(images, [classify_errors(image) for image in images], len(files.classes))
    reference = dict(each[:2] for each in averages(curves(files.ground_truth, files.detections, "bbox", [100]), "bbox"))
    assert own.ap50 == pytest.approx(reference["AP50"], abs=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_counts_and_costs_are_those_of_hotcoco(seed: int, tmp_path: Path) -> None:
    hotcoco = pytest.importorskip("hotcoco", reason="hotcoco is not installed: det-core[fast-eval]")
    files = made(seed, tmp_path, crowds=0)  # which hotcoco counts as objects
    images = image_records(files)
    own = error_costs(images, [classify_errors(image) for image in images], len(files.classes))
    judged = hotcoco.COCOeval(hotcoco.COCO(dict(files.ground_truth)), hotcoco.COCO(dict(files.detections)), "bbox")
    judged.evaluate()
    theirs = judged.tide_errors()
    names = dict(zip(KINDS, ("Cls", "Loc", "Both", "Dupe", "Bkg", "Miss"), strict=True))
    assert own.counts == {kind: theirs["counts"].get(name, 0) for kind, name in names.items()}
    assert own.costs == pytest.approx({kind: theirs["delta_ap"][name] for kind, name in names.items()}, abs=1e-9)


def test_keypoint_similarity_equals_oks_by_hand() -> None:
    own = {"image_id": 0, "category_id": 0, "iscrowd": 0, "bbox": [0.0, 0.0, 10.0, 10.0], "area": 100.0}
    truth = {**own, "keypoints": [5.0, 5, 2, 0, 0, 0], "num_keypoints": 1}
    # One labelled keypoint with a sigma of 0.1 and two pixels off: exp(-2 ** 2 / (2 * 0.2 ** 2 * 100)) = 0.607.
    found = {**own, "keypoints": [7.0, 5, 1, 99, 99, 1], "score": 0.5}

    def judged(truth: Any, found: Any) -> Any:
        tables: Any = (
            {"images": [{"id": 0, "height": 20, "width": 20}], "annotations": [each]} for each in (truth, found)
        )
        return costs_by("keypoints", *tables, 1, (0.1, 0.1))

    assert judged(truth, found).ap50 == 1.0
    further = judged(truth, {**found, "keypoints": [8.0, 5, 1, 99, 99, 1]})  # 3 pixels: 0.325
    assert further.counts["localisation"] == 1
    assert further.costs["localisation"] == 1.0
    # Nothing is asked of an object without keypoints, and what lies near it is forgiven.
    unlabelled = judged({**truth, "keypoints": [0.0] * 6, "num_keypoints": 0}, found)
    assert unlabelled.ap50 is None


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("iou_type", ["segm", "keypoints"])
def test_ap50_of_masks_and_keypoints_is_that_of_coco(seed: int, iou_type: Any, tmp_path: Path) -> None:
    files = made(seed, tmp_path, 0.1, masks=iou_type == "segm", keypoints=iou_type == "keypoints")
    assert iou_type in files.iou_types
    own = costs_by(iou_type, files.ground_truth, files.detections, len(files.classes))
    made_curves = curves(files.ground_truth, files.detections, iou_type, LIMITS[iou_type][-1:])
    reference = dict(each[:2] for each in averages(made_curves, iou_type))
    assert own.ap50 == pytest.approx(reference["AP50"], abs=1e-12)
    assert 0.01 < reference["AP50"] < 0.99
    assert all(cost >= 0 for cost in own.costs.values())


def test_errors_of_boxes_are_the_same_either_way(tmp_path: Path) -> None:
    files = made(0, tmp_path, crowds=0.1)
    images = image_records(files)
    own = error_costs(images, [classify_errors(image) for image in images], len(files.classes))
    assert costs_by("bbox", files.ground_truth, files.detections, len(files.classes)) == own
