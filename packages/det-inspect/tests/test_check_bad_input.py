"""The check of a dataset whose files were made to do harm: defects in short sentences, in little memory."""

import json
import tracemalloc
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import small_benchmarks
import small_datasets
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.data import CocoDataset
from det_datasets.readers import LvisDataset, YoloDataset
from det_devkit import coco_files
from det_inspect.datasets.check import check

MEGABYTE = 2**20
NASTY = "a\x1b[31m\u202eb\x07"


@pytest.mark.parametrize("number", ["1e999", "9" * 4000, "9" * 9000, "-1e308", "NaN", "Infinity", "1e-400"])
@pytest.mark.parametrize("key", ["bbox", "segmentation", "area", "image_id", "category_id", "id", "keypoints"])
def test_check_of_an_enormous_number_is_a_short_sentence(tmp_path: Path, key: str, number: str) -> None:
    images, file = coco_files.write(tmp_path, coco_files.content(2))
    value = {"bbox": f"[1, 2, {number}, 4]", "segmentation": f"[[1, 2, {number}, 4, 5, 6]]", "keypoints": f"[{number}]"}
    text = file.read_text().replace('"iscrowd": 0', f'"iscrowd": 0, "{key}": {value.get(key, number)}')
    file.write_text(text)
    report = check({"train": partial(CocoDataset.listing, images, file)}, pixels=False)
    assert all(len(defect.text) < 1000 for defect in report.defects)
    assert bool(report.defects) == (number != "1e-400" or key not in ("area", "segmentation", "id"))


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (2**31 - 1, 1), (0, 5)])
def test_check_decompression_bomb_is_unreadable_image(tmp_path: Path, size: tuple[int, int]) -> None:
    images, file = coco_files.write(tmp_path, coco_files.content(2))
    (images / "0.png").write_bytes(small_datasets.png(*size))
    tracemalloc.start()
    try:
        (defect,) = check({"train": partial(CocoDataset.listing, images, file)}).defects
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert (defect.kind, defect.id) == ("unreadable image", "11")


@pytest.mark.parametrize("reader", [CocoDataset, LvisDataset])
@pytest.mark.parametrize("opening", ["[", '{"annotations": '])
def test_check_of_annotations_nested_without_end_is_a_defect(tmp_path: Path, reader: Any, opening: str) -> None:
    images, file = coco_files.write(tmp_path, coco_files.content(2))
    file.write_text(opening * 50_000)
    tracemalloc.start()
    try:
        report = check({"train": partial(reader.listing, images, file)})
        assert tracemalloc.get_traced_memory()[1] < 64 * MEGABYTE
    finally:
        tracemalloc.stop()
    assert [defect.kind for defect in report.defects] == ["unreadable file"]


def test_check_yolo_line_with_confidence_is_bad_box(tmp_path: Path) -> None:
    given = small_benchmarks.yolo(tmp_path)
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 0.25 0.2 0.9")
    listing = YoloDataset.listing(**given)
    assert check({"train": lambda: listing}).counts() == {"bad box": 1}


def test_data_check_prints_no_terminal_escapes_from_names(tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": NASTY + ".jpg", "height": 4, "width": 4}],
        "categories": [{"id": 1, "name": "\x1b[31mred"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 0, 0], "area": 1, "iscrowd": 0}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    result = CliRunner().invoke(
        det, ["data", "check", str(tmp_path / "a.json"), "--images", str(tmp_path)], catch_exceptions=False
    )
    assert "\x1b" not in result.output
    assert "\u202e" not in result.output


def test_report_of_box_wider_than_64_bits_is_json(tmp_path: Path) -> None:
    content = coco_files.content(2)
    content["annotations"][0]["bbox"] = [3, 3, 3_074_457_345_618_258_603, 6]
    images, file = coco_files.write(tmp_path, content)
    report = check({"train": partial(CocoDataset.listing, images, file)}, pixels=False)
    assert report.to_json()
