"""`examples/deploy`: programs that run exported files without det."""

import ast
import json
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from det_core.errors import ConfigError
from det_core.predict import Detector
from det_export.triton import require_place, write_config
from PIL import Image

EXAMPLES = Path(__file__).parents[3] / "examples"
PROGRAM = EXAMPLES / "deploy" / "detect.py"
CELLS = EXAMPLES / "blood-cells"

pytestmark = pytest.mark.skipif(not PROGRAM.exists(), reason="the examples are not beside the package")


def test_detect_imports_onnxruntime_numpy_and_pillow_alone():
    tree = ast.parse(PROGRAM.read_text("utf-8"))
    names = [each.name for node in ast.walk(tree) if isinstance(node, ast.Import) for each in node.names]
    names += [str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.partition(".")[0] for name in names} == {"argparse", "json", "numpy", "onnxruntime", "PIL"}


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The detector of the examples as an ONNX file that resizes."""
    pytest.importorskip("onnxscript")
    detector = Detector.load(CELLS / "detector.safetensors", device="cpu")
    return detector, detector.export("onnx", tmp_path_factory.mktemp("file") / "cells.onnx", (416, 544), resize=None)


def compare(python, exported, folder):
    """Run the program, and compare what it prints with the detector."""
    detector, file = exported
    picture = CELLS / "images" / "BloodImage_00007.jpg"
    command = [str(python), str(PROGRAM), str(file), str(picture), "--output", str(folder / "found.png")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    result = detector(picture, threshold=0.5)
    assert len(printed) == len(result) > 3
    rows = [line.rsplit(" ", 5) for line in printed]
    assert sorted(row[0] for row in rows) == sorted(result.classes[label] for label in result.detections.labels)
    boxes = result.detections.boxes.tolist()
    for row in rows:
        box = [float(value) for value in row[2:]]
        assert min(max(abs(a - b) for a, b in zip(box, each, strict=True)) for each in boxes) < 1
    with Image.open(folder / "found.png") as drawn, Image.open(picture) as original:
        assert drawn.size == original.size
        assert drawn.tobytes() != original.convert("RGB").tobytes()


@pytest.mark.slow
def test_detect_without_torch_equals_detector(exported, tmp_path):
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "-q", "onnxruntime", "numpy", "pillow"], check=True)
    assert subprocess.run([python, "-c", "import torch"], capture_output=True).returncode != 0
    compare(python, exported, tmp_path)


@pytest.mark.slow
def test_detect_in_this_environment(exported, tmp_path):
    compare(sys.executable, exported, tmp_path)


def instructions():
    """The instructions of the container file, as (name, rest)."""
    lines = (EXAMPLES / "deploy" / "Dockerfile").read_text("utf-8").splitlines()
    return [tuple(line.split(" ", 1)) for line in lines if line and not line.startswith("#")]


def test_container_starts_a_command_that_exists():
    from det_export.serve.command import command

    found = dict(instructions())
    start, arguments = json.loads(found["ENTRYPOINT"]), json.loads(found["CMD"])
    assert start[:2] == ["det", "serve"]
    parsed = command.make_context("serve", [*start[2:], *arguments]).params
    assert (parsed["host"], str(parsed["port"]), parsed["models"]) == ("0.0.0.0", found["EXPOSE"], ("/models/cells",))
    assert found["USER"] == "det"


def test_container_health_check_follows_the_server():
    pytest.importorskip("fastapi")
    from small_servers import BlockDetector, running

    start, flag, code = json.loads(dict(instructions())["HEALTHCHECK"].partition("CMD ")[2])
    assert (start, flag) == ("python", "-c")
    with running({"blocks": BlockDetector()}) as server:
        code = code.replace("http://127.0.0.1:8000", server.url)
        exec(code)
    with pytest.raises(OSError, match="refused"):
        exec(code)


def test_triton_layout_is_complete_and_refuses_other_places(tmp_path):
    onnx = pytest.importorskip("onnx")
    value = onnx.helper.make_tensor_value_info
    image = value("image", onnx.TensorProto.UINT8, ["H", "W", 3])
    same = value("same", onnx.TensorProto.UINT8, ["H", "W", 3])
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["image"], ["same"])], "g", [image], [same])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    onnx.helper.set_model_props(model, {"det": json.dumps({"classes": ['a "b"'], "category_ids": [7]})})
    path = tmp_path / "models" / "cells" / "1" / "model.onnx"
    require_place("onnx", path)
    onnx.save(model, path)
    written = write_config(path)
    assert written == tmp_path / "models" / "cells" / "config.pbtxt"
    lines = written.read_text("utf-8").splitlines()
    assert lines[:5] == [
        'name: "cells"',
        'backend: "onnxruntime"',
        "max_batch_size: 0",
        'input { name: "image" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }',
        'output { name: "same" data_type: TYPE_UINT8 dims: [ -1, -1, 3 ] }',
    ]
    for form, place, problem in (
        ("aoti", path, "is for ONNX files"),
        ("onnx", tmp_path / "cells.onnx", "must be NAME/VERSION/model.onnx"),
        ("onnx", tmp_path / "cells" / "new" / "model.onnx", "must be NAME/VERSION/model.onnx"),
    ):
        with pytest.raises(ConfigError, match=problem):
            require_place(form, place)
    schema = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    text_format = pytest.importorskip("google.protobuf.text_format")
    parsed = text_format.Parse(written.read_text("utf-8"), schema.ModelConfig())
    assert (parsed.name, parsed.input[0].data_type, list(parsed.output[0].dims)) == ("cells", 2, [-1, -1, 3])
    assert json.loads(parsed.parameters["classes"].string_value) == ['a "b"']
