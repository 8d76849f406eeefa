"""`det export`, then `det predict` and `det eval` of the file, against the same commands on the checkpoint."""

import json

import pytest
import torch
from click.testing import CliRunner
from det_core import recipes
from det_core.cli.main import det
from det_core.engine.checkpoint import Checkpoint, save_checkpoint
from det_core.errors import CheckpointError
from det_core.predict import Detector
from det_core.zoo import published
from det_devkit import coco_files
from det_export.licences import licence_in, licence_of
from tiny_model import CLASSES, EXAMPLE, TREE, model

TRUSTED = ("aoti", "torchscript")
SUFFIXES = {"torch_export": "pt2", "onnx": "onnx", "aoti": "pt2", "torchscript": "ts", "openvino": "xml"}


def run(*arguments):
    result = CliRunner().invoke(det, [str(each) for each in arguments])
    assert result.exit_code == 0, (arguments, result.output, result.exception)
    return result.stdout


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A checkpoint of a model with random weights, which knows its data."""
    folder = tmp_path_factory.mktemp("run")
    images, annotations = coco_files.write(folder, coco_files.content())
    split = {"type": "coco", "images": str(images), "annotations": str(annotations)}
    tree = {
        "model": {**TREE["model"], "num_classes": 2},
        "data": {"val": split, "test": split, "workers": 0, **TREE["data"]},
    }
    recipe = recipes.recipe_from_tree(tree)
    torch.manual_seed(0)
    model = recipe.build_model()
    for name, module in model.named_modules():  # so that scores and boxes lie apart
        if name.endswith(("objectness_logits", "anchor_deltas", "cls_score")):
            torch.nn.init.normal_(module.weight, std=1.0)
    about = Checkpoint(recipe=recipe.to_yaml(), classes=("cat", "dog"), category_ids=(7, 3))
    save_checkpoint(folder / "best.safetensors", model, about)
    return folder / "best.safetensors"


def found_by(folder, model, *options):
    printed = run("predict", folder / "images", "--model", model, "--threshold", "0.05", "--json", *options)
    return json.loads(printed)


@pytest.mark.slow
@pytest.mark.parametrize("form", SUFFIXES)
def test_file_predicts_and_evaluates_as_the_checkpoint(form, checkpoint, tmp_path):
    if form == "openvino":
        pytest.importorskip("openvino")
    file = tmp_path / f"model.{SUFFIXES[form]}"
    resize = ["--no-resize"] if form == "onnx" else []
    run("export", checkpoint, "--format", form, "--output", file, "--licence", "CC0-1.0", *resize)
    trust = ["--trust"] if form in TRUSTED else []
    expected, found = found_by(checkpoint.parent, checkpoint), found_by(checkpoint.parent, file, *trust)
    assert len(expected) == len(found) > 3
    assert {each["category_id"] for each in found} <= {7, 3}
    order = lambda each: (each["image_id"], each["category_id"], round(each["score"], 3), each["bbox"])  # noqa: E731
    for one, other in zip(sorted(expected, key=order), sorted(found, key=order), strict=True):
        assert one["bbox"] == pytest.approx(other["bbox"], abs=0.02)
        assert one["score"] == pytest.approx(other["score"], abs=1e-3)
    model, exported = (json.loads(run("eval", each, "--json", *trust))["metrics"] for each in (checkpoint, file))
    assert model.keys() == exported.keys()
    assert {name: value for name, value in exported.items() if value is not None} == pytest.approx(
        {name: value for name, value in model.items() if value is not None}, abs=1e-3
    )
    if trust:
        refused = CliRunner().invoke(det, ["predict", str(checkpoint.parent / "images"), "--model", str(file)])
        assert refused.exit_code != 0
        assert "--trust" in refused.output


def foreign_onnx(path):
    import onnx
    from onnx import TensorProto, helper

    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", value[:1], value[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def foreign_xml(path):
    openvino = pytest.importorskip("openvino")
    foreign_onnx(path.with_suffix(".onnx"))
    openvino.save_model(openvino.convert_model(str(path.with_suffix(".onnx"))), str(path))


def foreign_script(path):
    torch.jit.save(torch.jit.trace(torch.nn.ReLU(), torch.zeros(1)), str(path))


@pytest.mark.parametrize("make", [foreign_onnx, foreign_xml, foreign_script])
def test_load_foreign_file_error_names_missing_metadata(make, tmp_path):
    suffix = {foreign_onnx: ".onnx", foreign_xml: ".xml", foreign_script: ".ts"}[make]
    path = tmp_path / f"m{suffix}"
    make(path)
    with pytest.raises(
        CheckpointError, match=r"was not written by det: it lacks the metadata that name its outputs.*det export"
    ):
        Detector.load(path, device="cpu", trust=True)


def test_licence_of_published_weights_alone():
    weights = published.of_recipe("mask_rcnn_r50_fpn_3x").weights
    assert licence_of(weights) == licence_in({"weights": weights}) == "CC-BY-SA-3.0"
    assert licence_in({"weights": weights, "licence": "MIT"}) == "MIT"
    assert licence_in({"weights": weights, "licence": ""}) == licence_in({"weights": "/tmp/best.safetensors"}) == ""
    assert licence_of(published.of_recipe("torchvision_fasterrcnn_resnet50_fpn").weights) == "BSD-3-Clause"


def test_export_from_python_writes_licence_of_published_weights(tmp_path):
    detector = Detector(model(), CLASSES)
    detector.weights = published.of_recipe("mask_rcnn_r50_fpn_3x").weights
    path = detector.export("torch_export", tmp_path / "model", shape=EXAMPLE, dynamic=False)
    assert Detector.load(path).model.metadata.licence == "CC-BY-SA-3.0"
