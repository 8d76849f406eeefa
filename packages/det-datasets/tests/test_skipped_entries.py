"""Whatever a reader leaves out is counted."""

import json
from pathlib import Path

import pytest
import small_benchmarks
from det_core.data import TrainLoader, left_out
from det_core.errors import DataError
from det_datasets.readers import CityscapesDataset, VocDataset, YoloDataset
from det_datasets.wrappers import CopyPaste, Mosaic
from det_devkit import coco_files


def test_voc_and_yolo_unreadable_files_are_counted(tmp_path: Path) -> None:
    (tmp_path / "voc").mkdir()
    voc = small_benchmarks.voc(tmp_path / "voc")
    (tmp_path / "voc/ImageSets/Main/train.txt").write_text("a\nb\n")
    assert left_out(VocDataset(**voc, bad_annotations="skip")) == {"images whose files cannot be read": 1}
    (tmp_path / "yolo").mkdir()
    yolo = small_benchmarks.yolo(tmp_path / "yolo")
    (tmp_path / "yolo/labels/a.txt").write_text("1 0.5 0.5 0.25 0.2\n7 0.5 0.5 0.2 0.2\n")
    (tmp_path / "yolo/labels/b.txt").write_text("1 0.5 0.5 0.25 0.2\n")
    (tmp_path / "yolo/labels/classes.txt").write_text("cat\ndog\n")
    assert left_out(YoloDataset(**yolo, bad_annotations="skip")) == {
        "files of labels without an image": 1,
        "annotations that cannot be used": 1,
    }


def test_cityscapes_empty_images_are_counted(tmp_path: Path) -> None:
    arguments = small_benchmarks.cityscapes(tmp_path)
    empty = {"imgHeight": 30, "imgWidth": 40, "objects": []}
    (tmp_path / "fine/ulm/b_gtFine_polygons.json").write_text(json.dumps(empty))
    (tmp_path / "left/ulm/b_leftImg8bit.png").write_bytes((tmp_path / "left/ulm/a_leftImg8bit.png").read_bytes())
    assert left_out(CityscapesDataset(**arguments, keep_empty=False)) == {"images without an object to learn from": 1}


def test_cityscapes_image_of_groups_has_no_training_objects(tmp_path: Path) -> None:
    arguments = small_benchmarks.cityscapes(tmp_path)
    assert CityscapesDataset(**arguments).num_learnable == 1
    file = next(tmp_path.rglob("*.json"))
    file.write_text(file.read_text().replace('"car"', '"cargroup"'))
    assert json.loads(file.read_text())["objects"][0]["label"] == "cargroup"
    assert CityscapesDataset(**arguments).num_learnable == 0


def test_wrapper_of_dataset_of_crowds_has_no_training_objects(tmp_path: Path) -> None:
    data = coco_files.content(3)
    for each in data["annotations"]:
        each["iscrowd"] = 1
    dataset = coco_files.dataset(tmp_path, data)
    for around in (Mosaic(dataset), CopyPaste(dataset)):
        assert around.num_learnable == 0
        with pytest.raises(DataError, match="nothing to learn from"):
            TrainLoader(dataset=around, batch_size=1)


def test_wrapper_reports_left_out_of_wrapped_dataset(tmp_path: Path) -> None:
    data = coco_files.content(2)
    data["annotations"][0]["bbox"] = [1, 1, 0, 5]
    dataset = coco_files.dataset(tmp_path, data, bad_annotations="skip")
    assert left_out(Mosaic(dataset)) == left_out(dataset) == {"annotations that cannot be used": 1}
