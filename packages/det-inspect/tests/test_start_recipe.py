"""`det start`, `det data split` and `det train DATA`: what they write, and that it trains."""

import json
from pathlib import Path
from types import SimpleNamespace

import folders
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from det_core import recipes
from det_core.cli.main import det
from det_core.models.parts.anchors import AnchorGenerator
from det_inspect.start.measure import Figures, anchors_for
from det_inspect.start.template import choose
from det_inspect.start.weights import find_weights
from det_inspect.training import AnchorFit

OUTLINE = "0 0.1 0.1 0.4 0.1 0.4 0.5 0.2 0.6 0.1 0.4"
POSE = "0 0.5 0.5 0.4 0.4 0.4 0.4 2 0.6 0.4 2 0.5 0.6 2"
TASKS = {
    "detect": folders.coco,
    "rotated": folders.dota,
    "segment": lambda place: folders.yolo(place, lines=[OUTLINE], about="task: segment\n"),
    "pose": lambda place: folders.yolo(place, lines=[POSE], about="kpt_shape: [3, 3]\nflip_idx: [1, 0, 2]\n"),
}


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A folder to work in, without a network or weights in a cache."""
    monkeypatch.setenv("DET_OFFLINE", "1")
    monkeypatch.setenv("DET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("DET_DATA", raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def run(*words):
    return CliRunner().invoke(det, [str(word) for word in words])


@pytest.mark.parametrize("task", TASKS)
def test_recipe_of_each_task_trains_two_steps(task, offline):
    TASKS[task](offline / "data")
    result = run("start", "data")
    assert result.exit_code == 0, result.output
    assert f"task {task}" in result.output
    assert "no weights to begin with" in result.stderr
    tree = recipes.load("recipe.yaml").tree
    assert tree["weights"] is None
    assert not Path(tree["data"]["train"]["images"]).is_absolute()
    result = run("train", "recipe.yaml", "--set", "train.steps=2", "--set", "data.workers=0", "--output", "run")
    assert result.exit_code == 0, result.output
    assert "Best " in result.stdout


def test_recipe_is_not_overwritten(offline):
    folders.coco(offline / "data")
    Path("recipe.yaml").write_text("model: mine\n")
    result = run("start", "data")
    assert (result.exit_code, Path("recipe.yaml").read_text()) == (2, "model: mine\n")
    assert "--overwrite" in result.stderr
    assert run("start", "data", "--overwrite").exit_code == 0


def test_question_is_answered_on_a_terminal(offline, monkeypatch):
    folders.masks(offline / "data", values=(1, 2))
    monkeypatch.setattr("det_inspect.start.asking.Answers.ask", lambda *_: "instances")
    result = run("start", "data")
    assert result.exit_code == 0, result.output
    assert "task segment" in result.output


def test_question_without_a_terminal_names_the_option(offline):
    folders.masks(offline / "data", values=(1, 2))
    result = run("start", "data")
    assert result.exit_code == 2
    assert "add --masks instances|classes" in result.stderr


def test_recipe_outside_of_the_current_folder_has_absolute_paths(offline, monkeypatch):
    monkeypatch.chdir(folders.labelimg(offline / "data"))
    assert run("start", ".", "--output", "../recipe.yaml").exit_code == 0
    tree = recipes.load("../recipe.yaml").tree
    assert tree["data"]["train"] == {
        "type": "coco",
        "images": str(offline / "data"),
        "annotations": str(offline / "recipe_train.json"),
    }


@pytest.mark.parametrize(
    ("side", "picture", "short", "strides"),
    [
        (16, 360, 256, (4, 8, 16, 32)),  # pictures as small as 0.7 of their size
        (80, 480, 320, (8, 16, 32)),
        (80, 3000, 448, (4, 8, 16, 32)),  # until small objects have 12 pixels
        (20, 3000, 640, (4, 8, 16, 32)),
        (8, 320, 480, (4, 8, 16, 32)),  # larger than they are, for small objects
        (40, 128, 96, (8, 16, 32)),
    ],
)
def test_size_of_pictures_keeps_small_objects(side, picture, short, strides):
    sides = np.full(50, float(side))
    figures = Figures(40, 50, picture, 1.5 * picture, sides, sides / picture, np.ones(50))
    choices = choose(figures, "detect", ("horizontal",), "", True)
    assert (choices.short, choices.strides) == (short, strides)


def test_weights_of_a_file_and_of_a_cache(offline):
    file = offline / "mobilenet.pth"
    file.write_bytes(b"any")
    assert find_weights(file).source == str(file)
    assert find_weights(None).source == ""
    place = offline.parent / "torch" / "hub" / "checkpoints"
    place.mkdir(parents=True)
    (place / "mobilenet_v2-b0353104.pth").write_bytes(b"any")
    assert find_weights(None).source == str(place / "mobilenet_v2-b0353104.pth")
    result = run("start", folders.coco(offline / "data"), "--weights", "nosuch.pth")
    assert result.exit_code == 2
    assert "check --weights" in result.stderr


def test_train_of_a_folder_writes_a_recipe_and_resumes(offline):
    folders.yolo(offline / "cells")
    few = ("--set", "train.steps=2", "--set", "data.workers=0")
    result = run("train", "cells/data.yaml", *few)
    assert result.exit_code == 0, result.output
    assert Path("runs/cells/best.safetensors").exists()
    written = Path("runs/cells/recipe.yaml").read_text()
    result = run("train", "cells/data.yaml", *few)
    assert result.exit_code == 2
    assert "holds a run already" in result.stderr
    result = run("train", "cells/data.yaml", "--set", "train.steps=3", "--set", "data.workers=0", "--resume")
    assert result.exit_code == 0, result.output
    assert "Last step 3" in result.stdout
    assert Path("runs/cells/recipe.yaml").read_text() == written


def test_split_writes_files_of_each_part(offline):
    folders.labelimg(offline / "data")
    result = run("data", "split", "data", "--val", "0.25", "--test", "0.25", "-o", "splits")
    assert result.exit_code == 0, result.output
    counts = {
        split: len(json.loads(Path(f"splits/instances_{split}.json").read_text())["images"])
        for split in ("train", "val", "test")
    }
    assert counts == {"train": 4, "val": 2, "test": 2}


def test_names_beyond_ascii_stay_in_the_recipe(offline):
    categories = [{"id": 1, "name": "Zelle: groß #1"}, {"id": 2, "name": "核"}]
    folders.coco(offline / "daten mit leerzeichen", categories=categories)
    assert run("start", "daten mit leerzeichen").exit_code == 0
    tree = recipes.load("recipe.yaml").tree
    assert tree["summary"].endswith("Zelle: groß #1, 核")
    assert tree["data"]["val"]["images"] == "daten mit leerzeichen/val"


@pytest.mark.parametrize(
    ("low", "high", "strides"), [(24, 140, (8, 16, 32)), (16, 128, (4, 8, 16, 32)), (60, 80, (8, 16, 32))]
)
def test_anchors_are_multiples_of_strides_that_fit(low, high, strides):
    boxes = np.geomspace(low, high, 500)
    anchors = anchors_for(boxes, np.ones(500), strides)
    assert anchors["aspect_ratios"] == [[1.0]]
    assert len(anchors["sizes"]) == len(strides)
    multiples = {size / stride for [size], stride in zip(anchors["sizes"], strides, strict=True)}
    assert len(multiples) == 1
    assert 4 <= multiples.pop() <= 8
    nearest = np.array([size for [size] in anchors["sizes"]])
    distances = np.abs(np.log(boxes[:, None] / nearest)).min(1)
    assert distances.max() < np.log(1.6)  # squares then have an IoU of 0.39


def squares(side, count=300):
    return torch.tensor([[0.0, 0.0, side, side]]).expand(count, 4)


class Trainer:
    """As much of a training as the callback asks for."""

    step = 0

    def __init__(self, sizes):
        self.lines = []
        self.settings = SimpleNamespace(steps=10)
        self.display = SimpleNamespace(write=self.lines.append)
        self.model = torch.nn.ModuleDict({"anchors": AnchorGenerator({"p3": 8}, sizes=[sizes])})
        self.model["backbone"] = backbone = torch.nn.Identity()
        backbone.strides = {"p3": 8}


@pytest.mark.parametrize(
    ("side", "sizes", "parts"),
    [(30, [32], []), (200, [32], ["100% of objects are far"]), (5, [5], ["smaller than the smallest stride, 8"])],
)
def test_notes_on_anchors_and_strides(side, sizes, parts):
    trainer, callback = Trainer(sizes), AnchorFit()
    batch = SimpleNamespace(targets=[SimpleNamespace(boxes=squares(side))])
    callback.before_step(trainer, [batch])
    callback.before_step(trainer, [batch])
    assert len(trainer.lines) == len(parts)
    for part, line in zip(parts, trainer.lines, strict=True):
        assert part in line
