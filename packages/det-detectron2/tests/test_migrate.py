"""`det migrate`."""

from pathlib import Path

import yaml
from click.testing import CliRunner
from det_detectron2.cli import migrate

PROGRAM = """
import detectron2.data.transforms as T
from detectron2 import model_zoo
from detectron2.config import get_cfg
from detectron2.engine import DefaultTrainer
cfg = get_cfg()
cfg.merge_from_file(model_zoo.get_config_file("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_1x.yaml"))
cfg.MODEL.ROI_HEADS.NUM_CLASSES = 3
cfg.SOLVER.BASE_LR = 0.005
cfg.OUTPUT_DIR = str(1)
T.RandomFlip()
"""


def run(*arguments: str):
    return CliRunner().invoke(migrate, list(arguments))


def test_migrate_program_on_the_layer_gives_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run(str(tmp_path / "program.py"), "-o", str(tmp_path / "recipe.yaml"))
    assert done.exit_code == 0, done.output
    assert "4 of 4 names in 1 files work on the layer" in done.output
    tree = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert tree["train"]["optimizer"]["lr"] == 0.005
    assert tree["model"]["num_classes"] == 3
    assert run(str(tmp_path), "--check").exit_code == 0
    assert run(str(tmp_path / "program.py"), "-o", str(tmp_path / "recipe.yaml")).exit_code == 1


def test_migrate_check_lists_missing_parts(tmp_path: Path) -> None:
    lines = ("from detectron2.export import Caffe2Tracer", "from detectron2.engine import Nothing")
    (tmp_path / "a.py").write_text("\n".join((*lines, "import detectron2.utils.comm")))
    done = run(str(tmp_path), "--check")
    assert done.exit_code == 1
    assert "a.py:1: detectron2.export.Caffe2Tracer is not part of the layer; in det: det export" in done.output
    assert "a.py:2: detectron2.engine.Nothing is not part of the layer" in done.output
    assert "1 of 3 names" in done.output


def test_migrate_wrong_input_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def")
    assert "is no Python of this version" in run(str(tmp_path / "a.py")).output
    assert "is no Python file, and no folder with one" in run(str(tmp_path / "nothing")).output
