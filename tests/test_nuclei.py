"""The example of nuclei: its recipes fit what they call and differ in the masks alone, and its data can be read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from det_core import recipes

HERE = Path(__file__).parents[1] / "examples" / "nuclei"
NAMES = ("mask_rcnn", "pointrend", "implicit_pointrend", "point_sup")


def tree(name):
    return recipes.load(HERE / f"{name}.yaml").check().tree


@pytest.mark.parametrize("name", NAMES)
def test_the_models_are_trained_alike(name):
    one, other = tree(name), tree("mask_rcnn")
    assert {**one["model"], "mask_head": 0} == {**other["model"], "mask_head": 0}
    assert one["train"] == other["train"]
    assert {**one["data"], "train": 0} == {**other["data"], "train": 0}


@pytest.mark.parametrize(("split", "images", "objects"), [("train", 74, 1980), ("val", 16, 416)])
def test_the_images_are_there_with_their_masks(split, images, objects, monkeypatch):
    monkeypatch.setenv("DET_DATA", str(HERE.parents[1]))
    dataset = recipes.load(HERE / "mask_rcnn.yaml").build("data").dataset(split)
    assert (len(dataset), dataset.num_objects) == (images, objects)
    assert all(dataset.path(index).exists() for index in range(len(dataset)))
    assert dataset[0].targets.masks.any()


@pytest.mark.slow
def test_the_script_leaves_a_table_and_a_picture(tmp_path):
    changes = ("train.steps=1", "train.batch_size=1", "data.val=null")
    command = [sys.executable, HERE / "compare_masks.py", "--output", tmp_path, "--models", "pointrend", "point_sup"]
    subprocess.run([*command, *(part for change in changes for part in ("--set", change))], check=True)
    assert set(json.loads((tmp_path / "masks.json").read_text())) == {"pointrend", "point_sup"}
    assert "| PointRend |" in (tmp_path / "masks.md").read_text()
    assert (tmp_path / "masks.png").stat().st_size > 10_000
