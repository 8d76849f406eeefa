"""The example of nuclei: its recipes fit what they call and differ in the masks alone, and its data can be read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from det_core import recipes
from det_core.data import CocoDataset
from det_datasets.readers import SemanticFolder

HERE = Path(__file__).parents[1] / "examples" / "nuclei"
NAMES = ("mask_rcnn", "pointrend", "implicit_pointrend", "point_sup")
OTHERS = ("pointrend_semantic", "tensormask", "tridentnet")


def once(*changes):
    """Arguments of a script that make its training one step of one image."""
    return [part for change in ("train.steps=1", "train.batch_size=1", *changes) for part in ("--set", change)]


def tree(name):
    return recipes.load(HERE / f"{name}.yaml").check().tree


@pytest.mark.parametrize("name", NAMES)
def test_models_share_training_settings(name):
    one, other = tree(name), tree("mask_rcnn")
    assert {**one["model"], "mask_head": 0} == {**other["model"], "mask_head": 0}
    assert one["train"] == other["train"]
    assert {**one["data"], "train": 0} == {**other["data"], "train": 0}


@pytest.mark.parametrize("name", OTHERS)
def test_other_recipes_fit_constructors(name):
    assert {"model", "data", "train"} <= tree(name).keys()


@pytest.mark.parametrize(("split", "images", "objects"), [("train", 74, 1980), ("val", 16, 416)])
def test_images_have_masks(split, images, objects, monkeypatch):
    monkeypatch.setenv("DET_DATA", str(HERE.parents[1]))
    dataset = recipes.load(HERE / "mask_rcnn.yaml").build("data").dataset(split)
    assert (len(dataset), dataset.num_objects) == (images, objects)
    assert all(dataset.path(index).exists() for index in range(len(dataset)))
    assert dataset[0].targets.masks.any()


@pytest.mark.slow
def test_script_writes_table_and_picture(tmp_path):
    command = [sys.executable, HERE / "compare_masks.py", "--output", tmp_path, "--models", "pointrend", "point_sup"]
    subprocess.run([*command, *once("data.val=null")], check=True)
    assert set(json.loads((tmp_path / "masks.json").read_text())) == {"pointrend", "point_sup"}
    assert "| PointRend |" in (tmp_path / "masks.md").read_text()
    assert (tmp_path / "masks.png").stat().st_size > 10_000


@pytest.mark.slow
def test_nuclei_semantic_labels_match_masks(tmp_path):
    subprocess.run([sys.executable, HERE / "foreground.py", tmp_path], check=True)
    dataset = SemanticFolder(tmp_path / "val" / "images", tmp_path / "val" / "labels", ["background", "nucleus"])
    masks = CocoDataset(HERE / "images", HERE / "instances_val.json", masks="bitmaps")
    assert len(dataset) == len(masks) == 16
    own = {sample.path.name: sample.targets.masks.any(dim=0).long() for sample in masks}
    assert all(torch.equal(sample.targets.semantic, own[sample.path.name]) for sample in dataset)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tensormask", "tridentnet"])
def test_recipe_is_evaluated_before_and_after(name, tmp_path):
    command = [sys.executable, HERE.parent / "before_and_after.py", HERE / f"{name}.yaml", "--output", tmp_path]
    subprocess.run([*command, *once()], check=True)
    [before, after] = json.loads((tmp_path / "before_and_after.json").read_text())[name]["bbox/AP"]
    assert 0 <= before <= 1
    assert 0 <= after <= 1
    assert f"| `{name}` | box AP |" in (tmp_path / "before_and_after.md").read_text()
    assert (tmp_path / name / "found.png").stat().st_size > 10_000
