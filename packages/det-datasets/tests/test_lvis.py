"""LvisDataset: COCO's rules, and what is known about classes that were not looked for."""

import json
from pathlib import Path
from typing import Any

import pytest
from det_core.contracts import Dataset, Indexed
from det_core.errors import DataError
from det_datasets.readers import LvisDataset
from det_datasets.samplers import RepeatFactorSampler
from PIL import Image


def content(version: str = "v1") -> dict[str, Any]:
    where = {"coco_url": "http://images.cocodataset.org/val2017/7.png"} if version == "v1" else {"file_name": "7.png"}
    square = [[2.0, 3, 12, 3, 12, 8, 2, 8]]
    return {
        "images": [
            {
                "id": 7,
                "width": 40,
                "height": 30,
                "neg_category_ids": [5, 9],
                "not_exhaustive_category_ids": [2],
                **where,
            }
        ],
        "annotations": [
            {"id": 1, "image_id": 7, "category_id": 5, "bbox": [2, 3, 10, 5], "area": 50, "segmentation": square}
        ],
        "categories": [
            {"id": 9, "name": "yak", "frequency": "r", "image_count": 3},
            {"id": 2, "name": "ant", "frequency": "f", "image_count": 300},
            {"id": 5, "name": "cup", "frequency": "c", "image_count": 30},
        ],
    }


def dataset(folder: Path, data: Any = None, **options: Any) -> LvisDataset:
    data = content() if data is None else data
    (folder / "val2017").mkdir(exist_ok=True)
    for path in (folder / "7.png", folder / "val2017" / "7.png"):
        Image.new("RGB", (40, 30)).save(path)
    (folder / "lvis.json").write_text(json.dumps(data))
    return LvisDataset(folder, folder / "lvis.json", **options)


def test_image_path_is_from_coco_url_or_file_name(tmp_path: Path) -> None:
    assert dataset(tmp_path)[0].path == tmp_path / "val2017" / "7.png"
    assert dataset(tmp_path, content("v0.5"))[0].path == tmp_path / "7.png"
    assert isinstance(dataset(tmp_path), Dataset)
    assert isinstance(dataset(tmp_path), Indexed)


def test_labels_follow_category_ids_also_in_image_extras(tmp_path: Path) -> None:
    lvis = dataset(tmp_path, masks="polygons")
    assert lvis.classes == ("ant", "cup", "yak")
    assert lvis.frequencies == ("f", "c", "r")
    assert lvis.image_counts.tolist() == [300, 30, 3]
    targets = lvis[0].targets
    assert targets is not None
    assert targets.labels.tolist() == [1]
    assert targets.boxes.tolist() == [[2, 3, 12, 8]]
    assert {key: labels.tolist() for key, labels in targets.image_extras.items()} == {
        "lvis/frequency": [2, 1, 0],
        "lvis/negative": [1, 2],
        "lvis/not_exhaustive": [0],
    }


def test_chosen_classes_are_numbered_anew_everywhere(tmp_path: Path) -> None:
    lvis = dataset(tmp_path, classes=["yak", "cup"])
    assert (lvis.category_ids, lvis.frequencies) == ((9, 5), ("r", "c"))
    targets = lvis[0].targets
    assert targets is not None
    assert targets.labels.tolist() == [1]
    assert targets.image_extras["lvis/negative"].tolist() == [1, 0]
    assert targets.image_extras["lvis/not_exhaustive"].tolist() == []


def test_its_images_can_be_repeated(tmp_path: Path) -> None:
    assert RepeatFactorSampler(dataset(tmp_path), 0.001).factors.tolist() == [1]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda d: d["categories"][1].update(frequency="x"), r"'frequency' must be .*category 2 has 'x'; give an LVIS"),
        (lambda d: d["categories"][1].update(image_count="3"), r"'image_count' must be a number; category 2 has '3'"),
        (lambda d: d["images"][0].update(neg_category_ids=5), r"'neg_category_ids' must be .*image 7 has 5"),
        (
            lambda d: d["images"][0].update(coco_url="../x.png"),
            r"image 7 has the file_name '../x.png', which leads out",
        ),
        (lambda d: d["images"][0].pop("coco_url"), r"image 7 has no 'file_name'"),
        (lambda d: d["annotations"][0].update(bbox=[0, 0, -1, 2]), r"annotation 1 has a box of width -1"),
    ],
)
def test_errors_give_file_and_id(tmp_path: Path, change: Any, sentence: str) -> None:
    data = content()
    change(data)
    with pytest.raises(DataError, match=rf"lvis.json: .*{sentence}"):
        dataset(tmp_path, data)
