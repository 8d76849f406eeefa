"""`det migrate`."""

import subprocess
import sys
from pathlib import Path

import yaml
from click.testing import CliRunner
from det_detectron2.cli import migrate
from det_detectron2.migrate_plugin import parts_of

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
cfg.MODEL.WEIGHTS = model_zoo.get_checkpoint_url("COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x.yaml")
cfg.DATASETS.TRAIN = ("mine",)
cfg.SOLVER.MAX_ITER = len("steps")
cfg.MODEL.NOTHING = 1
cfg.merge_from_list(["A.B", 1])
T.RandomFlip()
"""


def run(*arguments: str):
    return CliRunner().invoke(migrate, list(arguments))


def test_migrate_program_on_the_layer_gives_its_recipe(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    done = run(str(tmp_path / "program.py"), "-o", str(tmp_path / "recipe.yaml"))
    assert done.exit_code == 0, done.output
    assert "5 of 5 names in 1 file work on the layer" in done.output
    tree = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert tree["train"]["optimizer"]["lr"] == 0.005
    assert tree["model"]["num_classes"] == 3
    assert tree["weights"]["source"].endswith("137849600/model_final_f10217.pkl")
    for line in (
        "program.py:13: SOLVER.MAX_ITER is computed when the program runs; set it in the recipe",
        "program.py:14: MODEL.NOTHING is no setting of Detectron2; set it in the recipe",
        "program.py:15: settings of the command line or of a list become --set of det train",
        "not translated: DATASETS.TRAIN",
        "add your files to the recipe, data: {train: {type: coco",
    ):
        assert line in done.stderr
    assert run(str(tmp_path), "--check").exit_code == 0
    again = run(str(tmp_path / "program.py"), "-o", str(tmp_path / "recipe.yaml"))
    assert (again.exit_code, "recipe.yaml: is there already" in again.stderr) == (1, True)
    (tmp_path / "other.py").write_text(PROGRAM)
    several = run(str(tmp_path), "-o", str(tmp_path / "new.yaml"))
    assert (several.exit_code, "other.py" in several.stderr, (tmp_path / "new.yaml").exists()) == (1, True, False)


def test_migrate_check_lists_missing_parts(tmp_path: Path) -> None:
    lines = ("from detectron2.export import Caffe2Tracer", "from detectron2.engine import Nothing")
    (tmp_path / "a.py").write_text("\n".join((*lines, "import detectron2.utils.comm")))
    done = run(str(tmp_path), "--check")
    assert done.exit_code == 1
    assert "a.py:1: detectron2.export.Caffe2Tracer is not part of the layer; in det: det export" in done.output
    assert "a.py:2: detectron2.engine.Nothing is not part of the layer" in done.output
    assert "1 of 3 names" in done.output


def test_migrate_without_the_extra_names_it(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    program = (
        "import sys\nsys.modules['fvcore'] = None\nimport importlib.util as u\nfind = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'fvcore' else find(name, *a)\n"
        "from det_detectron2.cli import migrate\nmigrate()"
    )
    done = subprocess.run([sys.executable, "-c", program, tmp_path / "program.py"], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'needs fvcore, which is not installed; pip install "det-detectron2[layer]"' in done.stderr
    assert "is not part of the layer" not in done.stdout


def test_migrate_wrong_input_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("def")
    assert "is no Python of this version" in run(str(tmp_path / "a.py")).output
    assert "is no Python file, and no folder with one" in run(str(tmp_path / "nothing")).output


def test_migrate_plugin_holds_parts_of_the_program(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    program = Path(__file__).parents[3] / "examples/detectron2/custom.py"
    assert "custom.py:16: backbone SmallBackbone becomes part of a plugin: --plugin NAME" in run(str(program)).output
    done = run(str(program), "--plugin", "det-cells")
    assert done.exit_code == 0, done.output
    for file in ("pyproject.toml", "src/det_cells/backbone.py", "tests/test_conformance.py"):
        assert (tmp_path / "det-cells" / file).is_file()
    backbone = (tmp_path / "det-cells/before/SmallBackbone.py").read_text()
    assert "class SmallBackbone(Backbone):\n" in backbone
    assert "# - output_shape() becomes the attributes `channels` and `strides`" in backbone
    assert "# - used here: detectron2.layers.get_norm" in backbone
    hook = (tmp_path / "det-cells/before/LowestLoss.py").read_text()
    assert "on_start(trainer), before_step(trainer, batches)" in hook
    again = run(str(program), "--plugin", "det-cells")
    assert (again.exit_code, "det-cells: is there already" in again.stderr) == (1, True)


def test_migrate_plugin_finds_all_ways_of_registering(tmp_path: Path) -> None:
    lines = (
        "from detectron2 import modeling",
        "from detectron2.evaluation import DatasetEvaluator",
        "@modeling.ROI_HEADS_REGISTRY.register()",
        "class Heads:",
        "    def __init__(self, cfg): self.width = cfg.MODEL.HEADS.WIDTH.value + cfg.MODEL.HEADS.DEPTH",
        "def build(cfg): return None",
        "modeling.META_ARCH_REGISTRY.register(build)",
        "class Counts(DatasetEvaluator): pass",
        "class Other: pass",
    )
    (tmp_path / "p.py").write_text("\n".join(lines))
    found = parts_of(tmp_path / "p.py")
    assert [(each.kind, each.name, each.line) for each in found] == [
        ("head", "Heads", 3),
        ("model", "build", 6),
        ("evaluator", "Counts", 8),
    ]
    assert found[0].settings == ("MODEL.HEADS.DEPTH", "MODEL.HEADS.WIDTH")
    (tmp_path / "none.py").write_text("import detectron2")
    wrong = run(str(tmp_path / "none.py"), "--plugin", "det-cells")
    assert (wrong.exit_code, "registers no part with Detectron2" in wrong.stderr) == (1, True)
