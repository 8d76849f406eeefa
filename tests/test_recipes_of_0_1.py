"""Recipes and checkpoints of 0.1.0 load: their arguments are moved into parts once, where they are read."""

import json
from pathlib import Path

import pytest
import torch
from det_core import recipes
from det_core.errors import ConfigError, DetWarning
from det_core.predict.detector import Detector
from det_core.recipes.moved import ARGUMENTS, IMPLIED
from det_core.recipes.upgrades import upgrade

HERE = Path(__file__).parent
RUN = HERE / "data" / "run-0.1"
EXPECTED = json.loads((RUN / "expected.json").read_text())
IMAGE = HERE.parent / "examples" / EXPECTED["image"]

pytestmark = pytest.mark.filterwarnings("ignore:.*was written with.*:det_core.errors.DetWarning")


def test_checkpoint_of_0_1_detects_as_recorded():
    detector = Detector.load(RUN / "last.safetensors", device="cpu")
    found = detector(IMAGE, threshold=0.0).detections
    for row, expected in enumerate(EXPECTED["detections"]):
        x0, y0, x1, y1 = found.boxes[row].tolist()
        assert [x0, y0, x1 - x0, y1 - y0] == pytest.approx(expected["bbox"], abs=0.02)
        assert found.scores[row].item() == pytest.approx(expected["score"], abs=1e-4)


def test_resolved_recipe_of_0_1_builds_model_of_checkpoint():
    with torch.device("meta"):
        model = recipes.load(RUN / "recipe.resolved.yaml").build_model()
    assert model.roi_heads.box_pooler.sampling_ratio == 2
    assert model.proposal_generator.nms.post_nms_topk_train == 50
    assert model.roi_heads.sampler.batch_size_per_image == 32


def test_upgrade_of_upgraded_recipe_is_identity():
    tree = recipes.load(RUN / "recipe.resolved.yaml").tree
    assert upgrade(tree) == tree


@pytest.mark.parametrize(
    ("old", "new", "value"),
    [
        ("pixel_mean", "preprocess.mean", [1.0, 2.0, 3.0]),
        ("proposal_generator.nms_threshold", "proposal_generator.nms.iou_threshold", 0.6),
        ("roi_heads.pooler_resolution", "roi_heads.pooler.resolution", 5),
        ("roi_heads.box_predictor.box_loss", "roi_heads.box_predictor.box_regression.loss", "giou"),
        ("backbone.bottom_up.deformable_stages", "backbone.bottom_up.deformation.stages", ["res5"]),
    ],
)
def test_set_with_old_path_reaches_part_and_warns(old, new, value):
    with pytest.warns(DetWarning, match=f"{new.rpartition('.')[0]}.{new.rpartition('.')[2]} now"):
        changed = recipes.load("faster_rcnn_r50_fpn_1x", [f"model.{old}={json.dumps(value)}"])
    assert changed == recipes.load("faster_rcnn_r50_fpn_1x", [f"model.{new}={json.dumps(value)}"])
    changed.check()


def test_child_of_old_form_changes_parent_of_new(tmp_path):
    path = tmp_path / "child.yaml"
    stage = "{type: standard_roi_heads, batch_size_per_image: 8, box_predictor: {nms_threshold: 0.6}}"
    path.write_text(f"extends: faster_rcnn_r50_fpn_1x\nmodel: {{channel_order: RGB, roi_heads: {stage}}}\n")
    model = recipes.load(path).tree["model"]
    assert model["preprocess"]["channel_order"] == "RGB"
    assert model["preprocess"]["std"] == [1.0, 1.0, 1.0]
    assert model["roi_heads"]["sampler"] == {"batch_size_per_image": 8}
    assert model["roi_heads"]["box_predictor"] == {"nms": {"iou_threshold": 0.6}}


def test_argument_in_old_and_new_place_is_refused():
    node = {"type": "rpn", "nms_threshold": 0.6, "nms": {"iou_threshold": 0.5}}
    with pytest.raises(ConfigError, match=r"nms_threshold: is nms\.iou_threshold now, which stands there too"):
        upgrade({"model": node})


@pytest.mark.parametrize("component", ARGUMENTS)
def test_moved_arguments_lead_to_arguments_that_there_are(component):
    import inspect

    from det_core.plugins import registry

    parameters = inspect.signature(registry.find(None, component).load()).parameters
    for old, new in ARGUMENTS[component].items():
        assert new.split(".")[0] in parameters, (old, new)
    assert all(name in parameters for name in IMPLIED.get(component, {}))
