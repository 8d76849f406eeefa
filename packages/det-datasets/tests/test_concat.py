"""ConcatDataset: several datasets as one."""

from pathlib import Path

import pytest
from det_core.contracts import Dataset, Indexed
from det_core.data import CocoDataset, TrainLoader, left_out, left_out_notes
from det_core.errors import ConfigError, DataError
from det_core.recipes.check import check
from det_datasets.readers import ImageFolder
from det_datasets.wrappers import ConcatDataset
from det_devkit import coco_files
from PIL import Image


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


def test_concat_is_built_from_recipe(tmp_path: Path) -> None:
    part(tmp_path / "a", 2)
    coco = {"type": "coco", "images": str(tmp_path / "a" / "images"), "annotations": str(tmp_path / "a" / "a.json")}
    built = check({"type": "concat", "datasets": [coco, coco]}, Dataset, "data.train").build()
    assert len(built) == 4


def numbered(folder: Path, first: int) -> CocoDataset:
    """Two images whose ids count from `first`."""
    folder.mkdir()
    data = coco_files.content(2)
    for number, image in enumerate(data["images"], first):
        image["id"] = number
    data["annotations"][0]["image_id"] = first
    return CocoDataset(*coco_files.write(folder, data))


def test_concat_repeated_ids_get_dataset_prefix(tmp_path: Path) -> None:
    both = ConcatDataset([numbered(tmp_path / "a", 1), numbered(tmp_path / "b", 2)])
    assert [both[index].id for index in range(4)] == ["0/1", "0/2", "1/2", "1/3"]
    assert [both.id_of(index) for index in range(-4, 0)] == ["0/1", "0/2", "1/2", "1/3"]
    nested = ConcatDataset([both, both])
    assert nested[5].id == "1/0/2"


def test_concat_ids_that_differ_stay(tmp_path: Path) -> None:
    both = ConcatDataset([numbered(tmp_path / "a", 1), numbered(tmp_path / "b", 3)])
    assert [both[index].id for index in range(4)] == [both.id_of(index) for index in range(4)] == [1, 2, 3, 4]


def test_concat_dataset_without_id_of_gets_prefixed_ids(tmp_path: Path) -> None:
    class Plain:
        classes, evaluators = ("dog", "cat"), ()

        def __init__(self, dataset: CocoDataset) -> None:
            self.dataset = dataset

        def __len__(self) -> int:
            return len(self.dataset)

        def __getitem__(self, index: int) -> object:
            return self.dataset[index]

    dataset = numbered(tmp_path / "a", 1)
    assert [sample.id for sample in map(ConcatDataset([Plain(dataset), dataset]).__getitem__, range(4))] == [
        "0/1",
        "0/2",
        "1/1",
        "1/2",
    ]


def test_image_folder_same_stem_keeps_suffix_in_id(tmp_path: Path) -> None:
    for name in ("a.jpg", "a.png", "b.png"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    folder = ImageFolder(tmp_path, ["x"])
    assert [folder[index].id for index in range(3)] == ["a.jpg", "a.png", "b.png"]


def test_left_out_concatenated_datasets_are_added(tmp_path: Path) -> None:
    data = coco_files.content(2)
    data["annotations"][0]["bbox"] = [0, 0, -1, 5]
    dataset = coco_files.dataset(tmp_path, data, bad_annotations="skip")
    both = ConcatDataset([dataset, dataset])
    assert left_out(both) == {"annotations that cannot be used": 2}
    assert len(left_out_notes(both, "x")) == 1


def test_num_learnable_concatenated_crowds_are_refused_in_training(tmp_path: Path) -> None:
    data = coco_files.content(3)
    for each in data["annotations"]:
        each["iscrowd"] = 1
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    crowds = [coco_files.dataset(tmp_path / name, data) for name in ("a", "b")]
    assert ConcatDataset(crowds).num_learnable == 0
    with pytest.raises(DataError, match="nothing to learn from"):
        TrainLoader(dataset=ConcatDataset(crowds), batch_size=1)
    assert ConcatDataset([crowds[0], coco_files.dataset(tmp_path / "c")]).num_learnable == 2
