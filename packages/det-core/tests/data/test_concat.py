"""ConcatDataset: several datasets as one."""

from pathlib import Path

import coco_files
import pytest
from det_core.contracts import Dataset, Indexed
from det_core.data import CocoDataset, ConcatDataset
from det_core.errors import ConfigError
from det_core.recipes.check import check


def part(folder: Path, count: int, name: str = "cat") -> CocoDataset:
    folder.mkdir()
    data = coco_files.content(count)
    data["categories"][0]["name"] = name
    return CocoDataset(*coco_files.write(folder, data))


def test_images_come_one_dataset_after_the_other(tmp_path: Path) -> None:
    first, second = part(tmp_path / "a", 2), part(tmp_path / "b", 3)
    both = ConcatDataset([first, second])
    assert isinstance(both, Dataset)
    assert isinstance(both, Indexed)
    assert (len(both), both.num_objects, both.classes) == (5, 4, ("dog", "cat"))
    assert both.category_ids == (3, 7)
    assert [both[index].path for index in range(5)] == [*map(first.path, range(2)), *map(second.path, range(3))]
    assert both[-1].path == second.path(2) == both.path(4)
    assert (both.size_of(4), list(both.labels_of(4))) == ((30, 40), [1, 0])
    with pytest.raises(IndexError):
        both[5]


def test_other_classes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"datasets\[1\]: has other classes than the first; \['dog', 'cow'\] and"):
        ConcatDataset([part(tmp_path / "a", 2), part(tmp_path / "b", 2, "cow")])
    with pytest.raises(ConfigError, match="at least one"):
        ConcatDataset([])


def test_a_recipe_spells_it(tmp_path: Path) -> None:
    part(tmp_path / "a", 2)
    coco = {"type": "coco", "images": str(tmp_path / "a" / "images"), "annotations": str(tmp_path / "a" / "a.json")}
    built = check({"type": "concat", "datasets": [coco, coco]}, Dataset, "data.train").build()
    assert len(built) == 4
