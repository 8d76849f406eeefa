"""Configurations of Detectron2 that are Python files become recipes without being executed."""

import pytest
from click.testing import CliRunner
from det_core import recipes
from det_core.cli.main import det
from det_core.errors import ConfigError, RecipeError, UnknownNameError
from det_detectron2.importer.files import recipe_from_file
from det_detectron2.importer.lazy_files import settings_from_python

PUBLISHED = """
from ..common.optim import SGD as optimizer
from ..common.coco_schedule import lr_multiplier_1x as lr_multiplier
from ..common.data.coco import dataloader
from ..common.models.mask_rcnn_fpn import model
from ..common.train import train

model.backbone.bottom_up.freeze_at = 2
train.init_checkpoint = "detectron2://ImageNetPretrained/MSRA/R-50.pkl"
"""
JITTER = """
import detectron2.data.transforms as T
from detectron2.config.lazy import LazyCall as L
from detectron2.layers.batch_norm import NaiveSyncBatchNorm
from detectron2.solver import WarmupParamScheduler
from fvcore.common.param_scheduler import MultiStepParamScheduler

from ..common.data.coco import dataloader
from ..common.models.mask_rcnn_fpn import model
from ..common.optim import SGD as optimizer
from ..common.train import train

train.max_iter = 184375
model.backbone.bottom_up.freeze_at = 0
model.backbone.bottom_up.stem.norm = model.backbone.bottom_up.stages.norm = model.backbone.norm = "SyncBN"
model.proposal_generator.head.conv_dims = [-1, -1]
model.roi_heads.box_head.conv_dims = [256, 256, 256, 256]
model.roi_heads.box_head.fc_dims = [1024]
model.roi_heads.box_head.conv_norm = model.roi_heads.mask_head.conv_norm = lambda c: NaiveSyncBatchNorm(c)
side = 1024
dataloader.train.mapper.augmentations = [
    L(T.ResizeScale)(min_scale=0.1, max_scale=2.0, target_height=side, target_width=side),
    L(T.FixedSizeCrop)(crop_size=(side, side)),
    L(T.RandomFlip)(horizontal=True),
]
dataloader.train.mapper.recompute_boxes = True
dataloader.train.total_batch_size = 64
train.amp.enabled = True
train.init_checkpoint = ""
optimizer.lr = 0.1
optimizer.weight_decay = 4e-5
lr_multiplier = L(WarmupParamScheduler)(
    scheduler=L(MultiStepParamScheduler)(
        values=[1.0, 0.1, 0.01], milestones=[163889, 177546], num_updates=train.max_iter
    ),
    warmup_length=500 / train.max_iter,
    warmup_factor=0.067,
)
"""
LONGER = """
from .short import dataloader, lr_multiplier, model, optimizer, train
train.max_iter *= 2
lr_multiplier.scheduler.milestones = [milestone * 2 for milestone in lr_multiplier.scheduler.milestones]
lr_multiplier.scheduler.num_updates = train.max_iter
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "configs" / "mine"
    path.mkdir(parents=True)
    return path


def compared(found, name):
    ours, theirs = recipes.recipe_from_tree(found.tree).resolved().tree, recipes.load(name).resolved().tree
    for section in ("model", "weights", "data", "train"):
        assert ours.get(section) == theirs.get(section)
    assert found.unknown == found.unused == []


def test_published_file_gives_recipe_of_its_name(folder):
    (folder / "published.py").write_text(PUBLISHED)
    compared(recipe_from_file(folder / "published.py"), "mask_rcnn_r50_fpn_1x")


def test_arithmetic_names_and_assignments_are_followed(folder):
    (folder / "short.py").write_text(JITTER)
    (folder / "longer.py").write_text(LONGER)
    compared(recipe_from_file(folder / "short.py"), "mask_rcnn_r50_fpn_100ep_lsj")
    found = recipe_from_file(folder / "longer.py").tree["train"]
    assert (found["steps"], found["schedule"]["milestones"]) == (368_750, [327_778, 355_092])


def test_published_common_files_are_resolved_by_name_with_references(folder):
    (folder / "a.py").write_text(
        'from detectron2.model_zoo import get_config\nmodel = get_config("common/models/mask_rcnn_fpn.py").model\n'
        'model.roi_heads.num_classes = 7\nmodel.roi_heads.box_predictor.num_classes = "${...roi_heads.num_classes}"\n'
        'model.roi_heads.mask_head.update(num_classes="${..num_classes}")\n'
        '[model.roi_heads.pop(name) for name in ["mask_in_features"]]\ndel model.roi_heads.mask_pooler\n'
    )
    found = settings_from_python(folder / "a.py")
    assert found["model.roi_heads.mask_head.num_classes"] == found["model.roi_heads.box_predictor.num_classes"] == 7
    assert not [key for key in found if key.startswith(("model.roi_heads.mask_in", "model.roi_heads.mask_pooler"))]


def checkout(folder, **files):
    """A folder `configs` with common files and a project beside it, as in a checkout; the project's folder."""
    project = folder.parents[1] / "projects" / "mine" / "configs"
    for name, text in files.items():
        place = project / "own.py" if name == "own" else folder.parent / "common" / f"{name}.py"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    return project


def test_project_resolves_common_files_of_checkout(folder):
    project = checkout(
        folder,
        data="from omegaconf import OmegaConf\nfrom detectron2.config import LazyCall as L\n"
        "from a import build, names\ndataloader = OmegaConf.create()\n"
        "dataloader.train = L(build)(dataset=L(names)(names='mine'))\n",
        parts="model = dict(kind='A', widths=[1] * 3, shapes={f: dict(s=s) for f, s in zip(['p2', 'p3'], [4, 8])})\n",
        own="from detectron2 import model_zoo\nfrom functools import partial\nfrom a import rate, B\n"
        "dataloader = model_zoo.get_config('common/data.py').dataloader\n"
        "model = model_zoo.get_config('common/parts.py').model\n"
        "model._target_ = B\nmodel.update(blocks=list(range(2)) + list(range(3, 5)))\n"
        "model.rate, model.depth = partial(rate, by=0.7), 12\n"
        "model.heads = [dict(w=[a, b]) for (a, b) in [(1, 2), (3, 4)]]\n"
        "for i in range(2):\n    model.heads[i].score = 0.02\n",
    )
    found = settings_from_python(project / "own.py")
    assert found == {
        "model.kind": "B",
        "model.widths": [1, 1, 1],
        "model.shapes.p2.s": 4,
        "model.shapes.p3.s": 8,
        "model.blocks": [0, 1, 3, 4],
        "model.rate": "functools.partial(<class 'rate'>, by=0.7)",
        "model.depth": 12,
        "model.heads.0.w": [1, 2],
        "model.heads.0.score": 0.02,
        "model.heads.1.w": [3, 4],
        "model.heads.1.score": 0.02,
        "dataloader.train.dataset.names": "mine",
        "dataloader.train.dataset.kind": "names",
        "dataloader.train.kind": "build",
    }


@pytest.mark.parametrize(
    ("common", "recipe"),
    [
        ("cascade_rcnn", "cascade_mask_rcnn_r50_fpn_3x"),
        ("panoptic_fpn", "panoptic_fpn_r50_1x"),
        ("mask_rcnn_vitdet", "mask_rcnn_vitdet_b_100ep"),
    ],
)
def test_common_models_are_built_in_without_their_files(common, recipe, folder):
    more = "model.proposal_generator.post_nms_topk = (2000, 1000)\n" if common == "cascade_rcnn" else ""
    (folder / "a.py").write_text(f"from ..common.models.{common} import model\n{more}")
    try:
        theirs = recipes.load(recipe)
    except (RecipeError, UnknownNameError):
        pytest.skip("the package of this recipe is not installed")
    ours = recipes.recipe_from_tree(recipe_from_file(folder / "a.py").tree).resolved().tree["model"]
    for node in (ours, wanted := theirs.resolved().tree["model"]):
        (node["backbone"].get("bottom_up") or {}).pop("freeze_at", None)
    assert ours == wanted


def test_common_data_and_optimizers_are_built_in(folder):
    (folder / "a.py").write_text(
        "from ..common.data.constants import constants\nfrom ..common.data.coco_panoptic_separated import dataloader\n"
        "from ..common.optim import AdamW as optimizer\nmodel = dict(mean=constants.imagenet_bgr256_mean)\n"
        "optimizer.lr = 0.5\n"
    )
    found = settings_from_python(folder / "a.py")
    assert found["model.mean"] == [103.53, 116.28, 123.675]
    assert found["optimizer.params.base_lr"] == 0.5
    assert found["dataloader.evaluator.2.dataset_name"] == "coco_2017_val_panoptic_separated"


def test_class_count_of_common_model_reaches_heads(folder):
    (folder / "a.py").write_text("from ..common.models.mask_rcnn_fpn import model\nmodel.roi_heads.num_classes = 7\n")
    found = settings_from_python(folder / "a.py")
    assert found["model.roi_heads.mask_head.num_classes"] == found["model.roi_heads.box_predictor.num_classes"] == 7


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import os\nos.system('touch HARM')", "line 2: Call is not read"),
        ("__import__('os').system('touch HARM')", "line 1: "),
        ("from os import system\nmodel = dict(a=system('touch HARM'))", "line 2: Call is not read"),
        ("from detectron2.config import LazyCall as L\nimport os\nmodel = L(os.system)('touch HARM')", "by name"),
        ("model = [x for x in ().__class__.__bases__]", "line 1: "),
        ("def f():\n    pass", "line 1: FunctionDef is not read"),
        ("\nfor i in [1]:\n    pass\nelse:\n    pass", "line 2: For is not read"),
        ("if True:\n    pass", "If is not read"),
        ("model = 9 ** 9 ** 9", "too large"),
        (
            "model = dict()\nfor i in range(9999):\n    for j in range(9999):\n        model.a = 1",
            "more than 10000 values",
        ),
        ("for i in 3:\n    model = 1", "line 1: Constant is not read"),
        ("a, b = 1, 2, 3", "2 names for another number of values"),
        ("class A:\n    pass", "line 1: ClassDef is not read"),
        ("model = [[0 for i in r] for j in r]", "Name is not read"),
        ("from .a import model", "form a circle"),
        ("from .nowhere import model", "there is no such file"),
        ("from . import b", "ImportFrom is not read"),
        ("from os import *", "ImportFrom is not read"),
        ("model = {1: 2}", "Dict is not read"),
        ("model = dict(**{})", "by name"),
        ("model.a = 1", "Name is not read"),
        ("train = dict(a=1)", "has no `model`"),
        ('model = dict(a="${.b}")', "refers to nothing"),
        ('model = dict(a="${.a}")', "refers to nothing"),
        ("model = (", "is not Python"),
        ("a" * 2_000_000, "larger than 1 MB"),
        ("model = " + "-" * 100_000 + "1", ""),
    ],
)
def test_unsupported_syntax_is_refused_with_line_and_not_run(text, message, folder, monkeypatch):
    (folder / "a.py").write_text(text)
    monkeypatch.chdir(folder)
    with pytest.raises((ConfigError, RecipeError)) as error:
        recipe_from_file(folder / "a.py")
    assert message in str(error.value)
    assert [file.name for file in folder.iterdir()] == ["a.py"]


@pytest.mark.usefixtures("alone")
def test_command_reports_unsupported_class(folder):
    (folder / "a.py").write_text(PUBLISHED + "model.kind = 'PanopticFPN'\n")
    result = CliRunner().invoke(det, ["recipes", "import", str(folder / "a.py")])
    assert result.exit_code == 1
    assert "model.kind: is not supported yet; got 'PanopticFPN'" in result.stderr


def test_existing_recipe_is_replaced_with_overwrite_only(folder, tmp_path):
    (folder / "a.py").write_text(PUBLISHED)
    output = tmp_path / "recipe.yaml"
    output.write_text("mine")
    command = ["recipes", "import", str(folder / "a.py"), "-o", str(output)]
    result = CliRunner().invoke(det, command)
    assert result.exit_code == 1
    assert "is there already" in result.stderr
    assert output.read_text() == "mine"
    assert CliRunner().invoke(det, [*command, "--overwrite"]).exit_code == 0
    assert "mask_rcnn" in output.read_text()
