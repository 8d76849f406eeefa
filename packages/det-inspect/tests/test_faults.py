"""All faults of a recipe and its files at once, without torch."""

import subprocess
import sys
from pathlib import Path

import pytest
from det_core import recipes
from det_core.engine import RunFolder
from det_core.errors import CheckpointError, DetError
from det_inspect.faults import stubs
from det_inspect.faults.find import find_faults

RECIPE = """\
extends: faster_rcnn_r50_fpn_1x
model: {num_classes: 3, roi_heads: {box_head: {fc_dims: 512}}}
weights: {source: nowhere.pth}
data:
  train: {type: coco, images: nowhere, annotations: train.json}
  val: null
  test: {type: coco, images: elsewhere, annotations: test.json}
  workers: two
train: {steps: 10}
"""
MAIN = """\
import sys
from det_core.cli.main import main
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


def det(folder: Path, *words: str) -> tuple[int, list[str]]:
    """The exit code and the lines on standard error, of which the last is whether torch was imported."""
    done = subprocess.run([sys.executable, "-c", MAIN, *words], cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stderr.splitlines()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("DET_DATA", raising=False)
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    (tmp_path / "train.json").write_text("{}")
    (tmp_path / "a.jpg").touch()
    return tmp_path


def test_train_lists_all_faults_without_torch(folder: Path) -> None:
    code, lines = det(folder, "train", "recipe.yaml", "--set", "train.stepz=3")
    assert code == 2
    assert [line.split(": ")[1] for line in lines[:-1]] == [
        *("train.stepz", "model.roi_heads.box_head.fc_dims", "weights.source", "data.train.images", "data.workers")
    ]
    assert lines[-1] == "False"


def test_second_training_is_refused_without_torch(folder: Path) -> None:
    recipe = "{extends: faster_rcnn_r50_fpn_1x, weights: null, data: {train: null, val: null}}"
    (folder / "recipe.yaml").write_text(recipe)
    (folder / "run").mkdir()
    (folder / "run" / "recipe.resolved.yaml").write_text("model: {}\n")
    code, lines = det(folder, "train", "recipe.yaml", "--output", "run")
    assert (code, lines[-1]) == (2, "False")
    with pytest.raises(CheckpointError) as raised:
        RunFolder(folder / "run").admit(recipes.load(folder / "recipe.yaml"), resume=False, overwrite=False)
    assert lines[:-1] == [f"error: {raised.value}".replace(f"{folder}/", "")]


def test_training_of_data_is_refused_without_torch(folder: Path) -> None:
    (folder / "empty").mkdir()
    for words, fault in {
        ("start", "nowhere", "-o", "new.yaml"): "nowhere: there is no such file or folder",
        ("start", "a.jpg", "-o", "new.yaml"): "a.jpg: is a picture",
        ("start", ".", "-o", "recipe.yaml"): "recipe.yaml: exists already",
        ("data", "split", "empty", "-o", "out"): "empty: contains no picture",
        ("train", "empty"): "empty: contains no picture",
        ("predict", "empty", "--model", "any.safetensors"): "empty: the folder holds no image",
    }.items():
        code, lines = det(folder, *words)
        assert code == 2
        assert lines[-1] == "False", words
        assert f"error: {fault}" in lines[-2]


def test_resume_needs_no_weights_file(folder: Path) -> None:
    _, lines = det(folder, "train", "recipe.yaml", "--resume")
    assert not any("weights.source" in line for line in lines)


def test_eval_lists_faults_of_its_split(folder: Path) -> None:
    code, lines = det(folder, "eval", "recipe.yaml", "--weights", "none.pth")
    assert code == 2
    places = [line.split(": ")[1] for line in lines[:-1]]
    assert places == [
        *("none.pth", "model.roi_heads.box_head.fc_dims", "data.test.images", "data.test.annotations", "data.workers")
    ]
    assert lines[-1] == "False"


def test_predict_lists_faults_of_the_model_alone(folder: Path) -> None:
    code, lines = det(folder, "predict", "a.jpg", "--model", "recipe.yaml", "--weights", "none.pth")
    assert code == 2
    assert [line.split(": ")[1] for line in lines[:-1]] == ["none.pth", "model.roi_heads.box_head.fc_dims"]
    assert lines[-1] == "False"


@pytest.mark.parametrize("name", recipes.names())
def test_packaged_recipe_has_no_faults(name: str) -> None:
    assert find_faults(name) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", recipes.names())
def test_resolved_recipe_has_no_faults(name: str, tmp_path: Path) -> None:
    assert find_faults(str(recipes.load(name).resolved().save(tmp_path / "recipe.yaml"))) == []


FAULTS = {
    "{model: {backbone: {out_feature: [p2]}}}": "model.backbone.out_feature",
    "{model: {backbone: {norm: 3}}}": "model.backbone.norm",
    "{model: {backbone: {bottom_up: {type: resnett}}}}": "model.backbone.bottom_up.type",
    "{train: {optimizer: {lr: fast}}}": "train.optimizer.lr",
    "{train: {optimizer: {momentun: 0.9}}}": "train.optimizer.momentun",
    "{train: {precision: fp8}}": "train.precision",
    "{train: {param_groups: {norm_decay: 0.0}}}": "train.param_groups.norm_decay",
    "{train: {ema: {decay: none}}}": "train.ema.decay",
    "{data: {train_transforms: [{type: 'torchvision.transforms.v2:RandomHorizontalFlip', q: 0.5}]}}": (
        "data.train_transforms.0.q"
    ),
    "{data: {on_bad_image: ignore}}": "data.on_bad_image",
    "{data: {train: {type: coco, images: 3, annotations: a.json}}}": "data.train.images",
    "{data: {train: {type: coco}}}": None,
}


@pytest.mark.parametrize("text", FAULTS)
def test_fault_has_message_of_full_check(text: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(f"{text[:-1]}, extends: faster_rcnn_r50_fpn_1x}}")
    found = find_faults(str(path))
    if FAULTS[text] is None:  # a factory's arguments may come from its parent
        assert found == []
        return
    with pytest.raises(DetError) as raised:
        recipes.load(path).check()
    assert [each.where for each in found] == [FAULTS[text]]
    assert str(found[0]) == str(raised.value)


def test_source_that_cannot_be_read_is_not_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lab.py").write_text(
        "import functools\nclass Meta(type): pass\nclass A(metaclass=Meta):\n    def __init__(self, x: int): ...\n"
        "@functools.cache\ndef b(x: int): ...\nX = list['X']\nclass C:\n    def __init__(self, x: X = 1): ...\n"
        "class D(Unknown):\n    pass\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "recipe.yaml").write_text(
        "extends: faster_rcnn_r50_fpn_1x\ntrain: {callbacks: [{type: 'lab:A', x: y}, {type: 'lab:b', x: y}, "
        "{type: 'lab:C', x: y}, {type: 'lab:D', z: 1}, {type: 'lab:E', z: 1}, {type: 'nowhere.at:all', z: 1}]}\n"
    )
    assert find_faults(str(tmp_path / "recipe.yaml")) == []


def test_stub_of_a_protocol_is_a_contract() -> None:
    assert stubs.stub_of("det_core.contracts:Backbone")._is_protocol
    assert stubs.stub_of("torch:Tensor") is not stubs.anything
