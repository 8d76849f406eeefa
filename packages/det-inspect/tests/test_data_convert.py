"""`det data convert`: from a recipe or from files, every split into one folder."""

from pathlib import Path

import pytest
from click.testing import CliRunner
from det_core.cli.main import det
from det_core.data import CocoDataset
from det_datasets.readers import YoloDataset
from det_devkit import coco_files


def run(*arguments, code=0):
    result = CliRunner().invoke(det, ["data", "convert", *(str(each) for each in arguments)])
    assert result.exit_code == code, result.output
    return result.output


@pytest.fixture
def files(tmp_path):
    images, file = coco_files.write(tmp_path, coco_files.content())
    other = file.with_name("cells_val.json")
    other.write_text(file.read_text())
    return images, file.rename(file.with_name("cells_train.json")), other


def test_two_files_become_two_splits(tmp_path, files):
    images, train, val = files
    out = tmp_path / "yolo"
    said = run("--images", images, "--annotations", train, "--annotations", val, "--to", "yolo", "-o", out)
    assert f"train: 3 images with 2 objects, in {out / 'data.yaml'}" in said
    assert "not kept: crowds, which are left out (1)" in said
    assert len(YoloDataset(out / "images" / "val", out / "data.yaml")) == 3
    run("--format", "yolo", "--images", out / "images/train", "--classes", out / "data.yaml", "--to", "coco", "-o", out)
    assert CocoDataset(out / "images/train", out / "instances_train.json").classes == ("dog", "cat")


def test_data_convert_reads_dataset_of_recipe(tmp_path, files):
    images, train, _ = files
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        f"extends: faster_rcnn_r50_fpn_1x\ndata:\n  train: {{type: coco, images: {images}, annotations: {train}}}\n"
    )
    said = run(recipe, "--split", "train", "--to", "voc", "-o", tmp_path / "voc", "--files", "link")
    assert "classes in this order: dog, cat" in said
    assert (tmp_path / "voc" / "JPEGImages" / "1.png").is_symlink()
    assert Path(tmp_path / "voc" / "JPEGImages" / "1.png").resolve() == images / "1.png"


def test_data_convert_missing_options_are_named(tmp_path, files):
    images, train, _ = files
    to = ("--to", "voc", "-o", tmp_path / "out")
    assert "give a recipe, or --images and --annotations" in run(*to, code=2)
    assert "voc needs --folder" in run("--format", "voc", *to, code=2)
    assert "yolo needs --images, and --classes" in run("--format", "yolo", "--images", images, *to, code=2)
    assert "not both" in run("faster_rcnn_r50_fpn_1x", "--images", images, *to, code=2)
    assert "dataset 'cocoo': is not known" in run(
        "--format", "cocoo", "--images", images, "--annotations", train, *to, code=2
    )
