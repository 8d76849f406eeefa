"""Results find their images by the names of the files that stand beside them."""

import json
from pathlib import Path
from typing import Any

import pytest
from det_core.errors import DataError
from det_core.evaluation.curves import curves
from det_core.evaluation.figures import LIMITS, summary
from det_inspect.results.coco_files import read_files
from det_inspect.results.results_by_name import placed_by_name

IMAGES = [{"id": 1, "file_name": "a/dog.jpg"}, {"id": 2, "file_name": "b/cat.jpg"}, {"id": 3, "file_name": "b/dog.jpg"}]


def ids(*results: dict[str, Any]) -> list[Any]:
    return [each["image_id"] for each in placed_by_name(results, IMAGES, "r.json")[0]]


def test_name_decides_over_an_id_of_another_image() -> None:
    assert ids({"image_id": 1, "file_name": "cat.jpg"}, {"image_id": 1, "file_name": "b/dog.jpg"}) == [2, 3]


def test_results_by_name_ignores_slashes_folders_and_suffix() -> None:
    names = ["b\\cat.jpg", "./b/cat.jpg", "elsewhere/cat.jpg", "cat.png"]
    assert ids(*({"image_id": 9, "file_name": name} for name in names)) == [2] * 4


def test_result_without_a_name_keeps_its_id() -> None:
    assert ids({"image_id": 3}, {"image_id": 2, "file_name": ""}, {"image_id": 1, "file_name": 5}) == [3, 2, 1]
    bare = [{"id": 1}, {"id": 2, "file_name": ""}]
    assert placed_by_name([{"image_id": 1, "file_name": "x.jpg"}], bare, "r")[0][0]["image_id"] == 1


def test_results_by_name_ambiguous_name_needs_id() -> None:
    assert ids({"image_id": 3, "file_name": "dog.jpg"}) == [3]
    with pytest.raises(DataError, match=r"r.json: 1 of 1 results .*result number 1 is of the file 'dog.jpg', of which"):
        ids({"image_id": 2, "file_name": "dog.jpg"})


def test_name_that_is_not_listed_is_refused() -> None:
    with pytest.raises(DataError, match=r"'cow.jpg', which the annotations do not list.*and 2 more"):
        ids(*({"image_id": 1, "file_name": "cow.jpg"} for _ in range(7)))


def test_results_by_name_one_based_ids_use_file_names(tmp_path: Path) -> None:
    # As `det predict` writes them of a folder, whose files are in another order than the annotations.
    names = ["zebra.jpg", "ant.jpg"]
    images = [{"id": i, "file_name": name, "height": 50, "width": 50} for i, name in enumerate(names, 1)]
    boxes = {"zebra.jpg": [1, 1, 10, 10], "ant.jpg": [30, 30, 15, 15]}
    objects = [{"id": i, "image_id": i, "category_id": 1, "bbox": boxes[n]} for i, n in enumerate(names, 1)]
    truth = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "animal"}]}
    results = [
        {"image_id": i, "file_name": name, "category_id": 1, "bbox": boxes[name], "score": 0.9}
        for i, name in enumerate(sorted(names), 1)
    ]
    (tmp_path / "a.json").write_text(json.dumps(truth))
    (tmp_path / "r.json").write_text(json.dumps(results))
    files = read_files(tmp_path / "a.json", tmp_path / "r.json")
    figures = {
        name: value
        for name, value, _ in summary(curves(files.ground_truth, files.detections, "bbox", LIMITS["bbox"]), "bbox")
    }
    assert figures["AP"] == 1.0
    assert files.notes == ("2 of 2 results have another image_id than their file_name: the name decides",)
