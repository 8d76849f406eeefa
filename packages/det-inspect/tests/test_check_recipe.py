"""`det data check RECIPE` holds a dataset to the rules that the recipe reads it by."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_devkit import coco_files

RING = [[4, 3, 12, 3, 4, 9]]
RLE = {"size": [30, 40], "counts": [0, 1200]}


def recipe(folder: Path, train: str) -> Path:
    file = folder / "r.yaml"
    file.write_text(f"extends: faster_rcnn_r50_fpn_1x\ndata:\n  train: {train}\n  val: null\n  test: null\n")
    return file


def checked(file: Path, code: int) -> dict[str, Any]:
    result = CliRunner().invoke(det, ["data", "check", str(file), "--json"])
    assert result.exit_code == code, result.output
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def test_check_recipe_concat_counts_skipped_images_of_parts(tmp_path: Path) -> None:
    images, file = coco_files.write(tmp_path, coco_files.damaged())
    part = f"{{type: coco, images: {images}, annotations: {file}, bad_annotations: skip, keep_empty: false}}"
    report = checked(recipe(tmp_path, f"{{type: concat, datasets: [{part}]}}"), 1)
    assert report["counts"] == {"bad entry": 2}
    assert report["splits"]["train"]["left out"]["images without an object to learn from"] == 3


@pytest.mark.parametrize(
    ("option", "change", "fault"),
    [
        ("masks: polygons", {"segmentation": RLE}, "has an RLE, where polygons were asked for"),
        ("masks: bitmaps", {"segmentation": RLE}, ""),
        ("masks: bitmaps", {}, "has no 'segmentation'"),
        ("masks: bitmaps", {"segmentation": [[1, 2, 3]]}, "has a polygon that is not at least three pairs"),
        ("masks: false", {"segmentation": [[1, 2, 3]]}, ""),
        ("keypoints: true", {"keypoints": [1, 1]}, "has keypoints that are not 6 finite numbers"),
        ("keypoints: false", {"keypoints": [1, 1]}, ""),
        ("rotated: false", {"bbox": [9, 9, 5, 5, 30]}, "of a rotated box: set rotated to true"),
        ("rotated: true", {"bbox": [9, 9, 5, 5, 30]}, ""),
    ],
)
def test_check_recipe_applies_reader_options_to_entries(
    tmp_path: Path, option: str, change: dict[str, Any], fault: str
) -> None:
    data = coco_files.content(2)
    data["categories"][0]["keypoints"] = ["a", "b"]
    if "masks" in option and change:
        data["annotations"][0]["segmentation"] = RING
    data["annotations"][0] |= change
    images, file = coco_files.write(tmp_path, data)
    train = f"{{type: coco, images: {images}, annotations: {file}, {option}, bad_annotations: skip}}"
    report = checked(recipe(tmp_path, train), 1 if fault else 0)
    assert len(report["defects"]) == bool(fault)
    assert all(fault in each["text"] for each in report["defects"])
    skipped = report["splits"]["train"]["left out"].get("annotations that cannot be used", 0)
    assert skipped == bool(fault)


def test_check_recipe_refused_by_reader_is_unreadable_file(tmp_path: Path) -> None:
    data = coco_files.content(2)
    images, file = coco_files.write(tmp_path, data)
    train = f"{{type: coco, images: {images}, annotations: {file}, classes: [horse]}}"
    report = checked(recipe(tmp_path, train), 1)
    assert [(each["kind"], each["text"]) for each in report["defects"]] == [
        ("unreadable file", "has no category named 'horse'")
    ]
