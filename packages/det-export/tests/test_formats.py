"""Each format on one tiny two-stage model with masks: written, read again, and equal at other sizes."""

import io
import json
import zipfile

import onnx
import pytest
import torch
from det_core import Detector, recipes
from det_core.errors import CheckpointError, ConfigError
from det_core.plugins import registry
from det_core.structures import ImageBatch
from det_export.check import BLACK, compare, shipped, sizes_for
from det_export.formats.onnx import OnnxExporter
from det_export.formats.torch_export import TorchExporter
from tiny_model import CLASSES, EXAMPLE, TREE, exported, model


@pytest.fixture(scope="module")
def files(tiny_file, tmp_path_factory):
    """One file of each format, with the exporter that wrote it."""
    exporter = OnnxExporter()
    return {"torch_export": tiny_file, "onnx": (exporter, exported(exporter, tmp_path_factory.mktemp("exported")))}


@pytest.mark.parametrize("name", ["torch_export", "onnx"])
def test_export_other_sizes_agree_with_the_model(files, name):
    exporter, path = files[name]
    loaded = exporter.load(path)
    agreement = compare(model(), loaded, shipped()[:1], sizes_for(loaded, EXAMPLE), path)
    assert agreement.agrees, agreement
    assert len({row.size for row in agreement.rows}) == 3
    assert all(row.expected == row.actual > 1 for row in agreement.rows[:3])
    assert [row.image for row in agreement.rows[3:]] == [BLACK]


def test_export_as_writes_the_program_in_another_format(files, tmp_path):
    exporter, path = files["onnx"]
    before, other = path.read_bytes(), TorchExporter()
    written = exporter.export_as(other, tmp_path / "model.pt2")
    loaded, original = other.load(written), exporter.load(path)
    assert (loaded.metadata.format, original.metadata.format) == ("torch_export", "onnx")
    assert loaded.metadata.resizes is False
    agreement = compare(model(), loaded, shipped()[:1], [EXAMPLE], written)
    assert agreement.agrees, agreement
    assert path.read_bytes() == before
    assert (tmp_path / "model.pt2.json").exists()


def test_export_as_without_program_of_same_precision_is_refused(files, tmp_path):
    exporter, _ = files["onnx"]
    with pytest.raises(ConfigError, match=r"another precision.*fp32, and torch_export wants bf16"):
        exporter.export_as(TorchExporter(precision="bf16"), tmp_path / "model.pt2")
    with pytest.raises(ConfigError, match="nothing was exported before"):
        OnnxExporter().export_as(TorchExporter(), tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["torch_export", "onnx"])
def test_check_other_weights_differ(files, name):
    exporter, path = files[name]
    other = model()
    with torch.no_grad():
        other.backbone.bottom_up.stem.conv1.weight.mul_(1.5)
    loaded = exporter.load(path)
    assert not compare(other, loaded, shipped()[:1], sizes_for(loaded, EXAMPLE)[:1], path).agrees


@pytest.mark.parametrize("name", ["torch_export", "onnx"])
def test_detector_of_an_exported_file_has_classes_and_transforms(files, name):
    detector = Detector.load(files[name][1], device="cpu")
    assert detector.classes == CLASSES
    assert detector.category_ids == (3, 5, 9)
    plain = Detector(model(), CLASSES, recipes.recipe_from_tree(TREE).build_part("data.eval_transforms", list), ())
    expected, found = (each(shipped()[0], threshold=0.0) for each in (plain, detector))
    torch.testing.assert_close(found.detections.boxes, expected.detections.boxes, atol=0.01, rtol=0)
    torch.testing.assert_close(found.detections.scores, expected.detections.scores, atol=1e-4, rtol=0)


def test_record_agreement_is_in_the_metadata(files):
    exporter, path = files["onnx"]
    exporter.record(path, {"agrees": True})
    assert exporter.load(path).metadata.agreement == {"agrees": True}
    assert not list(path.parent.glob(".*"))


def test_onnx_operators_are_standard(files):
    loaded = onnx.load(files["onnx"][1])
    assert {node.domain for node in loaded.graph.node} <= {"", "ai.onnx"}
    assert [(each.domain, each.version) for each in loaded.opset_import] == [("", 20)]


@pytest.mark.parametrize("name", ["torch_export", "onnx"])
@pytest.mark.parametrize("part", [0.0, 0.3, 0.9])
def test_load_half_a_file_one_error(files, tmp_path, name, part):
    path = files[name][1]
    data = path.read_bytes()
    half = tmp_path / path.name
    half.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(CheckpointError, match=r"damaged|not written by det|no graph|no program|larger than the file"):
        Detector.load(half, device="cpu")


def test_load_onnx_with_external_weights_refused(files, tmp_path):
    changed = onnx.load(files["onnx"][1])
    tensor = next(each for each in changed.graph.initializer if len(each.raw_data) > 100)
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    (tmp_path / "m.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(CheckpointError, match="in other files"):
        Detector.load(tmp_path / "m.onnx", device="cpu")


def test_load_onnx_with_a_billion_elements_refused(files, tmp_path):
    changed = onnx.load(files["onnx"][1])
    changed.graph.initializer.add(name="bomb", dims=[10**9, 10**3], data_type=1, raw_data=b"1234")
    (tmp_path / "m.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(CheckpointError, match="larger than the file"):
        Detector.load(tmp_path / "m.onnx", device="cpu")


def test_onnx_file_has_no_stack_traces(files):
    content = files["onnx"][1].read_bytes()
    assert not any(node.metadata_props for node in onnx.load_from_string(content).graph.node)
    assert b"program.py" not in content


def test_load_onnx_with_other_operators_refused(files, tmp_path):
    changed = onnx.load(files["onnx"][1])
    changed.graph.node[0].domain = "com.example"
    (tmp_path / "m.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(CheckpointError, match="outside the ONNX standard"):
        Detector.load(tmp_path / "m.onnx", device="cpu")


def test_load_pt2_that_unpacks_to_more_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "m.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/data/weights/0", b"\0" * 10_000_000)
    with pytest.raises(CheckpointError, match="unpacks to more"):
        Detector.load(tmp_path / "m.pt2", device="cpu")


def test_load_pt2_of_another_program_error_names_metadata(tmp_path):
    buffer = io.BytesIO()
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(2),)), buffer)
    (tmp_path / "m.pt2").write_bytes(buffer.getvalue())
    with pytest.raises(CheckpointError, match="was not written by det"):
        Detector.load(tmp_path / "m.pt2", device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_size": 10**9}, "out of range"),
        ({"fixed": [64]}, "out of range"),
        ({"category_ids": 3}, "damaged metadata"),
        ({"outputs": 7}, "damaged metadata"),
        ({"finish": None}, "out of range"),
    ],
)
def test_load_invalid_metadata_refused(changes, message, files, tmp_path):
    changed = onnx.load(files["onnx"][1])
    metadata = json.loads(changed.metadata_props[0].value)
    onnx.helper.set_model_props(changed, {"det": json.dumps(metadata | changes)})
    (tmp_path / "m.onnx").write_bytes(changed.SerializeToString())
    with pytest.raises(CheckpointError, match=message):
        Detector.load(tmp_path / "m.onnx", device="cpu")


def test_export_below_the_smallest_size_refused(tmp_path):
    exporter = registry.find("exporters", "torch_export", "test").load()()
    example = ImageBatch(pixels=torch.zeros(1, 3, 32, 64, dtype=torch.uint8), sizes=((32, 64),))
    with pytest.raises(ConfigError, match="from 96 to 4096 pixels"):
        exporter.export(model(), example, tmp_path / "m.pt2")
