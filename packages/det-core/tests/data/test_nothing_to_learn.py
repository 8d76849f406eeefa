"""A dataset without a single object is refused before training, and so is a val set to choose by."""

from pathlib import Path

import pytest
from det_core.data import CocoDataset, Data, TrainLoader
from det_core.errors import DataError
from det_core.recipes import Factory
from det_devkit import coco_files


def crowds(folder: Path, **options: object) -> CocoDataset:
    folder.mkdir(exist_ok=True)
    data = coco_files.content(3)
    for each in data["annotations"]:
        each["iscrowd"] = 1
    return coco_files.dataset(folder, data, **options)


def test_train_loader_objects_that_are_all_crowds_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"a.json: has no object that is not a crowd: there is nothing to learn from; it"
    ):
        TrainLoader(dataset=crowds(tmp_path), batch_size=1)


def test_train_loader_single_objects_only_in_images_left_out_are_refused(tmp_path: Path) -> None:
    data = coco_files.content(3)
    data["categories"][0]["keypoints"] = ["a"]
    dataset = coco_files.dataset(tmp_path, data, keypoints=True, min_keypoints=1)
    assert (len(dataset), dataset.num_learnable) == (0, 0)


def test_training_with_val_set_of_crowds_is_refused_before_first_step(tmp_path: Path) -> None:
    dataset, val = coco_files.dataset(tmp_path), crowds(tmp_path / "b")
    train = Factory(CocoDataset, images=dataset.images, annotations=dataset.annotations)
    data = Data(train=train, val=Factory(CocoDataset, images=val.images, annotations=val.annotations), workers=0)
    with pytest.raises(DataError, match="nothing to choose the best weights by"):
        data.train_loader(1)
    assert len(data.eval_loader("val", 1).dataset) == 3
    assert Data(train=train, workers=0).train_loader(1)
