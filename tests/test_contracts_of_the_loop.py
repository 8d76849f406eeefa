"""An implementation of each contract around the model is consumed: by training, loading, export and `det eval`."""

import json
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from det_core import contracts, recipes
from det_core.cli.main import det
from det_core.engine import train
from det_core.predict import Detector
from det_core.weights import load_into

HERE = Path(__file__).parent
P = "loop_parts"
RECIPE = {
    "model": {
        "type": "rcnn",
        "num_classes": 2,
        "backbone": {"type": f"{P}:RenamedBackbone"},
        "proposal_generator": {"type": "rpn", "anchor_generator": {"scales": [2.0]}},
        "roi_heads": {
            "type": "standard_roi_heads",
            "box_head": {"type": "fast_rcnn_conv_fc_head", "num_fc": 1, "fc_dim": 8},
            "pooler": {"resolution": 3},
        },
    },
    "data": {
        "train": {"type": f"{P}:Squares"},
        "val": {"type": f"{P}:Squares"},
        "sampler": {"type": f"{P}:OnlyLeft"},
        "evaluators": [{"type": "coco"}],
        "train_transforms": [{"type": f"{P}:Brighten"}],
        "aspect_ratio_grouping": True,
        "workers": 0,
    },
    "train": {"steps": 2, "batch_size": 2, "device": "cpu"},
}
OFFERED = """
from det_core.plugins.hooks import hookimpl


@hookimpl
def det_exporters():
    return {"mean": "loop_parts:MeanExporter"}


@hookimpl
def det_evaluators():
    return {"analysis": "loop_parts:Counting"}
"""


@pytest.fixture
def parts(monkeypatch, install, without):
    monkeypatch.syspath_prepend(HERE / "throwaway")
    install("det-loop-parts", OFFERED)
    without("det-inspect")
    import loop_parts

    yield loop_parts
    for name in ("loop_parts", "contract_parts", "det_loop_parts"):
        sys.modules.pop(name, None)


@pytest.fixture
def run(parts, tmp_path):
    train(recipes.recipe_from_tree(RECIPE), tmp_path / "run")
    return tmp_path / "run"


def test_dataset_sampler_and_transform_of_a_recipe_train(parts, run):
    assert isinstance(parts.Squares(), contracts.Dataset)
    assert isinstance(parts.Squares(), contracts.Indexed)
    assert isinstance(parts.OnlyLeft(parts.Squares(), 0), contracts.Sampler)
    assert isinstance(parts.Brighten(), contracts.Transform)
    assert parts.OnlyLeft(parts.Squares(), 0).epoch(1).tolist() == [2, 0]
    assert parts.Brighten.seen >= 4
    assert (run / "best.safetensors").exists()


def test_older_weights_of_part_are_loaded_under_current_names(parts):
    model = recipes.recipe_from_tree(RECIPE).build_model()
    assert isinstance(model.backbone, contracts.OlderWeights)
    old = {key.replace("backbone.conv.", "backbone.stem."): torch.ones_like(v) for key, v in model.state_dict().items()}
    report = load_into(model, old, where="old.pth")
    assert model.backbone.conv.weight.eq(1).all()
    assert "backbone.stem was renamed" in str(report)


def test_exporter_writes_a_file_that_detector_loads(parts, run, tmp_path):
    assert isinstance(parts.MeanExporter(), contracts.Exporter)
    file = Detector.load(run, device="cpu", trust=True).export("mean", tmp_path / "cells.mean")
    result = Detector.load(file, device="cpu")(torch.zeros(3, 40, 50, dtype=torch.uint8), threshold=0.0)
    assert result.detections.boxes.tolist() == [[0.0, 0.0, 50.0, 40.0]]


def test_analysis_explains_an_evaluation(parts, run, tmp_path):
    assert isinstance(parts.Counting(["a"]), contracts.Analysis)
    assert isinstance(parts.Counted(3), contracts.Explanation)
    shown = CliRunner().invoke(
        det, ["eval", str(run), "--split", "val", "--trust", "--json", "--report", str(tmp_path / "report")]
    )
    assert shown.exit_code == 0, shown.output
    assert json.loads(shown.stdout)["images"] == 3
    assert (tmp_path / "report" / "report.txt").read_text().endswith(": 3")
