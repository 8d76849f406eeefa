"""Configuration files of Detectron2 become recipes; nothing in them is run."""

import os
import subprocess
import sys

import pytest
from click.testing import CliRunner
from det_core import recipes
from det_core.cli.main import det
from det_core.errors import ConfigError, DetError, RecipeError
from det_detectron2.importer.files import recipe_from_file, settings_from_yaml

BASE = """
MODEL:
  META_ARCHITECTURE: "RetinaNet"
  BACKBONE:
    NAME: "build_retinanet_resnet_fpn_backbone"
  RESNETS:
    OUT_FEATURES: ["res3", "res4", "res5"]
  ANCHOR_GENERATOR:
    SIZES: !!python/object/apply:eval ["[[x, x * 2**(1.0/3), x * 2**(2.0/3) ] for x in [32, 64, 128, 256, 512 ]]"]
  FPN:
    IN_FEATURES: ["res3", "res4", "res5"]
  RETINANET:
    SMOOTH_L1_LOSS_BETA: 0.0
DATASETS:
  TRAIN: ("coco_2017_train",)
  TEST: ("coco_2017_val",)
SOLVER:
  IMS_PER_BATCH: 16
  BASE_LR: 0.01
  STEPS: (60000, 80000)
  MAX_ITER: 90000
INPUT:
  MIN_SIZE_TRAIN: !!python/tuple [640, 672, 704, 736, 768, 800]
VERSION: 2
"""
CHILD = """
_BASE_: "../Base-RetinaNet.yaml"
MODEL:
  WEIGHTS: "detectron2://ImageNetPretrained/MSRA/R-101.pkl"
  RESNETS:
    DEPTH: 101
SOLVER:
  STEPS: (210000, 250000)
  MAX_ITER: 270000
"""


@pytest.fixture
def configs(tmp_path):
    """Writes files, by their path, into one folder; gives the last one's path."""

    def write(**files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path = path.with_suffix(path.suffix or ".yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return path

    return write


def run(*arguments):
    return CliRunner().invoke(det, ["recipes", "import", *map(str, arguments)])


def test_file_with_base_gives_recipe_of_same_name(tmp_path):
    (tmp_path / "COCO-Detection").mkdir()
    (tmp_path / "Base-RetinaNet.yaml").write_text(BASE)
    path = tmp_path / "COCO-Detection" / "retinanet_R_101_FPN_3x.yaml"
    path.write_text(CHILD)
    result = run(path, "-o", tmp_path / "ours.yaml")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"recipe: {tmp_path / 'ours.yaml'}; det train {tmp_path / 'ours.yaml'}\n"
    ours, theirs = (
        recipes.load(name).resolved().tree for name in (str(tmp_path / "ours.yaml"), "retinanet_r101_fpn_3x")
    )
    for section in ("model", "weights", "data", "train"):
        assert ours[section] == theirs[section]


def test_recipe_is_printed_and_untranslated_settings_go_to_stderr(configs):
    path = configs(mine="MODEL: {POINT_HEAD_ON: true}\nTEST: {AUG: {ENABLED: true}}\nSOLVER.MAX_ITER: 7\n")
    result = run(path)
    assert result.exit_code == 0
    assert result.stderr.splitlines() == ["not translated: MODEL.POINT_HEAD_ON", "not translated: TEST.AUG.ENABLED"]
    again = path.with_name("again.yaml")
    again.write_text(result.stdout)
    assert recipes.load(again).check().tree["train"]["steps"] == 7


def test_registered_dataset_is_left_for_the_recipe(configs):
    result = run(configs(mine='DATASETS:\n  TRAIN: ("mine",)\n'))
    assert result.stderr.splitlines()[0] == "not translated: DATASETS.TRAIN"
    assert "data: {train: {type: coco, images: FOLDER, annotations: FILE}, val: ...}" in result.stderr.splitlines()[1]


def test_constant_in_text_is_parsed(configs):
    path = configs(a='A: "(1, 2.5)"\nB: "1e-4"\nC: {D: none of it}\nE: [1, 2]\nF: "__import__(\'os\')"\nG: 1e-4')
    found = settings_from_yaml(path)
    assert found["A"] == (1, 2.5)
    assert found["B"] == found["G"] == 1e-4
    assert (found["C.D"], found["E"], found["F"]) == ("none of it", [1, 2], "__import__('os')")


@pytest.mark.usefixtures("alone")
def test_unsupported_model_is_reported_with_its_setting(configs):
    result = run(configs(a="MODEL: {META_ARCHITECTURE: TensorMask}"))
    assert result.exit_code == 1
    assert "MODEL.META_ARCHITECTURE: is not supported yet; got 'TensorMask'" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("A: !!python/object/apply:os.system ['touch HARM']", "line 1: the tag"),
        ("A: !!python/object/new:os.system ['touch HARM']", "line 1: the tag"),
        ("A: !!python/name:os.system", "line 1: the tag"),
        ('A: !!python/object/apply:eval [\'__import__("os").system("touch HARM")\']', "Call is not read"),
        ("A: !!python/object/apply:eval ['[x for x in (1).__class__.__subclasses__()]']", "Call is not read"),
        ("A: !!python/object/apply:eval ['9 ** 9 ** 9 ** 9']", "too large"),
        ("A: !!python/object/apply:eval ['[0] * 10 ** 12']", "more than 10000 values"),
        ("A: !!python/object/apply:eval ['[[0] * 9000] * 9000']", "more than 10000 values"),
        ("A: !!python/object/apply:eval ['[list(range(9000)) for x in range(900)]']", "more than 10000 values"),
        ("A: !!python/object/apply:eval ['range(10 ** 15)']", "more than 10000 values"),
        ("A: !!python/object/apply:eval ['range()']", "Call is not read"),
        ("A: !!python/object/apply:eval ['range(1, 2, 0)']", "must not be zero"),
        ("A: !!python/object/apply:eval ['int(\"9\" * 9)']", "BinOp is not read"),
        ('A: !!python/object/apply:eval [\'open("HARM", "w")\']', "Call is not read"),
        ("A: !!python/object/apply:eval [[1]]", "asks for `eval` of something that is no text"),
        ("A: !!python/object/apply:eval ['1 +']", "no expression"),
        ("_BASE_: http://127.0.0.1:9/a.yaml", "is a URL, which is not fetched"),
        ("_BASE_: [a.yaml]", "must name one file"),
        ("_BASE_: nowhere.yaml", "a.yaml: _BASE_: names a file that is not there"),
        ("_BASE_: a.yaml", "form a circle"),
        ("_BASE_: .", "is a folder"),
        ("_BASE_: /dev/zero", "is no plain file"),
        ("- 1", "must be a mapping"),
        ("", "must be a mapping"),
        ("A: [", "is not YAML"),
        ("MODEL: {MASK_ON: perhaps}", "MODEL.MASK_ON: must be true or false"),
        ("SOLVER: {STEPS: 7}", "SOLVER.STEPS: must be a list"),
        ("MODEL: {RESNETS: {DEFORM_ON_PER_STAGE: [true]}}", "of another form"),
    ],
)
def test_malicious_or_empty_file_is_refused_without_effect(text, message, configs, monkeypatch):
    path = configs(a=text)
    monkeypatch.chdir(path.parent)
    with pytest.raises((ConfigError, RecipeError)) as error:
        recipe_from_file(path)
    assert message in str(error.value)
    assert run(path).exit_code == 1
    assert [file.name for file in path.parent.iterdir()] == ["a.yaml"]


def test_circular_bases_and_oversized_file_are_refused(configs):
    path = configs(a="_BASE_: b.yaml", b="_BASE_: a.yaml")
    with pytest.raises(RecipeError, match="form a circle"):
        settings_from_yaml(path)
    with pytest.raises(RecipeError, match="is larger than 1 MB"):
        settings_from_yaml(configs(large="#" * 2_000_000))


def test_command_needs_no_torch(configs):
    path = configs(a="MODEL: {MASK_ON: true}")
    code = (
        "import sys; from pathlib import Path; from det_detectron2.importer.files import recipe_from_file as f; "
        f"f(Path({str(path)!r})); print([m for m in ('torch', 'numpy', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "text",
    [
        "version: '3'\nservices: {web: {image: nginx}}\n",
        "names: [cat, dog]\ntrain: images/train\nnc: 2\n",
        "{}",
        "extends: mask_rcnn_r50_fpn_1x\nmodel: {num_classes: 3}\n",
        # Another program whose settings have some of the same names.
        "MODEL: {META_ARCHITECTURE: GeneralizedRCNN, WEIGHT: R-50.pkl, BACKBONE: {CONV_BODY: R-50-FPN}, RPN: {USE_FPN: "
        "true, ANCHOR_STRIDE: [4, 8]}, ROI_BOX_HEAD: {PREDICTOR: FPNPredictor}}\nSOLVER: {BASE_LR: 0.02}\n",
    ],
)
def test_yaml_files_of_other_programs_are_refused(text, configs):
    path = configs(a=text)
    with pytest.raises(RecipeError, match=r"a.yaml: is no configuration of Detectron2; Detectron2 has \d of its \d"):
        recipe_from_file(path)
    assert run(path).stdout == ""


@pytest.mark.parametrize("text", ["model = dict(type='MaskRCNN', backbone=dict(depth=50))", "model = dict()"])
def test_python_files_of_other_programs_are_refused(text, tmp_path):
    (tmp_path / "a.py").write_text(text)
    with pytest.raises(RecipeError, match="is no configuration of Detectron2; its `model` is no call of a class"):
        recipe_from_file(tmp_path / "a.py")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no pipes with names")
def test_recipe_from_file_of_pipe_or_folder_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    for name in ("pipe.yaml", "folder.yaml"):
        with pytest.raises(DetError):
            recipe_from_file(tmp_path / name)


def test_eval_tag_with_range_gives_list_of_numbers(configs):
    path = configs(a="INPUT: {MIN_SIZE_TRAIN: !!python/object/apply:eval ['[int(x * 0.5 * 64) for x in range(5, 9)]']}")
    assert settings_from_yaml(path)["INPUT.MIN_SIZE_TRAIN"] == [160, 192, 224, 256]
