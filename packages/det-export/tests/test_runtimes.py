"""Formats that run code of their own, other precisions, and resizing inside the file, on one tiny model traced once."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from det_core import Detector
from det_core.data import ResizeShortestEdge, read_image
from det_core.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from det_core.structures import Detections, ImageBatch, Prediction
from det_export.archive import append_metadata
from det_export.calibration import inputs_of
from det_export.check import BOUNDS, Row, compare, compared, shipped, sizes_for
from det_export.formats.aoti import AotiExporter
from det_export.formats.onnx import OnnxExporter
from det_export.formats.openvino import OpenVinoExporter
from det_export.formats.torch_export import TorchExporter
from det_export.formats.torchscript import ScriptExporter
from det_export.metadata import Metadata
from det_export.preprocess import prepare, rule_of
from det_export.quantize import LayerReport, QuantizationReport
from det_export.resizing import with_resizing
from det_export.stable_topk import StableTopK
from tiny_model import CLASSES, EXAMPLE, exported, model
from torchvision.transforms.v2 import functional

PICTURES = shipped()[0].parent


@pytest.fixture(scope="module")
def traced(tiny_file):
    return tiny_file[0]._last


def agreement_of(exporter, path):
    exporter.trust = True
    loaded = exporter.load(path)
    return compare(model(), loaded, shipped()[:1], sizes_for(loaded, EXAMPLE), path)


@pytest.fixture(scope="module")
def script(traced, tmp_path_factory):
    path = tmp_path_factory.mktemp("script") / "model.ts"
    ScriptExporter().write(*traced, path)
    return path


def test_torchscript_other_sizes_agree_with_the_model(script):
    agreement = agreement_of(ScriptExporter(), script)
    assert agreement.agrees, agreement
    assert all(row.expected == row.actual > 1 for row in agreement.rows[:3])


def test_torchscript_without_trust_refused_with_the_reason(script):
    with pytest.raises(CheckpointError, match=r"runs code of its own.*a TorchScript file is a program.*--trust"):
        Detector.load(script, device="cpu")
    assert Detector.load(script, device="cpu", trust=True).classes == CLASSES


@pytest.mark.parametrize("part", [0.0, 0.5, 0.95])
def test_torchscript_half_a_file_one_error(script, tmp_path, part):
    data = script.read_bytes()
    (tmp_path / "m.ts").write_bytes(data[: int(len(data) * part)])
    with pytest.raises(CheckpointError, match="damaged"):
        Detector.load(tmp_path / "m.ts", device="cpu", trust=True)


def test_torchscript_that_unpacks_to_gigabytes_refused(script, tmp_path):
    bomb = tmp_path / "m.ts"
    bomb.write_bytes(script.read_bytes())
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/code/bomb", b"\0" * (65 * 2**20))
    with pytest.raises(CheckpointError, match="unpacks to more"):
        Detector.load(bomb, device="cpu", trust=True)


def test_aoti_package_without_trust_refused_before_it_is_opened(traced, tmp_path):
    path = tmp_path / "m.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model/data/aotinductor/model/code.so", b"not code")
    append_metadata(path, traced[1])
    for exporter in (AotiExporter(), TorchExporter()):
        with pytest.raises(CheckpointError, match=r"holds native code.*--trust"):
            exporter.load(path)
        exporter.trust = True
        with pytest.raises(CheckpointError, match="is no package that this torch runs"):
            exporter.load(path)


@pytest.mark.slow
def test_aoti_other_sizes_agree_with_the_model(traced, tmp_path):
    path = tmp_path / "m.pt2"
    AotiExporter().write(*traced, path)
    assert agreement_of(AotiExporter(), path).agrees
    assert Detector.load(path, device="cpu", trust=True).classes == CLASSES


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_aoti_of_rounded_arithmetic_detects_nearly_the_same(precision, tmp_path):
    if precision == "int8":
        pytest.importorskip("torchao")
    exporter = AotiExporter(precision=precision, calibrate=PICTURES if precision == "int8" else None)
    path = exported(exporter, tmp_path)
    row = agreement_of(exporter, path).rows[0]
    assert abs(row.expected - row.actual) <= 5
    assert 0 < row.scores < 0.05
    assert exporter.load(path).metadata.precision == precision


def test_aoti_without_compiler_refused_before_work(monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(MissingExtraError, match=r"needs a C\+\+ compiler"):
        AotiExporter().require()


@pytest.mark.slow
def test_openvino_other_sizes_agree_and_both_files_are_needed(tmp_path):
    pytest.importorskip("openvino")
    exporter = OpenVinoExporter()
    path = exported(exporter, tmp_path)
    assert agreement_of(exporter, path).agrees
    exporter.record(path, {"agrees": True})
    assert exporter.load(path).metadata.agreement == {"agrees": True}
    weights = path.with_suffix(".bin")
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="refers to weights beyond its file"):
        Detector.load(path, device="cpu")
    weights.unlink()
    with pytest.raises(CheckpointError, match="lacks its weights"):
        Detector.load(path, device="cpu")


@pytest.mark.slow
def test_int8_keeps_layers_in_float_and_reports_each(tmp_path):
    pytest.importorskip("torchao")
    exporter = TorchExporter(precision="int8", calibrate=PICTURES, keep_float=["roi_heads.box_predictor"])
    path = exported(exporter, tmp_path)
    layers = {layer.name: layer for layer in exporter.report.layers}
    assert exporter.report.pictures == 3
    assert layers["roi_heads.box_predictor.cls_score"].reason == "asked for"
    assert layers["backbone.fpn_output2"].quantized
    assert 20 < layers["backbone.fpn_output2"].decibels < 60
    weights = exporter._last[0].state_dict
    assert any(value.dtype == torch.int8 for value in (*weights.values(), *exporter._last[0].constants.values()))
    row = agreement_of(exporter, path).rows[0]
    assert abs(row.expected - row.actual) <= 5
    assert 0 < row.scores < 0.05
    assert exporter.load(path).metadata.precision == "int8"


@pytest.mark.slow
def test_int8_of_a_fixed_size_agrees_within_it(tmp_path):
    pytest.importorskip("torchao")
    exporter = TorchExporter(dynamic=False, precision="int8", calibrate=PICTURES)
    path = exported(exporter, tmp_path)
    loaded = exporter.load(path)
    assert (loaded.metadata.fixed, loaded.metadata.precision) == (EXAMPLE, "int8")
    row = compare(model(), loaded, shipped()[:1], [EXAMPLE], path).rows[0]
    assert abs(row.expected - row.actual) <= 5
    assert 0 < row.scores < 0.05


def test_calibration_pictures_larger_than_fixed_input_scaled_down():
    metadata = Metadata("made_up", ("boxes",), 1, 32, 64, 4096, (64, 96), 1)
    pictures = [("tall", torch.zeros(3, 256, 100).byte()), ("small", torch.zeros(3, 50, 60).byte())]
    found = [(tuple(pixels.shape), sizes.tolist()) for pixels, sizes in inputs_of(pictures, "", metadata, False)]
    assert found == [((1, 3, 64, 96), [[64, 25]]), ((1, 3, 64, 96), [[50, 60]])]


def test_resizing_of_rotated_boxes_refused():
    from onnx import TensorProto, helper

    boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["n", 5])
    rotated = helper.make_model(helper.make_graph([], "g", [], [boxes]))
    with pytest.raises(ConfigError, match=r"two corners.*5 numbers.*--no-resize"):
        with_resizing(rotated, {"short": 160, "long": None, "divisibility": 32, "smallest": 64})


def test_resizing_of_a_free_batch_refused_before_work():
    with pytest.raises(ConfigError, match=r"is for one image.*--dynamic-batch"):
        OnnxExporter(resize=True, dynamic_batch=True)


def test_int8_layer_that_is_none_names_some():
    from det_export.quantize import _float_layers

    assert _float_layers({"a.b", "a.c", "d"}, ["a"]) == {"a.b", "a.c"}
    with pytest.raises(ConfigError, match=r"is no convolution or linear layer.*such as"):
        _float_layers({"backbone.conv1", "head.fc"}, ["backbone.conv2"])


def test_int8_without_pictures_refused_before_work(tmp_path):
    with pytest.raises(ConfigError, match="needs pictures to calibrate on"):
        TorchExporter(precision="int8")
    pytest.importorskip("torchao")
    with pytest.raises(DataError, match="is no folder with images"):
        exported(TorchExporter(precision="int8", calibrate=tmp_path), tmp_path)


def test_report_pictures_of_another_kind_warned():
    report = QuantizationReport([LayerReport("stem", decibels=30.0, outside=0.4), LayerReport("fc", decibels=4.0)], 3)
    first, second = report.problems()
    assert "unlike those of the calibration: 40% of the inputs of stem" in first
    assert "--keep-float fc" in second


@pytest.mark.parametrize("exporter", [ScriptExporter, OnnxExporter])
def test_precision_that_a_format_lacks_names_those_it_has(exporter):
    wanted = "int8" if exporter is ScriptExporter else "bf16"
    with pytest.raises(ConfigError, match="choose fp32 or"):
        exporter(precision=wanted, calibrate=None)


def test_bf16_layers_compute_in_bfloat16(tmp_path):
    exporter = TorchExporter(precision="bf16")
    path = exported(exporter, tmp_path)
    graph = exporter._last[0].graph
    layers = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
    assert {node.args[0].meta["val"].dtype for node in graph.nodes if node.target in layers} == {torch.bfloat16}
    loaded = exporter.load(path)
    row = compare(model(), loaded, shipped()[:1], sizes_for(loaded, EXAMPLE)[:1], path).rows[0]
    assert 0 < row.scores < 0.01
    assert row.bounds == BOUNDS["bf16"]


@pytest.mark.slow
def test_onnx_that_resizes_takes_pictures_of_any_size(tmp_path):
    import onnx
    import onnxruntime

    exporter = OnnxExporter(resize=True)
    path = exported(exporter, tmp_path)
    assert agreement_of(exporter, path).agrees
    written = onnx.load(path)
    assert [each.name for each in written.graph.input] == ["image"]
    written.graph.output.append(onnx.helper.make_tensor_value_info("pixels", onnx.TensorProto.UINT8, None))
    session = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    big = functional.resize(read_image(shipped()[0]), [300, 411], antialias=True)
    outputs = session.run(None, {"image": big.permute(1, 2, 0).contiguous().numpy()})
    boxes, scores, labels = (torch.from_numpy(each) for each in outputs[:3])
    entering = torch.from_numpy(outputs[-1])
    resized = functional.resize(big, [160, 219], antialias=True)
    assert int((entering[0, :, :160, :219].int() - resized.int()).abs().max()) <= 1
    with torch.no_grad():
        expected = model()(ImageBatch(pixels=entering, sizes=((160, 219),)))[0].detections
    assert 219 < boxes[:, 2].max() <= 411.01
    factors = torch.tensor([411 / 219, 300 / 160] * 2)
    moved = replace(expected, boxes=expected.boxes * factors, size=(300, 411), masks=None)
    found = Detections(boxes=boxes, labels=labels.long(), scores=scores, size=(300, 411))
    row = compared(Row("big", (300, 411)), Prediction(detections=moved), Prediction(detections=found))
    assert row.agrees, row
    assert row.expected > 5


def test_json_beside_file_has_rule_of_prepare(tiny_file):
    path = tiny_file[1]
    about = json.loads(path.with_name("model.pt2.json").read_text())
    assert about["classes"] == list(CLASSES)
    assert about["licence"] == "CC0-1.0"
    assert about["resize"] == {"short": 160, "long": 1333, "divisibility": 32, "smallest": 96}
    picture = read_image(shipped()[0]).permute(1, 2, 0).numpy()
    pixels, sizes, factors = prepare(picture, about["resize"])
    boxes, scores, *_ = torch.export.load(path).module()(torch.from_numpy(pixels), torch.from_numpy(sizes))
    expected = Detector.load(path, device="cpu")(shipped()[0], threshold=0.0).detections
    assert abs(len(boxes) - len(expected)) <= 3
    torch.testing.assert_close(scores[:3], expected.scores[:3], atol=1e-3, rtol=0)
    assert float((boxes * torch.from_numpy(factors).float()).max()) <= max(picture.shape[:2]) + 0.01


@pytest.mark.parametrize("size", [(97, 211), (480, 640), (33, 20), (160, 1600)])
def test_prepare_as_the_transform_of_the_model(size):
    generator = torch.Generator().manual_seed(3)
    image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8)
    image = functional.gaussian_blur(image, [5, 5])
    rule = rule_of([{"type": "det_core.data:ResizeShortestEdge", "size": 160, "max_size": 400}], 32, 96)
    pixels, sizes, factors = prepare(image.permute(1, 2, 0).numpy(), rule)
    height, width = ResizeShortestEdge(160, 400).resized(size, 160)
    assert sizes.tolist() == [[height, width]]
    expected = functional.resize(image, [height, width], antialias=True)
    found = torch.from_numpy(pixels[0, :, :height, :width])
    assert (found.int() - expected.int()).abs().max() <= 1
    assert pixels.shape[2] % 32 == pixels.shape[3] % 32 == 0
    assert not pixels[..., height:, :].any()
    np.testing.assert_allclose(factors, [size[1] / width, size[0] / height] * 2)


def test_rule_of_other_transforms_is_none():
    assert rule_of([{"type": "my_lab:Sharpen"}], 32, 96) == {}
    assert rule_of([{"type": "det_core.data:ResizeShortestEdge", "size": [288, 320]}], 32, 96) == {}
    assert rule_of([], 32, 96)["short"] is None


def test_lowest_first_orders_equal_values_by_index():
    values = torch.tensor([[1.0, 3.0, 3.0, 2.0, 3.0]])
    with StableTopK():
        found = values.topk(4, dim=1)
        second, _ = torch.topk(values, 2)
    assert found.indices.tolist() == [[1, 2, 4, 3]]
    assert found.values.tolist() == [[3.0, 3.0, 3.0, 2.0]]
    assert second.tolist() == [[3.0, 3.0]]


def test_compared_low_scores_rounded_precision_need_no_match():
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 30.0, 30.0]])
    both = Detections(boxes=boxes, labels=torch.zeros(2).long(), scores=torch.tensor([0.9, 0.1]), size=(40, 40))
    one = Prediction(detections=both[torch.tensor([0])])
    exact, rounded = (
        compared(Row("a", (40, 40), bounds=BOUNDS[p]), Prediction(detections=both), one) for p in ("fp32", "int8")
    )
    assert (exact.matched, exact.agrees) == (0.5, False)
    assert (rounded.matched, rounded.agrees) == (1.0, True)
