"""Issues of format: each injected defect is reported with its kind and details, and valid data have none."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from det_devkit.conformance.perturbed import perturbed
from det_inspect.analysis.format_issues import FormatIssue, format_issues
from det_inspect.analysis.image_records import image_records
from det_inspect.results.coco_files import read_files

Results = list[dict[str, Any]]
IDS = (1, 2, 3, 4, 7, 8)


def content(images: int = 20, ids: tuple[int, ...] = IDS, per_image: int = 5) -> dict[str, Any]:
    rng = np.random.default_rng(3)
    sizes = [(480, 640), (640, 480), (333, 500)]
    listed = [
        {"id": i + 1, "height": sizes[i % 3][0], "width": sizes[i % 3][1], "file_name": "x"} for i in range(images)
    ]
    annotations = []
    for image in listed:
        for _ in range(per_image):
            w, h = (rng.uniform(0.08, 0.4, 2) * (image["width"], image["height"])).tolist()
            x, y = (rng.random(2) * (image["width"] - w, image["height"] - h)).tolist()
            own = {"id": len(annotations) + 1, "image_id": image["id"], "category_id": int(rng.choice(ids))}
            annotations.append({**own, "bbox": [x, y, w, h], "area": w * h, "iscrowd": 0})
    categories = [{"id": number, "name": f"class {number}"} for number in ids]
    return {"images": listed, "annotations": annotations, "categories": categories}


def raised(truth: dict[str, Any], results: Results, folder: Path) -> list[FormatIssue]:
    (folder / "truth.json").write_text(json.dumps(truth))
    (folder / "found.json").write_text(json.dumps(results))
    files = read_files(folder / "truth.json", folder / "found.json")
    return format_issues(image_records(files), files.classes, files.unknown, files.category_ids)


def boxes(change: Callable[..., list[float]]) -> Callable[[Results, dict[int, dict[str, Any]]], None]:
    """A defect of boxes: `change` is given x, y, w, h and the image."""

    def make(results: Results, images: dict[int, dict[str, Any]]) -> None:
        for each in results:
            each["bbox"] = change(*each["bbox"], images[each["image_id"]])

    return make


def categories(change: Callable[[int], int]) -> Callable[[Results, Any], None]:
    def make(results: Results, images: Any) -> None:
        for each in results:
            each["category_id"] = change(each["category_id"])

    return make


def shortest(edge: float) -> Callable[..., list[float]]:
    return lambda x, y, w, h, i: [v * edge / min(i["width"], i["height"]) for v in (x, y, w, h)]


ORDER = dict(zip(IDS, (4, 1, 8, 2, 3, 7), strict=True))
DEFECTS: dict[str, tuple[str, str, Callable[..., None]]] = {
    "two corners": (
        "other form of boxes",
        "two corners, which were read as x, y, width, height",
        boxes(lambda x, y, w, h, i: [x, y, x + w, y + h]),
    ),
    "width and height as a corner": (
        "other form of boxes",
        "are x, y, width, height, which were read as two corners",
        boxes(lambda x, y, w, h, i: [x, y, w - x, h - y]),
    ),
    "centres": (
        "other form of boxes",
        "begin with the centre, which was read as a corner",
        boxes(lambda x, y, w, h, i: [x + w / 2, y + h / 2, w, h]),
    ),
    "y first": ("other form of boxes", "give y before x", boxes(lambda x, y, w, h, i: [y, x, h, w])),
    "shares": (
        "other scale of boxes",
        "are shares of the image's width and height",
        boxes(lambda x, y, w, h, i: [x / i["width"], y / i["height"], w / i["width"], h / i["height"]]),
    ),
    "thousandths": (
        "other scale of boxes",
        "are thousandths",
        boxes(
            lambda x, y, w, h, i: [1000 * v / i[k] for v, k in zip((x, y, w, h), ("width", "height") * 2, strict=True)]
        ),
    ),
    "twice as large": (
        "other scale of boxes",
        "scaled by about 0.5",
        boxes(lambda x, y, w, h, i: [2 * x, 2 * y, 2 * w, 2 * h]),
    ),
    "resized images": ("other scale of boxes", "as of images whose shorter side is", boxes(shortest(800))),
    "the next label": (
        "labels off by one",
        "have the label after it",
        categories(lambda c: (*IDS, 8)[IDS.index(c) + 1]),
    ),
    "the label before": (
        "labels off by one",
        "have the label before it",
        categories(lambda c: IDS[max(IDS.index(c) - 1, 0)]),
    ),
    "labels in another order": ("other order of classes", "'class 4' on 'class 1'", categories(ORDER.__getitem__)),
    "ids from elsewhere": (
        "categories that never match",
        "category ids that the annotations do not list: 10",
        categories(lambda c: c + 100),
    ),
    "labels in place of ids": (
        "categories that never match",
        "ids that the annotations do not list: 0",
        categories(IDS.index),
    ),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_format_issues_injected_defect_is_reported(defect: str, tmp_path: Path) -> None:
    kind, details, make = DEFECTS[defect]
    truth = content()
    results = perturbed(truth)
    make(results, {image["id"]: image for image in truth["images"]})
    issues = {each.kind: each for each in raised(truth, results, tmp_path)}
    assert kind in issues, issues
    assert details in issues[kind].details
    assert issues[kind].fix


def test_format_issues_labels_as_ids_are_off_by_one(tmp_path: Path) -> None:
    truth = content(ids=(1, 2, 3, 4, 5, 6))
    results = [{**each, "category_id": each["category_id"] - 1} for each in perturbed(truth)]
    assert {each.kind for each in raised(truth, results, tmp_path)} == {
        "categories that never match",
        "labels off by one",
    }


def test_format_issues_of_annotated_boxes_are_reported(tmp_path: Path) -> None:
    truth = content()
    results = perturbed(truth)
    for each in truth["annotations"]:
        x, y, w, h = each["bbox"]
        each["bbox"] = [x, y, x + w, y + h]
    (issue,) = raised(truth, results, tmp_path)
    assert issue.kind == "other form of boxes"
    assert "of the ground truth are two corners" in issue.details


@pytest.mark.parametrize(
    ("scores", "details"), [(None, "there is no detection at all in 20 images"), (0.03, "the best of")]
)
def test_format_issues_low_scores_are_reported(scores: float | None, details: str, tmp_path: Path) -> None:
    truth = content()
    results = [] if scores is None else [{**each, "score": scores * each["score"]} for each in perturbed(truth)]
    (issue,) = raised(truth, results, tmp_path)
    assert issue.kind == "nothing above the threshold"
    assert details in issue.details


def test_format_issues_results_of_few_images_are_reported(tmp_path: Path) -> None:
    truth = content()
    results = [each for each in perturbed(truth) if each["image_id"] <= 7]
    (issue,) = raised(truth, results, tmp_path)
    assert issue.kind == "images without results"
    assert issue.details == "13 of the 20 images with objects have no detection"


@pytest.mark.parametrize("seed", range(5))
def test_format_issues_valid_results_have_no_warnings(seed: int, tmp_path: Path) -> None:
    truth = content(images=5 + 10 * seed, ids=IDS[: 1 + seed])
    assert raised(truth, perturbed(truth, seed), tmp_path) == []
    assert raised(truth, [{**each, "score": 1} for each in truth["annotations"]], tmp_path) == []


def test_format_issues_poor_results_have_no_warnings(tmp_path: Path) -> None:
    truth = content()
    rng = np.random.default_rng(0)
    anywhere = perturbed(truth)
    for each in anywhere:
        each["category_id"] = int(rng.choice(IDS))
    assert raised(truth, anywhere, tmp_path) == []
    for each in anywhere:
        each["bbox"] = [float(v) for v in rng.random(4) * (400, 300, 200, 150)]
    assert raised(truth, anywhere, tmp_path) == []


def test_format_issues_few_objects_have_no_warnings(tmp_path: Path) -> None:
    truth = content(images=1, per_image=3)
    results = perturbed(truth)
    for each in results:
        x, y, w, h = each["bbox"]
        each |= {"bbox": [x, y, x + w, y + h], "score": 0.9}
    assert raised(truth, results, tmp_path) == []


@pytest.mark.parametrize(
    "name", ["coco/annotations/instances_val2017", "blood-cells/instances_val", "nuclei/instances_val"]
)
def test_format_issues_real_annotations_and_injected_defects(name: str, tmp_path: Path) -> None:
    annotations = Path(os.environ.get("DET_DATA", "datasets")) / f"{name}.json"
    if not annotations.exists():
        pytest.skip(f"there is no {annotations}; set DET_DATA")
    truth = json.loads(annotations.read_text())
    results = [{k: v for k, v in each.items() if k != "segmentation"} for each in perturbed(truth)]
    assert raised(truth, results, tmp_path) == []
    images = {image["id"]: image for image in truth["images"]}
    for defect in ("two corners", "width and height as a corner", "centres", "shares", "twice as large"):
        broken = copy.deepcopy(results)
        DEFECTS[defect][2](broken, images)
        assert [each.kind for each in raised(truth, broken, tmp_path)] == [DEFECTS[defect][0]], defect
